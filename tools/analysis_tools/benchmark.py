"""Times a config's network: inference, a whole training step, reading of samples, evaluation, and their memory.

python tools/analysis_tools/benchmark.py configs/cen_refinenet_r101_nyudv2.py --shape 480 640 --amp --out speed.json

Weights and images are random, nothing is downloaded. A training step is the model's `train_step` with the config's
optimiser, all losses included. Evaluation is what a test adds to inference: resize, prediction and metric. Samples are
read through the config's training pipeline in one process, if its data set is there.

The machine's own limits, a large matrix product and a large copy, are taken in the same run. The column "product" is
the share of the first that the work's multiply-adds reach, "copy" the share of the second if every operation read its
inputs and wrote its outputs once. Peak memory is of two runs in a fresh process, another implementation's of all its
runs.

--compare PATH.py:NAME pairs another implementation, in a process of its own, with ours, strictly alternating, and
prints the ratio of the medians: above 1, ours is faster, or needs less memory. NAME is called with those that it takes
of `size` (height, width), `batch`, `train`, `device`, and the config's `depth`, `classes`, `base` (channels of the
generator) and `modalities` (their number), and returns a callable that does the work once. --amp puts both under
autocast to bfloat16, and times the other in float32, too.
"""

import argparse
import json
import platform
import statistics
from functools import partial
from pathlib import Path
from typing import Optional

import torch
from get_flops import build
from measuring import Step, Traffic, fresh_memory, machine_peak, seconds
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from mmengine.registry import DATASETS, METRICS, init_default_scope
from mmengine.structures import BaseDataElement, PixelData
from mmseg.structures import SegDataSample
from other_process import Other, task_of
from prettytable import PrettyTable
from torch.utils.flop_counter import FlopCounterMode

OURS = 'cen_mm'
WORKS = ('inference', 'training')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'), help="480 640; in translation the config's")
    parser.add_argument('--batch', type=int, default=1, help='images of every modality (1)')
    parser.add_argument('--amp', action='store_true', help='bfloat16 by autocast')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='cpu or cuda')
    parser.add_argument('--works', nargs='+', choices=WORKS, default=WORKS, help='what to time (both)')
    parser.add_argument('--runs', type=int, default=5, help='of everything, after one that warms up (5)')
    parser.add_argument('--compare', nargs='+', default=[], metavar='PATH.py:NAME', help='other implementations')
    parser.add_argument('--out', type=Path, help='JSON to write')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config: key=value')
    return parser.parse_args()


def read_config(args: argparse.Namespace) -> Config:
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    MMLogger.get_instance('benchmark', log_level='ERROR')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    args.shape = tuple(args.shape or (cfg.crop_size if cfg.get('default_scope') == 'mmagic' else (480, 640)))
    return cfg


def autocast(args: argparse.Namespace, enabled: bool) -> torch.autocast:
    return torch.autocast(args.device, torch.bfloat16, enabled=enabled)


def modalities(cfg: Config) -> list[str]:
    """Names of the model's modalities; an ordinary model of mmseg has one."""
    return list(cfg.model.get('modalities') or cfg.model.data_preprocessor.get('modalities', ['image']))


def targets_of(cfg: Config, args: argparse.Namespace, device: str = 'cpu') -> list[BaseDataElement]:
    """Targets of a batch."""
    if cfg.get('default_scope') == 'mmagic':
        images = torch.rand(args.batch, 3, *args.shape, device=device) * 2 - 1
        return [BaseDataElement(gt_img=image, metainfo=dict(modalities=modalities(cfg))) for image in images]
    meta = dict(img_shape=args.shape, ori_shape=args.shape, modalities=modalities(cfg))
    labels = torch.randint(cfg.model.decode_head.num_classes, (args.batch, 1, *args.shape), device=device)
    return [SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=label)) for label in labels]


def our_step(cfg: Config, args: argparse.Namespace, work: str) -> Step:
    """A callable that runs the config's model once."""
    model = build(cfg).to(args.device)
    channels = 3 * len(modalities(cfg))
    if work == 'inference':
        inputs = torch.randn(args.batch, channels, *args.shape, device=args.device)
        run = getattr(model, 'branches', model)  # an ordinary model of mmseg has no branches

        @torch.inference_mode()
        def infer():
            with autocast(args, args.amp):
                return run(inputs)

        return infer
    model.train()
    for part in (cfg.optim_wrapper, *cfg.optim_wrapper.values()):
        if args.amp and isinstance(part, ConfigDict) and part.get('type') == 'OptimWrapper':
            part.type = 'cen_mm.BFloat16OptimWrapper'
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    for optimiser in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
        for group in optimiser.param_groups:
            group['lr'] *= 1e-6  # random targets lead nowhere
    inputs = torch.rand(args.batch, channels, *args.shape) * 2 - 1
    targets = targets_of(cfg, args)
    return lambda: model.train_step(dict(inputs=list(inputs), data_samples=targets), wrapper)


def options_of(cfg: Config, args: argparse.Namespace) -> dict:
    """What another implementation may be told."""
    options = dict(
        depth=('backbone', 'depth'), classes=('decode_head', 'num_classes'), base=('generator', 'base_channels')
    )
    known = {
        key: cfg.model[part][option] for key, (part, option) in options.items() if option in cfg.model.get(part, {})
    }
    known.update(size=args.shape, batch=args.batch, train=None, device=args.device, modalities=len(modalities(cfg)))
    return known


def measure(
    step: Step, memory: int, others: dict[str, Other], args: argparse.Namespace, peak: dict[str, float]
) -> dict:
    """Times a work of ours and of all others in turn."""
    with Traffic() as traffic, FlopCounterMode(display=False) as counter:
        step()
    who = {OURS: partial(seconds, step, args.device), **others}
    times = [{name: run() for name, run in who.items()} for _ in range(args.runs + 1)][1:]
    rows = {}
    for name in who:
        wall, cpu = (statistics.median(column) for column in zip(*(run[name] for run in times)))
        rows[name] = dict(
            seconds=wall,
            cpu_seconds=cpu,
            images_per_second=args.batch / wall,
            peak_memory=memory if name == OURS else others[name].peak_memory,
            runs=[run[name][0] for run in times],
        )
        if name == OURS:
            flops, moved = counter.get_total_flops(), traffic.bytes
            shares = dict(product_share=flops / wall / peak['flops'], copy_share=moved / wall / peak['bytes'])
            rows[name].update(flops=flops, bytes=moved, **shares)
        else:
            ours = rows[OURS]
            rows[name].update(
                {f'{key}_ratio': rows[name][key] / ours[key] for key in ('seconds', 'cpu_seconds', 'peak_memory')}
            )
    return rows


def measure_evaluation(cfg: Config, args: argparse.Namespace, inference: float) -> Optional[dict[str, float]]:
    """What prediction and metric add to inference; None if the metric's weights are not there."""
    weights = [part['weights'] for part in cfg.val_evaluator.values() if isinstance(part, dict) and 'weights' in part]
    if not all(Path(path).is_file() for path in weights):
        return None
    model = build(cfg).to(args.device)
    metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = dict(classes=range(cfg.model.get('decode_head', {}).get('num_classes', 0)))
    channels = 3 * len(modalities(cfg))
    inputs = torch.rand(args.batch, channels, *args.shape, device=args.device) * 2 - 1
    with torch.inference_mode():
        branches = model.branches(inputs)
        model.branches = lambda inputs: branches  # what is left is what evaluation adds

        def evaluate():
            made = model(inputs, targets_of(cfg, args, args.device), mode='predict')
            metric.process({}, [sample.to_dict() for sample in made])

        evaluate()
        added = statistics.median(seconds(evaluate, args.device)[0] for _ in range(args.runs))
    return dict(seconds=added, share_of_inference=added / inference)


def measure_reading(cfg: Config, args: argparse.Namespace) -> Optional[dict[str, float]]:
    """Samples a second of the training pipeline in this process; None if the data set is not there."""
    try:
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    except FileNotFoundError:
        return None
    dataset[0]
    count = min(10 * args.runs, len(dataset))
    took, _ = seconds(lambda: [dataset[i] for i in range(count)], 'cpu')
    return dict(samples_per_second=count / took)


def table_of(result: dict) -> str:
    """All rows that were measured."""
    fields = ['work', 'who', 'seconds', 'ratio', 'images/s', 'product', 'copy', 'memory (GB)', 'ratio of memory']
    rows = PrettyTable(fields, align='r')
    for work in (work for work in WORKS if work in result):
        for name, row in result[work].items():
            shares = [f'{row[key]:.1%}' if key in row else '' for key in ('product_share', 'copy_share')]
            ratios = [f'{row[key]:.2f}' if key in row else '' for key in ('seconds_ratio', 'peak_memory_ratio')]
            speed, memory = f'{row["images_per_second"]:.3g}', f'{row["peak_memory"] / 1e9:.2f}'
            rows.add_row(
                [work, Path(name).name, f'{row["seconds"]:.4g}', ratios[0], speed, *shares, memory, ratios[1]]
            )
    lines = [str(rows)]
    if result.get('evaluation'):
        lines.append(f'Evaluation adds {result["evaluation"]["share_of_inference"]:.1%} to inference.')
    if result['reading']:
        lines.append(
            f'{result["reading"]["samples_per_second"]:.1f} training samples a second are read in one process.'
        )
    peak = result['peak']
    lines.append(
        f'The machine: {peak["flops"] / 1e9:.0f} GFLOP/s in a product, {peak["bytes"] / 1e9:.1f} GB/s in a copy.'
    )
    return '\n'.join(lines)


def main() -> None:
    args = parse_args()
    cfg = read_config(args)
    options = options_of(cfg, args)
    for name in args.compare:
        task_of(name, options)  # mistakes show before the first minute is spent
    # Before the rest, as a process that has used its threads cannot be forked.
    memory = {work: fresh_memory(partial(our_step, cfg, args, work), args.device) for work in args.works}
    dtype = torch.bfloat16 if args.amp else torch.float32
    facts = ('config', 'shape', 'batch', 'amp', 'device', 'runs')
    machine = torch.cuda.get_device_name() if args.device != 'cpu' else platform.processor() or platform.machine()
    result = dict({key: getattr(args, key) for key in facts}, machine=machine, torch=torch.__version__)
    result.update(threads=torch.get_num_threads(), peak=machine_peak(args.device, dtype))
    for work in args.works:
        options.update(train=work == 'training')
        tasks = {name: task_of(name, options) for name in args.compare}
        others = {name: Other(task, args.amp) for name, task in tasks.items()}
        if args.amp:
            others.update({f'{name}, float32': Other(task, False) for name, task in tasks.items()})
        result[work] = measure(our_step(cfg, args, work), memory[work], others, args, result['peak'])
        for other in others.values():
            other.close()
    if 'inference' in result:
        result['evaluation'] = measure_evaluation(cfg, args, result['inference'][OURS]['seconds'])
    result['reading'] = measure_reading(cfg, args)
    print(table_of(result))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2))


if __name__ == '__main__':
    main()
