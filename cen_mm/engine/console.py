"""Short console output for commands: progress, scores, warnings, and where the files are. The log has everything."""

import logging
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Iterable, Optional, Sequence

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import IterBasedTrainLoop, Runner
from prettytable import PrettyTable

from ..exchange import ENSEMBLE
from ..registry import HOOKS

# Warnings of mmengine about its own code, which users cannot change.
OWN_WARNINGS = ('The prefix is not set in metric class', '"FileClient" will be deprecated', '"HardDiskBackend" is the')
DEFAULT_HOOKS = {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'}  # of mmengine
# Packages whose messages are details. What other code logs is the user's own, and is shown.
PACKAGES = {'mmengine', 'mmcv', 'mmseg', 'mmagic', 'mmpretrain', 'cen_mm'}


def is_for_console(record: logging.LogRecord) -> bool:
    """Selects warnings, messages of the user's own code, and messages with ``extra=dict(console=True)``."""
    if record.levelno >= logging.WARNING:
        return not record.getMessage().startswith(OWN_WARNINGS)
    source = Path(record.pathname)
    is_own_code = PACKAGES.isdisjoint(source.parts) or source.stem == 'early_stopping_hook'
    return is_own_code or getattr(record, 'console', False)


class CommandRunner(Runner):
    """mmengine's runner, which keeps the config of a training run when a test or a check has the same work directory.

    As mmengine's own default hooks, those of a config are removed by None: ``default_hooks=dict(exchange=None)``.
    """

    def register_default_hooks(self, hooks: Optional[dict] = None) -> None:
        kept = {name: hook for name, hook in (hooks or {}).items() if hook is not None or name in DEFAULT_HOOKS}
        super().register_default_hooks(kept)

    def dump_config(self) -> None:
        checks_only = (self.cfg.get('default_hooks', {}).get('preflight') or {}).get('check_only')
        trains = self._train_dataloader is not None and not checks_only
        if trains or not list(Path(self.work_dir).glob('*.py')):
            super().dump_config()


class ConsoleRunner(CommandRunner):
    """A runner whose console shows what :func:`is_for_console` selects. The log file is unchanged."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        logger.handlers[0].addFilter(is_for_console)  # the first handler writes to the console
        return logger


def score_rows(scores: dict[str, float]) -> tuple[list[str], dict[str, list[float]]]:
    """Sorts scores named ``'rgb/mIoU'`` and, for the ensemble, ``'mIoU'``.

    Returns:
        The names of the scores that every branch has, and for each branch its values in this order. Scores of other
        metrics are left out, unless there are no branches.
    """
    names = dict.fromkeys(key.rpartition('/')[0] for key in scores if '/' in key)
    columns = [key for key in scores if any(f'{name}/{key}' in scores for name in names)] or list(scores)
    branches = [name for name in names if all(f'{name}/{key}' in scores for key in columns)]
    prefixes = {**{name: f'{name}/' for name in branches}, ENSEMBLE: ''}
    return columns, {name: [scores[prefix + key] for key in columns] for name, prefix in prefixes.items()}


def format_table(columns: Sequence[str], rows: Iterable[list]) -> str:
    """Formats a table without a frame: four lines for two rows."""
    table = PrettyTable(columns)
    table.add_rows(list(rows))
    return '\n'.join(str(table).splitlines()[1:-1])


def format_scores(scores: dict[str, float]) -> str:
    """Formats the scores of an evaluation, one row per branch, and one line per score of other metrics."""
    columns, rows = score_rows(scores)
    table = format_table(
        ['branch', *columns], [[name, *(f'{value:#.4g}' for value in values)] for name, values in rows.items()]
    )
    shown = {*columns, 'time', 'data_time', *(f'{name}/{key}' for name in rows for key in columns)}
    return '\n'.join([table, *(f'{key}: {value}' for key, value in scores.items() if key not in shown)])


@HOOKS.register_module()
class ConsoleHook(Hook):
    """Prints a line per epoch, the scores of each evaluation, and at the end the checkpoint and the next command.

    An iteration-based run has a line per hundredth of its iterations instead. A terminal also shows the progress
    between these lines.

    Args:
        test_command: command that tests a checkpoint, such as ``'python tools/test.py CONFIG'``. The checkpoint is
            appended.
    """

    priority = 'LOWEST'  # after CheckpointHook, which selects the best checkpoint

    def __init__(self, test_command: str):
        self.test_command = test_command
        self._shown = 0.0  # time when the progress was shown, in seconds

    def before_train(self, runner: Runner) -> None:
        dataset, batch_size = runner.train_dataloader.dataset, runner.train_dataloader.batch_size
        device = next(runner.model.parameters()).device
        device_name = torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type.upper()
        self._print(
            f'training on {len(dataset)} samples in batches of {batch_size} ({device_name}), log: {_log_file(runner)}'
        )
        if runner.iter > 0:
            self._print(f'resumed at epoch {runner.epoch}, iteration {runner.iter}')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Optional[dict] = None
    ) -> None:
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            done, is_last = f'iteration {runner.iter + 1}/{runner.max_iters}', True
            keep = (runner.iter + 1) % max(1, runner.max_iters // 100) == 0
        else:
            done = f'epoch {runner.epoch + 1}/{runner.max_epochs}'
            keep = is_last = batch_idx + 1 == len(runner.train_dataloader)
        if not keep and not self._is_time():
            return
        scalars, eta = runner.message_hub.log_scalars, runner.message_hub.get_info('eta')
        parts = [done if is_last else f'{done} [{batch_idx + 1}/{len(runner.train_dataloader)}]']
        for key in ('train/loss', 'train/loss_gen'):
            if key in scalars:
                parts.append(f'loss {scalars[key].mean(10):.4g}')
        if 'train/replaced' in scalars:
            parts.append(f'replaced channels {100 * scalars["train/replaced"].current():.0f} %')
        if eta is not None:  # of IterTimerHook
            parts.append(f'{timedelta(seconds=int(eta))} left')
        if keep:
            self._print('  '.join(parts))
        else:
            self._progress('  '.join(parts))

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Optional[Sequence] = None
    ) -> None:
        self._progress(f'validation [{batch_idx + 1}/{len(runner.val_dataloader)}]')

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Optional[Sequence] = None
    ) -> None:
        self._progress(f'test [{batch_idx + 1}/{len(runner.test_dataloader)}]')

    def after_val_epoch(self, runner: Runner, metrics: Optional[dict[str, float]] = None) -> None:
        if metrics:
            self._print(format_scores(metrics))

    def after_test_epoch(self, runner: Runner, metrics: Optional[dict[str, float]] = None) -> None:
        self.after_val_epoch(runner, metrics)
        self._print(f'log: {_log_file(runner)}')

    def after_train(self, runner: Runner) -> None:
        info = runner.message_hub.runtime_info
        names = [key[len('best_ckpt') :] for key in info if key.startswith('best_ckpt')]
        for name in names:
            self._print(f'best score{name.replace("_", " ")}: {info["best_score" + name]:.4g}')
        checkpoint = info[f'best_ckpt{names[0]}'] if names else info.get('last_ckpt')
        if checkpoint is not None:
            checkpoint = Path(checkpoint).absolute()
            self._print(f'checkpoint: {checkpoint}', f'next: {self.test_command} {checkpoint}')

    def _is_time(self) -> bool:
        """Whether to show the progress: on a terminal, once per second."""
        return is_main_process() and time.time() - self._shown > 1 and sys.stdout.isatty()

    def _progress(self, line: str) -> None:
        """Shows a line that the next one replaces."""
        if self._is_time():
            print(f'\r\033[K{line}', end='', flush=True)
            self._shown = time.time()

    @staticmethod
    def _print(*lines: str) -> None:
        if is_main_process():
            clear = '\r\033[K' if sys.stdout.isatty() else ''
            print(*(clear + line for line in lines), sep='\n', flush=True)


def _log_file(runner: Runner) -> Path:
    return Path(runner.log_dir, f'{runner.timestamp}.log').absolute()
