"""Runs a command, and plots its memory, open files and processes over time, to see whether any of them grows (Linux).

python tools/benchmarks/watch.py watch.png python tools/train.py CONFIG
"""

import argparse
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from matplotlib.figure import Figure

TITLES = ('memory, MB', 'open files', 'processes')


def family(pid: int) -> list[Path]:
    """Returns the folders in /proc of a process and its descendants."""
    root = Path(f'/proc/{pid}')
    children = [int(child) for path in root.glob('task/*/children') for child in path.read_text().split()]
    return [root, *(path for child in children for path in family(child))]


def memory(process: Path) -> float:
    """Returns the memory of a process in MB, without mapped files; pages that processes share count in parts."""
    lines = (process / 'smaps_rollup').read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(('Pss_Anon:', 'Pss_Shmem:'))) / 1024


def sample(pid: int) -> tuple[float, int, int]:
    """Returns memory in MB, open files and number of processes of a process and its descendants."""
    rows = []
    for process in family(pid):
        with suppress(OSError):  # it has ended meanwhile
            rows.append((memory(process), len(list((process / 'fd').iterdir()))))
    return sum(row[0] for row in rows), sum(row[1] for row in rows), len(rows)


def draw(times: list[float], samples: list[tuple], out: Path) -> None:
    """Plots one curve per quantity."""
    figure = Figure(figsize=(8, 6), layout='constrained')
    for i, axis in enumerate(figure.subplots(len(TITLES), 1, sharex=True)):
        axis.plot([seconds / 60 for seconds in times], [row[i] for row in samples])
        axis.set(ylabel=TITLES[i], ylim=(0, None))
        axis.grid(alpha=0.3)
    axis.set_xlabel('minutes')
    figure.savefig(out, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='image of the plot')
    parser.add_argument('command', nargs=argparse.REMAINDER, help='command to run')
    args = parser.parse_args()
    if not args.command:
        parser.error('give the command to run after the image')
    try:
        process, start = subprocess.Popen(args.command), time.time()
    except OSError as error:
        raise SystemExit(f'{args.command[0]} cannot be run: {error.strerror}. Give a command.') from None
    times, samples = [], []
    while process.poll() is None:
        with suppress(OSError):  # it has ended just now
            samples.append(sample(process.pid))
            times.append(time.time() - start)
        time.sleep(1)
    draw(times, samples, args.out)
    for name, part in dict(first=samples[: len(samples) // 2], second=samples[len(samples) // 2 :]).items():
        columns = list(zip(*part)) or [[0]] * len(TITLES)
        means = ', '.join(f'{title}: {sum(values) / len(values):.1f}' for title, values in zip(TITLES, columns))
        print(f'{name} half: {means}')
    print(f'plot: {args.out}')
    raise SystemExit(process.returncode)


if __name__ == '__main__':
    main()
