"""Measures how the time and memory of a config's network grow with modalities, image size and batch size.

python tools/benchmarks/cost_growth.py configs/cen_refinenet_r18_nyudv2.py --out growth

Weights and images are random. The cases run in alternation, so that a slow phase of the machine affects all of them.
The table is written to OUT.md, and a plot to OUT.png. The table has three parts: modalities, image size and batch. The
column "relative" is the time divided by the time that linear growth from the first row of the part would give.
"""

import argparse
import copy
import statistics
from collections import namedtuple
from functools import partial
from pathlib import Path

from benchmark import MODES, add_common_arguments, our_step, read_config
from matplotlib.figure import Figure
from measuring import fresh_memory, seconds, set_precision
from mmengine.config import Config
from mmengine.utils import track_iter_progress

from cen_mm.engine import set_up_process

Case = namedtuple('Case', 'part modalities height width batch')
PARTS = ('modalities', 'image size', 'batch')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('--mode', choices=MODES, default='inference', help='what to measure')
    parser.add_argument('--modalities', type=int, nargs='+', default=[1, 2, 3, 4], help='numbers of modalities')
    parser.add_argument('--scales', type=float, nargs='+', default=[0.5, 1, 1.5], help='factors of height and width')
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 2, 4], help='images per modality')
    out = 'output files without suffix (default: growth)'
    parser.add_argument('--out', type=Path, default=Path('growth'), help=out)
    return parser.parse_args()


def with_modalities(cfg: Config, number: int) -> Config:
    """Returns a copy of the config with this number of modalities, all preprocessed like its first one."""
    cfg = copy.deepcopy(cfg)
    names = [f'm{i}' for i in range(number)]
    if 'modalities' in cfg.model:
        cfg.model.modalities = names
    else:
        settings = cfg.model.data_preprocessor
        first = next(iter(settings.modalities.values()))
        settings.modalities = dict.fromkeys(names, first)
    return cfg


def list_cases(args: argparse.Namespace) -> list[Case]:
    height, width = args.shape
    sizes = [tuple(32 * round(scale * side / 32) for side in (height, width)) for scale in args.scales]
    return [
        *(Case(PARTS[0], number, height, width, 1) for number in args.modalities),
        *(Case(PARTS[1], 2, *size, 1) for size in sizes),
        *(Case(PARTS[2], 2, height, width, batch) for batch in args.batches),
    ]


def main() -> None:
    args = parse_args()
    set_up_process(tune_memory=not args.no_memory_tuning)
    set_precision(args.precision)
    cfg = read_config(args)
    cases, steps = list_cases(args), {}
    for case in cases:
        vars(args).update(shape=(case.height, case.width), batch=case.batch)
        steps[case] = partial(our_step, with_modalities(cfg, case.modalities), copy.copy(args), args.mode)
    memory = {case: fresh_memory(steps[case], args.device) for case in track_iter_progress(cases)}
    steps = {case: make() for case, make in steps.items()}
    times = {case: [] for case in cases}
    for _ in track_iter_progress(range(args.runs + 1)):
        for case, step in steps.items():
            times[case].append(seconds(step, args.device)[0])
    lines = [
        '| modalities | size | batch | seconds | relative | memory (GB) |',
        '| --- | --- | --- | --- | --- | --- |',
    ]
    figure = Figure((12, 3.5), layout='constrained')
    for part, axes in zip(PARTS, figure.subplots(1, 3)):
        rows = [case for case in cases if case.part == part]
        sizes = [case.modalities * case.height * case.width * case.batch for case in rows]
        medians = [statistics.median(times[case][1:]) for case in rows]
        for case, amount, value in zip(rows, sizes, medians):
            relative = value / medians[0] * sizes[0] / amount
            cells = (case.modalities, f'{case.height}x{case.width}', case.batch, f'{value:.3g}', f'{relative:.2f}')
            lines.append(f'| {" | ".join(map(str, cells))} | {memory[case] / 1e9:.2f} |')
        factors = [amount / sizes[0] for amount in sizes]
        axes.plot(factors, medians, 'o-', label='measured')
        axes.plot(factors, [medians[0] * factor for factor in factors], ':', label='linear')
        axes.set(xlabel=f'{part}, relative to the first', ylabel='seconds', ylim=(0, None))
        axes.legend()
    table = '\n'.join(lines)
    print(f'\n{table}')
    args.out.with_suffix('.md').write_text(table + '\n')
    figure.savefig(args.out.with_suffix('.png'), dpi=120)


if __name__ == '__main__':
    main()
