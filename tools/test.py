"""Tests a segmentation or translation model with a config file and a checkpoint."""

import argparse
from pathlib import Path

import command_line
import mmengine
from mmengine.config import Config
from mmengine.runner import Runner

from cen_mm import config_argument
from cen_mm.apis import use_exported
from cen_mm.apis.exported import SUFFIXES
from cen_mm.engine import is_check
from cen_mm.engine.samples import base_datasets
from cen_mm.segmentation.visualizer import common_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', type=config_argument, help='config file, or cen_mm::NAME for a config of cen_mm')
    parser.add_argument('checkpoint', help='checkpoint file, or .onnx or .pt2 file of tools/deployment/export.py')
    parser.add_argument('--work-dir', help='folder for the log and the scores (default: work_dirs/CONFIG)')
    parser.add_argument('--out', help='folder for the predictions: class indices of the ensemble, or generated images')
    parser.add_argument('--show', action='store_true', help='show the images in a window')
    parser.add_argument(
        '--show-dir', help='folder for images of the inputs, the target and every prediction, in a subfolder per run'
    )
    parser.add_argument('--wait-time', type=float, default=2, help='seconds to show each image with --show')
    parser.add_argument(
        '--available-modalities',
        nargs='+',
        metavar='MODALITY',
        help='modalities to test with; the files of the other modalities are not read (default: all)',
    )
    parser.add_argument('--tta', action='store_true', help="test-time augmentation with the config's tta_pipeline")
    return command_line.parse_args(parser)


def draw_images(cfg: Config, args: argparse.Namespace) -> None:
    """Makes the visualization hook draw every sample, in a window or into image files."""
    hook = cfg.default_hooks.get('visualization')
    if not hook:
        raise SystemExit('--show and --show-dir need default_hooks.visualization: remove visualization=None.')
    hook.update(show=args.show, wait_time=args.wait_time)
    if hook.type == 'cen_mm.ResultsHook':
        hook.strip_dir = args.show_dir
        return
    hook.update(draw=True, interval=1, out_dir=args.show_dir)


def find_metric(cfg: Config) -> dict:
    """Returns the config of the metric that writes predictions, alone or in a list."""
    metrics = cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) else [cfg.test_evaluator]
    for metric in metrics:
        if metric['type'].endswith('IoUMetric'):
            return metric
    raise SystemExit('--out needs a metric that writes predictions: add cen_mm.MultimodalIoUMetric to test_evaluator.')


def set_available_modalities(cfg: Config, names: list[str]) -> None:
    """Restricts the test data set and the model to these modalities."""
    for dataset in base_datasets(cfg.test_dataloader.dataset):
        key = 'inputs' if 'inputs' in dataset else 'modalities'  # of translation and of segmentation
        modalities = dataset[key]
        is_dict = isinstance(modalities, dict)
        dataset[key] = {name: modalities[name] for name in names if name in modalities} if is_dict else names
    cfg.model.available_modalities = names


def remove_early_stopping(cfg: Config) -> None:
    """Removes the hook that mmengine refuses without a training loop."""
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [hook for hook in hooks if 'EarlyStoppingHook' not in str(hook)]
    for name in [name for name, hook in cfg.default_hooks.items() if 'EarlyStoppingHook' in str(hook)]:
        del cfg.default_hooks[name]


def write_details(runner: Runner, cfg: Config, args: argparse.Namespace) -> None:
    """Writes what report.py shows beyond the scores to ``details.json`` beside them; only the main process has it."""
    pictures = str(Path(args.show_dir, runner.timestamp).absolute()) if args.show_dir else ''
    for metric in runner.test_evaluator.metrics:
        if details := getattr(metric, 'details', None):
            details = dict(details, run=cfg.run.to_dict(), pictures=pictures)
            mmengine.dump(details, Path(runner.log_dir, 'details.json'))


def main() -> None:
    args = parse_args()
    if not Path(args.checkpoint).is_file() and '://' not in args.checkpoint:
        raise SystemExit(f'The checkpoint {args.checkpoint} does not exist: give the path of a .pth file.')
    cfg = command_line.read_config(args)
    is_exported = Path(args.checkpoint).suffix in SUFFIXES.values()
    cfg.load_from, cfg.resume = None if is_exported else args.checkpoint, False  # True in the config of a resumed run
    # mmseg's visualization hook reads the current iteration, which would build the training data set.
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    remove_early_stopping(cfg)
    if args.available_modalities:
        set_available_modalities(cfg, args.available_modalities)
    if args.show or args.show_dir:
        draw_images(cfg, args)
    if args.tta:
        if not (cfg.get('tta_pipeline') and cfg.get('tta_model')):
            raise SystemExit(f'--tta needs tta_model and tta_pipeline in {args.config}: add them, or remove --tta.')
        for dataset in base_datasets(cfg.test_dataloader.dataset):
            dataset.pipeline = cfg.tta_pipeline
        cfg.tta_model.module = cfg.model
        cfg.model = cfg.tta_model
    if args.out is not None and (cfg.default_hooks.get('visualization') or {}).get('type') == 'cen_mm.ResultsHook':
        cfg.default_hooks.visualization.out_dir = str(Path(args.out).absolute())
    elif args.out is not None:
        metric = find_metric(cfg)
        metric['output_dir'] = args.out
        if all(dataset.get('label', {}) is None for dataset in base_datasets(cfg.test_dataloader.dataset)):
            metric['format_only'] = True  # there is nothing to compare with
    try:
        runner = command_line.build_runner(cfg, args)
        if is_exported:
            model = runner.model
            while hasattr(model, 'module'):  # distributed, test-time augmentation
                model = model.module
            model.dataset_meta = runner.test_dataloader.dataset.metainfo
            use_exported(model, args.checkpoint)
        for metric in runner.test_evaluator.metrics:
            if args.out and hasattr(metric, 'root'):
                metric.root = common_folder(runner.test_dataloader.dataset)
        runner.test()
    except Exception as error:
        if not is_check(error):
            raise
        raise SystemExit(str(error)) from None
    write_details(runner, cfg, args)
    if args.show_dir and runner.rank == 0:
        print(f'images: {Path(args.show_dir, runner.timestamp).absolute()}')
    if args.out and runner.rank == 0:
        print(f'predictions: {Path(args.out).absolute()}')


if __name__ == '__main__':
    main()
