"""Tests a model: segmentation or translation, whatever the config says."""

import argparse
import os
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

import cen_mm  # noqa: F401  patches the stack and registers the scope


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder of the log and the scores; work_dirs/CONFIG if not given')
    parser.add_argument('--out', help="folder for what is predicted: the ensemble's class indices, or the images")
    parser.add_argument('--show', action='store_true', help='show the pictures in a window')
    parser.add_argument('--show-dir', help='folder for the pictures: inputs, target, every branch, ensemble')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds that --show waits at each picture')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config, key=value; lists as key="[a,b]" without spaces',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument(
        '--present', nargs='+', metavar='MODALITY', help='modalities that there are; the files of others are not read'
    )
    parser.add_argument('--tta', action='store_true', help="test-time augmentation: the config's tta_pipeline")
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def draw_pictures(cfg: Config, args: argparse.Namespace) -> None:
    """Has the visualisation hook draw every sample, into a window or a folder."""
    hook = cfg.default_hooks.visualization
    hook.update(show=args.show, wait_time=args.wait_time)
    if hook.type == 'cen_mm.ResultsHook':
        hook.strip_dir = args.show_dir
        return
    hook.update(draw=True, interval=1)
    if args.show_dir:
        cfg.visualizer.save_dir = args.show_dir
        cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]


def set_present(cfg: Config, present: list[str]) -> None:
    """Has the test data set read, and the model use, these modalities alone."""
    dataset = cfg.test_dataloader.dataset
    dataset['inputs' if 'inputs' in dataset else 'modalities'] = present  # of translation, of segmentation
    cfg.model.present = present


def main() -> None:
    args = parse_args()
    if not Path(args.checkpoint).is_file() and '://' not in args.checkpoint:
        raise SystemExit(f'The checkpoint {args.checkpoint} does not exist: give the path of a .pth file.')
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    cfg.setdefault('work_dir', str(Path('work_dirs', Path(args.config).stem)))
    cfg.load_from = args.checkpoint
    # Nothing of training: mmseg's visualisation hook asks for the iteration, which would build the training set.
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    if args.present:
        set_present(cfg, args.present)
    if args.show or args.show_dir:
        draw_pictures(cfg, args)
    if args.tta:
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.tta_model.module = cfg.model
        cfg.model = cfg.tta_model
    if args.out is not None and cfg.default_hooks.visualization.type == 'cen_mm.ResultsHook':
        cfg.default_hooks.visualization.out_dir = str(Path(args.out).absolute())
    elif args.out is not None:
        cfg.test_evaluator.output_dir = args.out
    Runner.from_cfg(cfg).test()


if __name__ == '__main__':
    main()
