"""Measures how time and memory of a config's network grow with modalities, image size and batch.

python tools/analysis_tools/cost_growth.py configs/cen_refinenet_r18_nyudv2.py --out growth

Weights and images are random. All cases run in turn, so that a slow minute of the machine meets each of them. Writes
OUT.md, the table, and OUT.png; "of one" is the time over that of M times one modality, or of as many times the pixels
or images as in the first row of its part.
"""

import argparse
import copy
import statistics
from collections import namedtuple
from functools import partial
from pathlib import Path

import torch
from benchmark import our_step, read_config
from matplotlib.figure import Figure
from measuring import fresh_memory, seconds
from mmengine.config import Config, DictAction
from mmengine.utils import track_iter_progress

Case = namedtuple('Case', 'part modalities height width batch')
PARTS = ('modalities', 'image size', 'batch')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work', choices=('inference', 'training'), default='inference', help='what to time')
    parser.add_argument('--modalities', type=int, nargs='+', default=[1, 2, 3, 4], help='numbers of modalities')
    parser.add_argument('--scales', type=float, nargs='+', default=[0.5, 1, 1.5], help='factors of height and width')
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 2, 4], help='images of every modality')
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'), help="480 640; in translation the config's")
    parser.add_argument('--amp', action='store_true', help='bfloat16 by autocast')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='cpu or cuda')
    parser.add_argument('--runs', type=int, default=5, help='of every case, after one that warms up (5)')
    parser.add_argument('--out', type=Path, default=Path('growth'), help='table and plot, without suffix (growth)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config: key=value')
    return parser.parse_args()


def with_modalities(cfg: Config, number: int) -> Config:
    """The config with that many modalities, all prepared like its first."""
    cfg = copy.deepcopy(cfg)
    names = [f'm{i}' for i in range(number)]
    if 'modalities' in cfg.model:
        cfg.model.modalities = names
    else:
        settings = cfg.model.data_preprocessor
        first = next(iter(settings.modalities.values()))
        settings.modalities = dict.fromkeys(names, first)
    return cfg


def cases_of(args: argparse.Namespace) -> list[Case]:
    height, width = args.shape
    sizes = [tuple(32 * round(scale * side / 32) for side in (height, width)) for scale in args.scales]
    return [
        *(Case(PARTS[0], number, height, width, 1) for number in args.modalities),
        *(Case(PARTS[1], 2, *size, 1) for size in sizes),
        *(Case(PARTS[2], 2, height, width, batch) for batch in args.batches),
    ]


def main() -> None:
    args = parse_args()
    cfg = read_config(args)
    cases, steps = cases_of(args), {}
    for case in cases:
        vars(args).update(shape=(case.height, case.width), batch=case.batch)
        steps[case] = partial(our_step, with_modalities(cfg, case.modalities), copy.copy(args), args.work)
    memory = {case: fresh_memory(steps[case], args.device) for case in track_iter_progress(cases)}
    steps = {case: make() for case, make in steps.items()}
    times = {case: [] for case in cases}
    for _ in track_iter_progress(range(args.runs + 1)):
        for case, step in steps.items():
            times[case].append(seconds(step, args.device)[0])
    lines = ['| modalities | size | batch | seconds | of one | memory (GB) |', '| --- | --- | --- | --- | --- | --- |']
    figure = Figure((12, 3.5), layout='constrained')
    for part, axes in zip(PARTS, figure.subplots(1, 3)):
        rows = [case for case in cases if case.part == part]
        work = [case.modalities * case.height * case.width * case.batch for case in rows]
        took = [statistics.median(times[case][1:]) for case in rows]
        for case, amount, value in zip(rows, work, took):
            share = value / took[0] * work[0] / amount
            cells = (case.modalities, f'{case.height}x{case.width}', case.batch, f'{value:.3f}', f'{share:.2f}')
            lines.append(f'| {" | ".join(map(str, cells))} | {memory[case] / 1e9:.2f} |')
        times_first = [amount / work[0] for amount in work]
        axes.plot(times_first, took, 'o-', label='measured')
        axes.plot(times_first, [took[0] * factor for factor in times_first], ':', label='linear')
        axes.set(xlabel=f'{part}, times the first', ylabel='seconds', ylim=(0, None))
        axes.legend()
    table = '\n'.join(lines)
    print(f'\n{table}')
    args.out.with_suffix('.md').write_text(table + '\n')
    figure.savefig(args.out.with_suffix('.png'), dpi=120)


if __name__ == '__main__':
    main()
