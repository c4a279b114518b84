"""Saves a checkpoint and ends when the user or the scheduler of a cluster asks for it."""

import os
import signal
from typing import Any, Optional

import torch
from mmengine.device import get_device
from mmengine.dist import all_reduce, barrier, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..registry import HOOKS
from .checkpoint_hook import CheckpointHook
from .optim import all_wrappers

SIGNALS = (signal.SIGINT, signal.SIGTERM)
FILENAME = 'interrupted.pth'


@HOOKS.register_module()
class InterruptHook(Hook):
    """On SIGTERM or SIGINT (Ctrl-C), saves ``interrupted.pth`` after the step and exits with status 128 + signal.

    With gradient accumulation, it waits for the step of the optimizer, and during a validation for its end. Without a
    :class:`CheckpointHook`, nothing is saved. In a single process, a second signal ends it at once.

    Args:
        interval: number of iterations after which several processes tell each other of a signal. The scheduler must
            give them time for it.
    """

    priority = 'LOWEST'  # after everything that belongs to the step

    def __init__(self, interval: int = 10):
        self.interval = interval
        self._signal = 0
        self._agreed = 0  # the signal that all processes know of
        self._handlers: dict[int, Any] = {}

    def before_train(self, runner: Runner) -> None:
        self._handlers = {number: signal.signal(number, self._note) for number in SIGNALS}

    def restore_signals(self, runner: Runner) -> None:
        """Restores the handlers of the signals. ResumableTrainLoop calls it when training ends or fails."""
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    after_train = restore_signals  # called by the loops of mmengine

    def _note(self, number: int, frame: Any) -> None:
        if self._signal and not is_distributed():  # torchrun passes the signal on, so its processes get it twice
            raise SystemExit(128 + number)
        self._signal = number
        if is_main_process():  # by os.write, because a signal may interrupt the logger
            os.write(2, f'\n{signal.Signals(number).name}: saving a checkpoint after this step.\n'.encode())

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Optional[dict] = None
    ) -> None:
        if not is_distributed():
            self._agreed = self._signal
        elif not self._agreed and self.every_n_train_iters(runner, self.interval):
            number = torch.tensor(self._signal, device=get_device())
            all_reduce(number, 'max')
            self._agreed = int(number)
        if not self._agreed or not all(w.should_update() for w in all_wrappers(runner.optim_wrapper).values()):
            return
        iteration = runner.iter + 1
        ending = 'no checkpoint is saved, because the config has no cen_mm.CheckpointHook.'
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                hook.save(runner, FILENAME, dict(epoch=runner.epoch, iter=iteration))
                ending = f'{hook.last_ckpt} is saved. Start with --resume to go on.'
        barrier()  # a launcher ends all processes when the first one ends
        message = f'{signal.Signals(self._agreed).name} after iteration {iteration}: {ending}'
        runner.logger.info(message, extra=dict(console=True))
        raise SystemExit(128 + self._agreed)
