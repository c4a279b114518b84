"""Exports a trained model to ONNX or torch.export, and compares the file with PyTorch.

python tools/deployment/export.py configs/cen_refinenet_r101_nyudv2.py CHECKPOINT --preprocess --argmax
python tools/test.py configs/cen_refinenet_r101_nyudv2.py MODEL.onnx

The file has one input per modality and one output per branch, for any number and size of images.
"""

import argparse
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import Compose
from mmengine.registry import DATASETS
from torch import Tensor

from cen_mm import config_argument
from cen_mm.apis import ExportError, export_model, init_model
from cen_mm.apis.exported import SUFFIXES
from cen_mm.engine.preflight.explain import dicts
from cen_mm.engine.samples import base_datasets


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_argument, help='config file, or cen_mm::NAME for a config of cen_mm')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--format', choices=list(SUFFIXES), default='onnx', help='format of the file (default: onnx)')
    parser.add_argument('--out', help='file to write (default: the checkpoint with the suffix .onnx or .pt2)')
    parser.add_argument(
        '--preprocess',
        action='store_true',
        help='normalize inside: the inputs are images as the pipeline loads them, with the types and channels of the '
        'first sample of the test data set (default: the inputs are normalized images)',
    )
    parser.add_argument('--argmax', action='store_true', help='write class indices instead of logits')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the images of the comparison (default: 480 640; for translation, that of the config)',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override: key=value')
    return parser.parse_args()


def load_first_sample(cfg: Config) -> dict[str, Tensor]:
    """Loads the first sample of the test data set, ``(C, H, W)`` per modality, with the values that the files have."""
    dataset = DATASETS.build(next(base_datasets(cfg.test_dataloader.dataset)))
    if cfg.default_scope != 'mmagic':
        return dataset[0]['inputs']
    *transforms, _ = dataset.pipeline.transforms  # the last one, PackTranslation, scales and tiles
    images = Compose(transforms)(dataset.get_data_info(0))['images']
    return {
        name: torch.from_numpy(image).reshape(*image.shape[:2], -1).permute(2, 0, 1) for name, image in images.items()
    }


def main() -> None:
    args = parse_args()
    if not Path(args.checkpoint).is_file():
        raise SystemExit(f'The checkpoint {args.checkpoint} does not exist: give the path of a .pth file.')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    out = Path(args.out or Path(args.checkpoint).with_suffix(SUFFIXES[args.format]))
    if out.suffix != SUFFIXES[args.format]:
        raise SystemExit(f'--out {out} must end with {SUFFIXES[args.format]} for --format {args.format}.')
    transforms = [each for _, each in dicts(cfg.get('test_dataloader')) if each.get('type') == 'cen_mm.ResizeImages']
    size = args.shape or (transforms[0]['size'] if transforms else (480, 640))
    try:
        model = init_model(cfg, args.checkpoint, device='cpu')
        out.parent.mkdir(parents=True, exist_ok=True)
        images = load_first_sample(cfg) if args.preprocess else None
        difference = export_model(model, out, images, args.argmax, tuple(size))
    except (ExportError, OSError, ValueError) as error:
        raise SystemExit(f'export.py: {error}') from None
    options = (
        f' --available-modalities {" ".join(model.available_modalities)}'
        if cfg.model.get('available_modalities')
        else ''
    )
    print(f'Written to {out} ({out.stat().st_size / 1e6:.1f} MB); largest difference from PyTorch: {difference:.1e}')
    print(f'Next: python tools/test.py {args.config} {out}{options}')


if __name__ == '__main__':
    main()
