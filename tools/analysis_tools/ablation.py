"""Trains several configs with several seeds, and writes a table and plots of their scores and of their exchange.

python tools/analysis_tools/ablation.py configs/ablation/*.py --seeds 0 1 2 --amp

The command is resumable with the same configs and options. All configs are trained with one seed before the next seed
starts, so the table can be compared at any time. The checkpoints of a run are in WORK_DIR/CONFIG/seed_N, its output is
in train.log there. To keep fewer checkpoints, add --cfg-options default_hooks.checkpoint.max_keep_ckpts=1.
"""

import argparse
import hashlib
import math
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from matplotlib.figure import Figure
from mmengine.config import Config
from run_results import read_scalars

from cen_mm import config_argument
from cen_mm.exchange import ENSEMBLE

TRAIN = Path(__file__).parents[1] / 'train.py'
# The score of every branch, its factor to %, and the further scores of the ensemble with their factors, by task
TASKS = {'mIoU': (1, {'aAcc': 1}), 'L1': (100, {'SSIM': 100, 'FID': 1, 'FD-Lite0': 1})}
NO_SCORES = ('exchanged', 'layers', 'minutes')
SETTINGS = 'settings.txt'  # in the folder of a run, so that runs of other settings are not mixed with it
Run = namedtuple('Run', 'config seed folder epochs settings')


def read_result(run: Run) -> dict[str, Any]:
    """Reads the results of a run.

    Returns:
        Final scores by column of the table, share of channels below the threshold in total (``exchanged``, %) and by
        layer (``layers``, %), and ``minutes`` of training. Empty if the run is not finished. The minutes are the mean
        time per iteration times the number of iterations, without validation and interruptions.
    """
    rows = read_scalars(run.folder)
    training = [row for row in rows if any(key.startswith('loss') for key in row)]
    score, last = max(((score, _last_index(rows, score)) for score in TASKS), key=lambda found: found[1])
    if not training or training[-1]['epoch'] < run.epochs or rows.index(training[-1]) > last:
        return {}
    scores, (factor, others) = rows[last], TASKS[score]
    branches = [key[: -len(f'/{score}')] for key in scores if key.endswith(f'/{score}')]
    result = {f'{name} {score}': factor * scores[f'{name}/{score}'] for name in branches if name != ENSEMBLE}
    result[f'{ENSEMBLE} {score}'] = factor * scores[score]
    result.update({key: factor * scores[key] for key, factor in others.items() if key in scores})
    exchange = rows[_last_index(rows, 'exchange/')] if _last_index(rows, 'exchange/') >= 0 else {}
    shares = [value for key, value in exchange.items() if key.startswith('exchange/') and key.count('/') == 1]
    if shares:
        result['exchanged'] = 100 * mean(shares)
        layers: dict[str, list[float]] = {}
        for key, value in exchange.items():
            if key.count('/') == 2:
                layers.setdefault(key.split('/')[1], []).append(100 * value)
        result['layers'] = {layer: mean(values) for layer, values in layers.items()}
    result['minutes'] = mean(row['time'] for row in training) * scores['step'] / 60
    return result


def _last_index(rows: list[dict], prefix: str) -> int:
    """Returns the index of the last row that has a key with this prefix, or -1 if there is none."""
    return max((i for i, row in enumerate(rows) if any(key.startswith(prefix) for key in row)), default=-1)


def mean_std(values: list[float]) -> str:
    """Formats the mean and the sample standard deviation."""
    if not values:
        return ''
    return f'{mean(values):.2f}' + (f' ± {stdev(values):.2f}' if len(values) > 1 else '')


def write_table(results: dict[str, list[dict]], path: Path) -> None:
    """Writes a table with one row per config. IoU, accuracy, L1, SSIM and shares are in %."""
    columns = [key for key in _columns(results) if key not in NO_SCORES]
    columns += ['exchanged', 'minutes']
    lines = [['config', 'seeds', *columns], ['---'] * (2 + len(columns))]
    for name, runs in results.items():
        lines.append([name, str(len(runs)), *(mean_std([run[key] for run in runs if key in run]) for key in columns)])
    path.write_text(''.join(f'| {" | ".join(line)} |\n' for line in lines), encoding='utf-8')


def _columns(results: dict[str, list[dict]]) -> list[str]:
    """Returns the names of all results: the scores of the branches first, then those of the ensemble, then others."""
    keys = dict.fromkeys(key for runs in results.values() for run in runs for key in run)
    return sorted(keys, key=lambda key: key.startswith(ENSEMBLE) + 2 * (' ' not in key))


def draw(results: dict[str, list[dict]], path: Path) -> None:
    """Plots the scores of the branches and the ensemble, the latter with its standard deviation, per config."""
    figure = Figure(figsize=(8, 1.5 + 0.35 * len(results)), layout='constrained')
    axis = figure.subplots()
    columns = [key for key in _columns(results) if ' ' in key]
    for name in columns:
        scores = {i: [run[name] for run in runs if name in run] for i, runs in enumerate(results.values())}
        scores = {i: values for i, values in scores.items() if values}
        means, rows = [mean(values) for values in scores.values()], list(scores)
        if name.startswith(ENSEMBLE):
            errors = [stdev(values) if len(values) > 1 else 0 for values in scores.values()]
            axis.errorbar(means, rows, xerr=errors, fmt='o', color='black', capsize=3, label=name, zorder=3)
        else:
            axis.scatter(means, rows, marker='|', s=80, alpha=0.5, label=name)
    axis.set_yticks(range(len(results)), results)
    axis.invert_yaxis()
    axis.grid(axis='x', alpha=0.3)
    axis.set(xlabel=f'{columns[-1].split()[-1]}, % (bar: standard deviation over seeds)')
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def draw_exchange(results: dict[str, list[dict]], path: Path) -> None:
    """Plots the score of the ensemble against the share of replaced channels, and this share in each layer."""
    column = [key for key in _columns(results) if key.startswith(ENSEMBLE)][-1]
    results = {name: [run for run in runs if 'layers' in run] for name, runs in results.items()}
    results = {name: runs for name, runs in results.items() if runs}
    if not results:
        return
    figure = Figure(figsize=(12, 3.5 + 0.2 * len(results)), layout='constrained')
    scatter, heat = figure.subplots(1, 2)
    for name, runs in results.items():
        scatter.scatter([run['exchanged'] for run in runs], [run[column] for run in runs], label=name)
    scatter.set(xlabel='replaced channels, %', ylabel=f'{column}, %')
    scatter.grid(alpha=0.3)
    scatter.legend(fontsize=8)
    layers = list(dict.fromkeys(layer for runs in results.values() for run in runs for layer in run['layers']))
    shares = [
        [mean([run['layers'].get(layer, math.nan) for run in runs]) for layer in layers] for runs in results.values()
    ]
    image = heat.imshow(shares, aspect='auto', vmin=0, vmax=100)
    heat.set_xticks(range(len(layers)), ['.'.join(layer.split('.')[-3:]) for layer in layers], rotation=90)
    heat.set_yticks(range(len(results)), results)
    figure.colorbar(image, label='replaced channels, %')
    figure.savefig(path, dpi=100)


def plan(args: argparse.Namespace) -> list[Run]:
    """Lists all runs, ordered by seed."""
    names = [Path(config).stem for config in args.configs]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise SystemExit(f'Several configs are named {", ".join(duplicates)}: give configs with different file names.')
    options = dict(option.split('=', 1) for option in args.cfg_options)
    details = {}
    for config in args.configs:
        cfg = Config.fromfile(config)
        settings = repr((cfg.to_dict(), sorted(args.cfg_options), args.amp))
        details[config] = dict(
            epochs=int(options.get('train_cfg.max_epochs') or cfg.train_cfg.max_epochs),
            settings=hashlib.sha256(settings.encode()).hexdigest(),
        )
    return [
        Run(config, seed, Path(args.work_dir, Path(config).stem, f'seed_{seed}'), **details[config])
        for seed in dict.fromkeys(args.seeds)
        for config in args.configs
    ]


def check_folders(runs: list[Run]) -> None:
    """Ends the command if a folder has a run of another config or with other options."""
    for run in runs:
        path = run.folder / SETTINGS
        if run.folder.exists() and (path.read_text() if path.exists() else '') != run.settings:
            raise SystemExit(
                f'{run.folder} has a run of another config or with other options: give another --work-dir, or delete '
                'the folder.'
            )


def start(run: Run, args: argparse.Namespace) -> subprocess.Popen:
    """Starts tools/train.py for one run. It resumes from the latest checkpoint if there is one."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / SETTINGS).write_text(run.settings)
    command = [sys.executable, str(TRAIN), run.config, '--work-dir', str(run.folder)]
    command += ['--resume'] * any(run.folder.glob('*.pth'))
    command += ['--amp'] * args.amp + ['--cfg-options', *args.cfg_options, f'randomness.seed={run.seed}']
    # Simultaneous trainings that all use every core are far slower than consecutive ones.
    threads = str(max(1, (os.cpu_count() or 1) // args.jobs))
    env = {**os.environ, 'OMP_NUM_THREADS': threads, 'MKL_NUM_THREADS': threads, 'OPENBLAS_NUM_THREADS': threads}
    with open(run.folder / 'train.log', 'a') as log:
        return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


class Ablation:
    """Trains all runs that have no result yet, and updates the table and the plots after each.

    Args:
        args: parsed command-line arguments.
    """

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.runs = plan(args)
        check_folders(self.runs)
        self.results = {run: result for run in self.runs for result in [read_result(run)] if result}
        self.failed = []
        self.running = {}  # Run: (process, start time)
        self.durations = []  # seconds, of the runs that this process finished

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
                for run, (process, start_time) in list(self.running.items()):
                    if process.poll() is not None:
                        self.finish(run, process.returncode, time.time() - start_time)
                if sys.stdout.isatty():
                    self.show(len(waiting))
        finally:
            for process, _ in self.running.values():
                process.terminate()

    def finish(self, run: Run, returncode: int, seconds: float) -> None:
        """Reads the result of a run that ended, or records that it failed."""
        del self.running[run]
        result = read_result(run)
        if returncode or not result:
            self.failed.append(run)
        else:
            self.results[run] = result
            self.durations.append(seconds)
            self.write()

    def write(self) -> None:
        """Writes the table and the plots of all finished runs."""
        results = {}
        for run in sorted(self.results, key=self.runs.index):
            results.setdefault(run.folder.parent.name, []).append(self.results[run])
        order = {Path(config).stem: results.get(Path(config).stem) for config in self.args.configs}
        results = {name: runs for name, runs in order.items() if runs}
        if results:
            write_table(results, Path(self.args.work_dir, 'ablation.md'))
            draw(results, Path(self.args.work_dir, 'ablation.png'))
            draw_exchange(results, Path(self.args.work_dir, 'exchange.png'))

    def show(self, waiting: int) -> None:
        """Prints the number of finished runs, the names of the current runs and the remaining time, in one line."""
        names = ', '.join(f'{run.folder.parent.name} {run.folder.name}' for run in self.running)
        remaining = ''
        if self.durations:
            elapsed = sum(time.time() - start_time for _, start_time in self.running.values())
            seconds = mean(self.durations) * (waiting + len(self.running)) - elapsed
            remaining = f', {max(seconds, 0) / self.args.jobs / 60:.0f} min left'
        line = f'[{len(self.results)}/{len(self.runs)}] {names}{remaining}'
        print(f'\r\033[K{line}' if sys.stdout.isatty() else line, end='' if sys.stdout.isatty() else '\n', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', type=config_argument, help='config files')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='random seeds (default: 0 1 2)')
    parser.add_argument('--work-dir', default='work_dirs/ablation', help='folder for runs, table and plots')
    parser.add_argument('--jobs', type=int, default=1, help='number of simultaneous runs, which share the CPU threads')
    parser.add_argument('--amp', action='store_true', help='as in tools/train.py')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='as in tools/train.py, for every config')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # makes Ablation.main stop the runs
    ablation = Ablation(parser.parse_args())
    ablation.main()
    table = Path(ablation.args.work_dir, 'ablation.md')
    if table.exists():
        plots = ', '.join(map(str, sorted(table.parent.glob('*.png'))))
        print(f'\n{table.read_text(encoding="utf-8")}\ntable: {table}\nplots: {plots}')
    for run in ablation.failed:
        print(
            f'failed: {run.config}, seed {run.seed}: fix the error that {run.folder / "train.log"} shows, '
            'or delete the folder.'
        )
    if ablation.failed:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
