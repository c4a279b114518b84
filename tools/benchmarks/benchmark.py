"""Measures the speed and memory of a config's network in inference, a training step and evaluation.

python tools/benchmarks/benchmark.py configs/cen_refinenet_r101_nyudv2.py --precision bfloat16 --out speed.json

Weights and images are random; nothing is downloaded. A training step is the model's `train_step` with the optimizer
and all losses of the config. Evaluation is the part of a test that is not inference: resizing, prediction and metric.

The speed of a large matrix product is measured in the same run. The column "product share" is the speed of the
network's multiply-adds divided by that speed. Peak memory is that of two runs in a new process; for another
implementation, of all its runs; on a GPU, of one run after the first.

--compare PATH.py:NAME runs another implementation in a separate process, in alternation with cen_mm, and prints the
ratio of the medians: above 1, cen_mm is faster or needs less memory. The function NAME may have any of the following
arguments: `size` (height, width), `batch`, `train`, `device`, and from the config `depth`, `classes`, `base` (base
channels of the generator) and `modalities` (their number). It returns a callable; each call is one run. Both
implementations run in the same precision, and the other one also in float32. Only cen_mm is compiled by --compile, and
only cen_mm scales the loss of float16.
"""

import argparse
import copy
import json
import platform
import statistics
from functools import partial
from pathlib import Path
from typing import Callable, Optional

import torch
from measuring import PRECISIONS, Step, autocast, fresh_memory, product_speed, seconds, set_precision
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import METRICS, init_default_scope
from mmengine.structures import BaseDataElement, PixelData
from mmengine.utils import digit_version
from mmseg.structures import SegDataSample
from other_process import Other, build_task
from prettytable import PrettyTable
from torch import nn
from torch.utils import collect_env
from torch.utils.flop_counter import FlopCounterMode

from cen_mm import config_argument
from cen_mm.apis import init_model
from cen_mm.engine import set_up_process
from cen_mm.engine.optim import MIXED_PRECISION, all_param_groups
from cen_mm.engine.preflight.config import optim_wrappers
from cen_mm.segmentation import MultimodalDataPreProcessor

OURS = 'cen_mm'
MODES = ('inference', 'training')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that this command and cost_growth.py share."""
    parser.add_argument('config', type=config_argument, help='config file')
    size = "input size (default: 480 640; for translation, the config's)"
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'), help=size)
    precision = 'float32, with or without TF32 on a GPU, or autocast to a half precision (default: float32)'
    parser.add_argument('--precision', choices=PRECISIONS, default='float32', help=precision)
    compile_help = 'compile the network and the training step, with this mode of torch.compile'
    parser.add_argument('--compile', nargs='?', const='default', metavar='MODE', help=compile_help)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    parser.add_argument('--device', choices=['cpu', 'cuda'], default=device, help='cuda is the first visible GPU')
    parser.add_argument('--runs', type=int, default=5, help='number of runs after one warm-up run (default: 5)')
    parser.add_argument('--no-memory-tuning', action='store_true', help='return freed memory to the system (CPU only)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override: key=value')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('--batch', type=int, default=1, help='images per modality (default: 1)')
    parser.add_argument('--modes', nargs='+', choices=MODES, default=MODES, help='what to measure (default: both)')
    other = 'implementations to compare with'
    parser.add_argument('--compare', nargs='+', default=[], metavar='PATH.py:NAME', help=other)
    parser.add_argument('--out', type=Path, help='JSON file to write')
    args = parser.parse_args()
    if digit_version(torch.__version__) < digit_version('2.6'):  # 2.4 still counts nothing in inference mode
        raise SystemExit(f'torch {torch.__version__} does not count all operations: use torch 2.6 or newer.')
    return args


def read_config(args: argparse.Namespace) -> Config:
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    MMLogger.get_instance('benchmark', log_level='ERROR')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    args.shape = tuple(args.shape or (cfg.crop_size if cfg.get('default_scope') == 'mmagic' else (480, 640)))
    return cfg


def modalities(cfg: Config) -> list[str]:
    """Returns the names of the model's modalities. Other models of mmseg have one."""
    return list(cfg.model.get('modalities') or cfg.model.data_preprocessor.get('modalities', ['image']))


def num_channels(model: nn.Module, cfg: Config) -> dict[str, int]:
    """Returns the number of channels of each modality."""
    return getattr(model.data_preprocessor, 'channels', None) or dict.fromkeys(modalities(cfg), 3)


def make_targets(cfg: Config, args: argparse.Namespace, device: str = 'cpu') -> list[BaseDataElement]:
    """Creates random targets for a batch."""
    if cfg.get('default_scope') == 'mmagic':
        images = torch.rand(args.batch, 3, *args.shape, device=device) * 2 - 1
        return [BaseDataElement(gt_img=image, metainfo=dict(modalities=modalities(cfg))) for image in images]
    meta = dict(img_shape=args.shape, ori_shape=args.shape, modalities=modalities(cfg))
    labels = torch.randint(cfg.model.decode_head.num_classes, (args.batch, 1, *args.shape), device=device)
    return [SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=label)) for label in labels]


def our_step(cfg: Config, args: argparse.Namespace, mode: str) -> Step:
    """Builds the config's model and returns a callable that runs it once."""
    model = init_model(cfg, device=args.device)
    channels = num_channels(model, cfg)
    if mode == 'inference':
        inputs = torch.randn(args.batch, sum(channels.values()), *args.shape, device=args.device)
        run = compiled(getattr(model, 'branches', model), args)  # other models of mmseg have no branches

        @torch.inference_mode()
        def infer():
            with autocast(args.device, args.precision):
                return run(inputs)

        return infer
    model.train()
    optim_wrapper = copy.deepcopy(cfg.optim_wrapper)
    for _, part in optim_wrappers(optim_wrapper):
        part.update(MIXED_PRECISION.get(args.precision, {}))
    wrapper = build_optim_wrapper(model, optim_wrapper)
    for group in all_param_groups(wrapper):
        group['lr'] *= 1e-6  # the targets are random
    inputs = torch.rand(args.batch, sum(channels.values()), *args.shape) * 2 - 1
    inputs = list(inputs.pin_memory() if args.device == 'cuda' else inputs)  # as train.py does
    if isinstance(model.data_preprocessor, MultimodalDataPreProcessor):  # takes one image per modality
        parts = zip(*(image.split(list(channels.values())) for image in inputs))
        inputs = {name: list(images) for name, images in zip(channels, parts)}
    targets = make_targets(cfg, args)
    if args.device == 'cuda':
        targets = [target.pin_memory() for target in targets]
    train_step = compiled(model.train_step, args)
    return lambda: train_step(dict(inputs=inputs, data_samples=targets), wrapper)


def compiled(function: Callable, args: argparse.Namespace) -> Callable:
    """Compiles a function if --compile is given; ``compile`` in a config compiles ``train_step`` in the same way."""
    return torch.compile(function, mode=args.compile) if args.compile else function


def collect_options(cfg: Config, args: argparse.Namespace) -> dict:
    """Collects the arguments that another implementation may have."""
    options = dict(
        depth=('backbone', 'depth'), classes=('decode_head', 'num_classes'), base=('generator', 'base_channels')
    )
    known = {
        key: cfg.model[part][option] for key, (part, option) in options.items() if option in cfg.model.get(part, {})
    }
    known.update(size=args.shape, batch=args.batch, train=None, device=args.device, modalities=len(modalities(cfg)))
    return known


def measure(step: Step, memory: int, others: dict[str, Other], args: argparse.Namespace, product: float) -> dict:
    """Times cen_mm and all other implementations in alternation.

    Args:
        step: one run of cen_mm.
        memory: peak memory of cen_mm in bytes.
        others: processes of the other implementations, by name.
        args: command-line arguments.
        product: FLOP/s of a large matrix product.

    Returns:
        The measured values of each implementation, by name.
    """
    with torch.compiler.set_stance('force_eager'), FlopCounterMode(display=False) as counter:
        step()
    implementations = {OURS: partial(seconds, step, args.device), **others}
    times = [{name: run() for name, run in implementations.items()} for _ in range(args.runs + 1)][1:]
    rows = {}
    for name in implementations:
        wall, cpu = (statistics.median(column) for column in zip(*(run[name] for run in times)))
        rows[name] = dict(
            seconds=wall,
            cpu_seconds=cpu,
            images_per_second=args.batch / wall,
            peak_memory=memory if name == OURS else others[name].peak_memory,
            runs=[run[name][0] for run in times],
        )
        if name == OURS:
            flops = counter.get_total_flops()
            rows[name].update(flops=flops, product_share=flops / wall / product)
        else:
            ours = rows[OURS]
            rows[name].update(
                {f'{key}_ratio': rows[name][key] / ours[key] for key in ('seconds', 'cpu_seconds', 'peak_memory')}
            )
    return rows


def measure_evaluation(cfg: Config, args: argparse.Namespace, inference: float) -> Optional[dict[str, float]]:
    """Measures the part of a test that is not inference.

    Returns None for models without branches, several metrics, or a metric whose weights do not exist.
    """
    metrics = cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]
    weights = [part['weights'] for part in metrics[0].values() if isinstance(part, dict) and 'weights' in part]
    model = init_model(cfg, device=args.device)
    if len(metrics) > 1 or not hasattr(model, 'branches') or not all(Path(path).is_file() for path in weights):
        return None
    metric = METRICS.build(metrics[0])
    metric.dataset_meta = dict(classes=range(cfg.model.get('decode_head', {}).get('num_classes', 0)))
    channels = sum(num_channels(model, cfg).values())
    inputs = torch.rand(args.batch, channels, *args.shape, device=args.device) * 2 - 1
    with torch.inference_mode():
        branches = model.branches(inputs)
        model.branches = lambda inputs: branches  # excludes the network from the measurement

        def evaluate():
            samples = model(inputs, make_targets(cfg, args, args.device), mode='predict')
            metric.process({}, [sample.to_dict() for sample in samples])

        evaluate()
        added = statistics.median(seconds(evaluate, args.device)[0] for _ in range(args.runs))
    return dict(seconds=added, share_of_inference=added / inference)


def format_table(result: dict) -> str:
    """Formats the results as a table and two lines of text."""
    fields = ['mode', 'code', 'seconds', 'time ratio', 'images/s', 'product share', 'memory (GB)', 'memory ratio']
    table = PrettyTable(fields, align='r')
    for mode in (mode for mode in MODES if mode in result):
        for name, row in result[mode].items():
            share = f'{row["product_share"]:.1%}' if 'product_share' in row else ''
            ratios = [f'{row[key]:.2f}' if key in row else '' for key in ('seconds_ratio', 'peak_memory_ratio')]
            speed, memory = f'{row["images_per_second"]:.3g}', f'{row["peak_memory"] / 1e9:.2f}'
            table.add_row([mode, Path(name).name, f'{row["seconds"]:.4g}', ratios[0], speed, share, memory, ratios[1]])
    lines = [str(table)]
    if result.get('evaluation'):
        lines.append(f'Evaluation adds {result["evaluation"]["share_of_inference"]:.1%} to the inference time.')
    lines.append(f'A large matrix product runs at {result["product"] / 1e9:.0f} GFLOP/s on this machine.')
    return '\n'.join(lines)


def machine_name(device: str) -> str:
    """Returns the name of the processor, or of the GPU and the versions of its driver and libraries."""
    if device == 'cpu':
        return platform.processor() or platform.machine()
    driver = collect_env.get_nvidia_driver_version(collect_env.run)
    return (
        f'{torch.cuda.get_device_name()}, driver {driver}, CUDA {torch.version.cuda}, '
        f'cuDNN {torch.backends.cudnn.version()}'
    )


def main() -> None:
    args = parse_args()
    set_up_process(tune_memory=not args.no_memory_tuning)
    set_precision(args.precision)
    cfg = read_config(args)
    options = collect_options(cfg, args)
    for name in args.compare:
        build_task(name, options)  # reports errors before the first measurement
    # Before anything else runs, because a process whose thread pool is running cannot be forked.
    memory = {mode: fresh_memory(partial(our_step, cfg, args, mode), args.device) for mode in args.modes}
    settings = ('config', 'shape', 'batch', 'precision', 'compile', 'device', 'runs')
    result = dict({key: getattr(args, key) for key in settings}, machine=machine_name(args.device))
    result.update(torch=torch.__version__, threads=torch.get_num_threads())
    result.update(product=product_speed(args.device, PRECISIONS[args.precision]))
    for mode in args.modes:
        options.update(train=mode == 'training')
        tasks = {name: build_task(name, options) for name in args.compare}
        others = {name: Other(task, args.precision) for name, task in tasks.items()}
        if args.precision != 'float32':
            others.update({f'{name}, float32': Other(task, 'float32') for name, task in tasks.items()})
        result[mode] = measure(our_step(cfg, args, mode), memory[mode], others, args, result['product'])
        for other in others.values():
            other.close()
    if 'inference' in result:
        result['evaluation'] = measure_evaluation(cfg, args, result['inference'][OURS]['seconds'])
    print(format_table(result))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2))


if __name__ == '__main__':
    main()
