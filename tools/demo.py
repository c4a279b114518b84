"""Predicts from your own images, without labels, and writes pictures and raw results.

python tools/demo.py CONFIG CHECKPOINT --rgb a.png --depth a_depth.png --out-dir out
python tools/demo.py CONFIG CHECKPOINT --rgb images/rgb --input thermal=images/thermal/{}_t.png --out-dir out
"""

import argparse
import warnings

import command_line
from mmengine.config import Config, DictAction

from cen_mm import config_argument


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_argument, help='config file, or cen_mm::NAME for a config of cen_mm')
    parser.add_argument('checkpoint', help='checkpoint file')
    pattern = 'a file, a folder, or a path pattern in which {} stands for the name that the files of a sample share'
    parser.add_argument('--rgb', metavar='PATH', help=f'RGB: {pattern}')
    parser.add_argument('--depth', metavar='PATH', help='depth: the same')
    parser.add_argument(
        '--input',
        nargs='+',
        action='extend',
        default=[],
        metavar='NAME=PATH',
        help='any modality; one that is left out is missing',
    )
    parser.add_argument(
        '--out-dir', default='out', help='folder for pictures (vis) and raw results (pred) (default: out)'
    )
    parser.add_argument('--batch-size', type=int, default=1, help='samples per forward pass (default: 1)')
    parser.add_argument('--device', help='device of the model (default: the GPU if there is one)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override: key=value')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    inputs = {name: path for name, path in (('rgb', args.rgb), ('depth', args.depth)) if path}
    for text in args.input:
        name, equals, path = text.partition('=')
        if not (name and equals and path):
            raise SystemExit(f'--input {text} is not NAME=PATH: write --input thermal=a.png.')
        inputs[name] = path
    warnings.filterwarnings('ignore', module=command_line.DEPENDENCIES)
    from cen_mm.apis import MultimodalInferencer  # imports the packages that warn

    try:
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(args.cfg_options or {})
        inferencer = MultimodalInferencer(cfg, args.checkpoint, args.device)
        inferencer(inputs, batch_size=args.batch_size, out_dir=args.out_dir)
    except (OSError, RuntimeError, ValueError) as error:
        raise SystemExit(str(error)) from None
    print(f'Pictures are in {args.out_dir}/vis, raw results in {args.out_dir}/pred.')


if __name__ == '__main__':
    main()
