"""Trains configs over several seeds, side by side, and writes their scores to one table and one plot.

python tools/analysis_tools/ablation.py configs/ablation/*.py --seeds 0 1 2 --amp

Called again it goes on where it stopped. The seeds come one after another over all configs, so the table is fair at
any time. Each run's output lies in WORK_DIR/CONFIG/seed_N/train.log, beside its checkpoints; less of these stay with
--cfg-options default_hooks.checkpoint.max_keep_ckpts=1.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure
from mmengine.config import Config
from report import read_scalars

TRAIN = Path(__file__).parents[1] / 'train.py'
ENSEMBLE = 'ensemble'
Run = namedtuple('Run', 'config seed folder epochs')


def read_result(run: Run) -> dict[str, float]:
    """Final scores, share of channels exchanged (%) and minutes of training; empty if the run is not at its end.

    The minutes are the mean time of an iteration times their number, so validation does not count, nor do breaks.
    """
    rows = read_scalars(run.folder)
    training = [row for row in rows if 'loss' in row]
    if not training or training[-1]['epoch'] < run.epochs or rows.index(training[-1]) > _last(rows, 'mIoU'):
        return {}
    scores = rows[_last(rows, 'mIoU')]
    result = {key[: -len('/mIoU')]: value for key, value in scores.items() if key.endswith('/mIoU')}
    result.update({ENSEMBLE: scores['mIoU'], 'aAcc': scores['aAcc']})
    exchange = rows[_last(rows, 'exchange/')] if _last(rows, 'exchange/') >= 0 else {}
    shares = [value for key, value in exchange.items() if key.startswith('exchange/') and key.count('/') == 1]
    if shares:
        result['exchanged'] = 100 * mean(shares)
    result['minutes'] = mean(row['time'] for row in training) * scores['step'] / 60
    return result


def _last(rows: list[dict], prefix: str) -> int:
    """Index of the last row that has a key with this prefix, -1 if none has."""
    return max((i for i, row in enumerate(rows) if any(key.startswith(prefix) for key in row)), default=-1)


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation."""
    if not values:
        return ''
    return f'{mean(values):.2f}' + (f' ± {stdev(values):.2f}' if len(values) > 1 else '')


def write_table(results: dict[str, list[dict]], path: Path) -> None:
    """One row a config. Scores and shares in %."""
    columns = _branches(results)
    heads = ['config', 'seeds', *(f'{name} mIoU' for name in columns), 'aAcc', 'exchanged', 'minutes']
    lines = [heads, ['---'] * len(heads)]
    for name, runs in results.items():
        cells = (
            spread([run[key] for run in runs if key in run]) for key in (*columns, 'aAcc', 'exchanged', 'minutes')
        )
        lines.append([name, str(len(runs)), *cells])
    path.write_text(''.join(f'| {" | ".join(line)} |\n' for line in lines), encoding='utf-8')


def _branches(results: dict[str, list[dict]]) -> list[str]:
    """Names of all branches, the ensemble last."""
    keys = dict.fromkeys(key for runs in results.values() for run in runs for key in run)
    return [key for key in keys if key not in (ENSEMBLE, 'aAcc', 'exchanged', 'minutes')] + [ENSEMBLE]


def draw(results: dict[str, list[dict]], path: Path) -> None:
    """The ensemble's mean IoU with its standard deviation, one row a config; the branches' means beside it."""
    figure = Figure(figsize=(8, 1.5 + 0.35 * len(results)), layout='constrained')
    axis = figure.subplots()
    for name in _branches(results):
        scores = {i: [run[name] for run in runs if name in run] for i, runs in enumerate(results.values())}
        scores = {i: values for i, values in scores.items() if values}
        means, rows = [mean(values) for values in scores.values()], list(scores)
        if name == ENSEMBLE:
            bars = [stdev(values) if len(values) > 1 else 0 for values in scores.values()]
            axis.errorbar(means, rows, xerr=bars, fmt='o', color='black', capsize=3, label=name, zorder=3)
        else:
            axis.scatter(means, rows, marker='|', s=80, alpha=0.5, label=name)
    axis.set_yticks(range(len(results)), results)
    axis.invert_yaxis()
    axis.grid(axis='x', alpha=0.3)
    axis.set(xlabel='mean IoU, % (bar: standard deviation over seeds)')
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def plan(args: argparse.Namespace) -> list[Run]:
    """All runs, seed by seed."""
    names = [Path(config).stem for config in args.configs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SystemExit(f'{", ".join(twice)} is given twice: give configs of different file names.')
    missing = [config for config in args.configs if not Path(config).is_file()]
    if missing:
        raise SystemExit(f'{", ".join(missing)} does not exist: give paths of config files.')
    options = dict(option.split('=', 1) for option in args.cfg_options)
    epochs = {
        config: int(options.get('train_cfg.max_epochs') or Config.fromfile(config).train_cfg.max_epochs)
        for config in args.configs
    }
    return [
        Run(config, seed, Path(args.work_dir, Path(config).stem, f'seed_{seed}'), epochs[config])
        for seed in dict.fromkeys(args.seeds)
        for config in args.configs
    ]


def start(run: Run, args: argparse.Namespace) -> subprocess.Popen:
    """tools/train.py for one run, which goes on from its latest checkpoint if it has one."""
    run.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(TRAIN), run.config, '--work-dir', str(run.folder), '--resume']
    command += ['--amp'] * args.amp + ['--cfg-options', *args.cfg_options, f'randomness.seed={run.seed}']
    # Two trainings that each use every core are far slower than one after the other.
    threads = str(max(1, (os.cpu_count() or 1) // args.jobs))
    env = {**os.environ, 'OMP_NUM_THREADS': threads, 'MKL_NUM_THREADS': threads, 'OPENBLAS_NUM_THREADS': threads}
    with open(run.folder / 'train.log', 'a') as log:
        return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


class Ablation:
    """Runs what is missing, and keeps the table and the plot up to date.

    Args:
        args: of the command line.
    """

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.runs = plan(args)
        self.results = {run: result for run in self.runs for result in [read_result(run)] if result}
        self.failed = []
        self.running = {}  # Run: (process, time of its start)
        self.durations = []  # seconds, of the runs that this call finished

    def main(self) -> None:
        waiting = [run for run in self.runs if run not in self.results]
        self.write()
        try:
            while waiting or self.running:
                while waiting and len(self.running) < self.args.jobs:
                    run = waiting.pop(0)
                    self.running[run] = start(run, self.args), time.time()
                    self.show(len(waiting))
                time.sleep(0.5)
                for run, (process, begin) in list(self.running.items()):
                    if process.poll() is not None:
                        self.finish(run, process.returncode, time.time() - begin)
                if sys.stdout.isatty():
                    self.show(len(waiting))
        finally:
            for process, _ in self.running.values():
                process.terminate()

    def finish(self, run: Run, returncode: int, seconds: float) -> None:
        """Takes a run's result, or notes that it failed."""
        del self.running[run]
        result = read_result(run)
        if returncode or not result:
            self.failed.append(run)
        else:
            self.results[run] = result
            self.durations.append(seconds)
            self.write()

    def write(self) -> None:
        """Writes the table and the plot of all finished runs."""
        results = {}
        for run in sorted(self.results, key=self.runs.index):
            results.setdefault(run.folder.parent.name, []).append(self.results[run])
        order = {Path(config).stem: results.get(Path(config).stem) for config in self.args.configs}
        results = {name: runs for name, runs in order.items() if runs}
        if results:
            write_table(results, Path(self.args.work_dir, 'ablation.md'))
            draw(results, Path(self.args.work_dir, 'ablation.png'))

    def show(self, waiting: int) -> None:
        """One line: what is done, what runs, and how long the rest takes."""
        names = ', '.join(f'{run.folder.parent.name} {run.folder.name}' for run in self.running)
        left = ''
        if self.durations:
            begun = sum(time.time() - begin for _, begin in self.running.values())
            seconds = mean(self.durations) * (waiting + len(self.running)) - begun
            left = f', {max(seconds, 0) / self.args.jobs / 60:.0f} min left'
        line = f'[{len(self.results)}/{len(self.runs)}] {names}{left}'
        print(f'\r\033[K{line}' if sys.stdout.isatty() else line, end='' if sys.stdout.isatty() else '\n', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--work-dir', default='work_dirs/ablation', help='folder of the runs, the table and the plot')
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time; the CPU threads are divided between them')
    parser.add_argument('--amp', action='store_true', help='as in tools/train.py')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='as in tools/train.py, for every config')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the runs end with this tool
    ablation = Ablation(parser.parse_args())
    ablation.main()
    table = Path(ablation.args.work_dir, 'ablation.md')
    if table.exists():
        print(f'\n{table.read_text(encoding="utf-8")}\ntable: {table}\nplot:  {table.with_suffix(".png")}')
    for run in ablation.failed:
        print(
            f'failed: {run.config}, seed {run.seed}: mend what {run.folder / "train.log"} says, or delete the folder.'
        )
    if ablation.failed:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
