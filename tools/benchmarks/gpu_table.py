"""Measures speed and peak memory of both tasks in every precision, and writes one table with the machine's name.

python tools/benchmarks/gpu_table.py --compare-segmentation PATH.py:NAME --compare-translation PATH.py:NAME

Every row is a run of benchmark.py in a new process, which describes the other implementations and the measurement. The
table is written after each row. A row that fails holds the last line of its error, and the command ends with an error
after the last row. `--device cpu --small` runs small networks on small images anywhere, to test the command.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from mmengine.utils import track_iter_progress

ROOT = Path(__file__).parents[2]
SEGMENTATION = 'configs/cen_refinenet_r101_nyudv2.py'
TRANSLATION = 'configs/cen_unet_shade-texture2rgb_taskonomy.py'
# Task, config, mode, image size and images per modality
CASES = [
    ('segmentation', SEGMENTATION, 'inference', (480, 640), 1),
    ('segmentation', SEGMENTATION, 'training', (480, 480), 2),
    ('translation', TRANSLATION, 'inference', (256, 256), 1),
    ('translation', TRANSLATION, 'training', (256, 256), 1),
]
SMALL_SIZES = dict(segmentation=(64, 64), translation=(256, 256))
SMALL_OPTIONS = dict(
    segmentation=[
        'model.backbone.depth=50',
        'model.backbone.base_channels=16',
        'model.neck.in_channels=[64,128,256,512]',
        'model.neck.channels=32',
        'model.neck.top_channels=32',
        'model.decode_head.in_channels=32',
    ],
    translation=['model.generator.base_channels=8', 'model.discriminator.base_channels=8'],
)
# Precision and mode of torch.compile; 'reduce-overhead' uses CUDA graphs.
SETTINGS = [
    *(('float32', None), ('tf32', None), ('tf32', 'default')),
    *((dtype, mode) for dtype in ('bfloat16', 'float16') for mode in (None, 'default', 'reduce-overhead')),
]
TIMEOUT = 1200  # seconds for a row
HEADER = [
    'task', 'mode', 'size, batch', 'precision', 'compiled', 'ms', 'reference (ms)', 'ratio', 'float32 reference (ms)',
    'ratio', 'memory (GB)', 'memory / reference',
]  # fmt: skip


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for task in SMALL_SIZES:
        other = f'other implementation of {task}, as for benchmark.py'
        parser.add_argument(f'--compare-{task}', metavar='PATH.py:NAME', help=other)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cuda', help='cuda is the first visible GPU')
    parser.add_argument('--small', action='store_true', help='small networks and images, one run')
    parser.add_argument('--out', type=Path, default=Path('gpu.md'), help='Markdown file to write (default: gpu.md)')
    args = parser.parse_args()
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise SystemExit(
            f'torch {torch.__version__} finds no GPU: install a torch for the CUDA version that nvidia-smi shows, or '
            'use --device cpu --small to test the command.'
        )
    return args


def is_possible(device: str, case: tuple, precision: str, mode: str) -> bool:
    """Whether a row can be measured. On the CPU, TF32, CUDA graphs and the loss scale of float16 do not exist."""
    task, _, what, _, _ = case
    if mode == 'reduce-overhead':
        return device == 'cuda' and what == 'inference'
    if device == 'cuda':
        return True
    return precision in ('float32', 'bfloat16') and (mode is None or task == 'translation')  # others compile for long


def run_benchmark(args: argparse.Namespace, case: tuple, precision: str, mode: str) -> tuple[dict, str]:
    """Runs benchmark.py; returns its result, or an empty dict and the last line of the error."""
    task, config, what, size, batch = case
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, 'result.json')
        command = [sys.executable, 'tools/benchmarks/benchmark.py', config, '--modes', what, '--device', args.device]
        command += ['--precision', precision, '--out', str(out)]
        if mode:
            command += ['--compile', mode]
        if other := getattr(args, f'compare_{task}'):
            path, _, name = other.rpartition(':')
            command += ['--compare', f'{Path(path).resolve()}:{name}']
        if args.small:
            size, batch = SMALL_SIZES[task], 1
            command += ['--runs', '1', '--cfg-options', *SMALL_OPTIONS[task]]
        command[3:3] = ['--shape', *map(str, size), '--batch', str(batch)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT
            )
        except subprocess.TimeoutExpired:
            return {}, f'not finished after {TIMEOUT} s'
        if done.returncode == 0:
            return json.loads(out.read_text()), ''
        return {}, (done.stdout.strip().splitlines() or [f'exit status {done.returncode}'])[-1]


def cells(case: tuple, precision: str, mode: str, result: dict) -> list[str]:
    """Returns the cells of one row."""
    ours, *others = result[case[2]].values()
    height, width = result['shape']
    row = [case[0], case[2], f'{height}x{width}, {result["batch"]}', precision, mode or '']
    row.append(f'{1e3 * ours["seconds"]:.4g}')
    same, float32 = (others[0], others[-1]) if others else (None, None)  # in float32, they are the same
    for other in (same, float32):
        row += [f'{1e3 * other["seconds"]:.4g}', f'{other["seconds_ratio"]:.2f}'] if other else ['', '']
    row.append(f'{ours["peak_memory"] / 1e9:.2f}')
    return [*row, f'{1 / same["peak_memory_ratio"]:.2f}' if same else '']


def main() -> None:
    args = parse_args()
    jobs = [(case, *setting) for case in CASES for setting in SETTINGS if is_possible(args.device, case, *setting)]
    rows, machine, failed = [], '', False
    for case, precision, mode in track_iter_progress(jobs):
        result, error = run_benchmark(args, case, precision, mode)
        if result:
            machine = f'{result["machine"]}, torch {result["torch"]}'
            rows.append(cells(case, precision, mode, result))
        else:
            failed = True
            rows.append([case[0], case[2], '', precision, mode or '', f'failed: {error}'.replace('|', '/')])
        lines = [
            f'Measured on {machine}. Ratios are reference / cen_mm.\n',
            *(f'| {" | ".join(row)} |' for row in (HEADER, ['---'] * len(HEADER), *rows)),
        ]
        args.out.write_text('\n'.join(lines) + '\n')
    print(f'\n{args.out.read_text()}')
    if failed:
        raise SystemExit('Some rows failed: run their benchmark.py command to see the whole error.')


if __name__ == '__main__':
    main()
