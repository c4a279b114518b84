"""Draws samples of a config's data set as the pipeline produces them: all modalities and label or target side by side.

python tools/analysis_tools/browse_dataset.py CONFIG --out-dir browsed

mmseg's command of the same name draws a single image per sample.
"""

import argparse
from pathlib import Path

import mmcv
from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS, VISUALIZERS, init_default_scope
from mmengine.utils import track_iter_progress

from cen_mm import config_argument


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_argument, help='config file, or cen_mm::NAME for a config of cen_mm')
    parser.add_argument('--out-dir', type=Path, default=Path('browsed'), help='folder for the images')
    parser.add_argument('--phase', choices=('train', 'val', 'test'), default='train', help='data set to draw')
    parser.add_argument('--number', type=int, default=20, help='number of samples (default: 20)')
    parser.add_argument('--show', action='store_true', help='show the images in a window instead of writing files')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override: key=value')
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    is_segmentation = cfg.get('default_scope') != 'mmagic'
    if not is_segmentation:
        from cen_mm.translation.results_hook import draw_strip, named_after
    if not cfg.get(f'{args.phase}_dataloader'):
        raise SystemExit(f'{args.config} has no {args.phase}_dataloader: choose another --phase.')
    dataset = DATASETS.build(cfg[f'{args.phase}_dataloader'].dataset)
    visualizer = VISUALIZERS.build(dict(type='cen_mm.MultimodalVisualizer', name='browse'))
    visualizer.dataset_meta = dataset.metainfo
    for i in track_iter_progress(range(min(args.number, len(dataset)))):
        packed = dataset[i]
        inputs, sample = packed['inputs'], packed['data_samples']
        name = Path(sample.img_path if is_segmentation else named_after(sample.metainfo)).stem
        out_file = None if args.show else str(args.out_dir / f'{i:05d}_{name}.png')
        if is_segmentation:
            visualizer.add_datasample(name, inputs, sample, show=args.show, out_file=out_file)
        elif args.show:
            visualizer.show(draw_strip(inputs, sample), name)
        else:
            mmcv.imwrite(mmcv.rgb2bgr(draw_strip(inputs, sample)), out_file)
    print('' if args.show else f'\n{args.out_dir}')


if __name__ == '__main__':
    try:
        main()
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from None
