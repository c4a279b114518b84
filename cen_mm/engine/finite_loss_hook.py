"""Stops training when the loss is not finite."""

from collections import deque
from typing import Any, Optional, Union

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from ..registry import HOOKS
from .samples import files_of


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops training if losses are NaN or infinite in several iterations in a row, and names the first files.

    The iterations are counted on the device, and the number is read at intervals and at the end of an epoch, before a
    checkpoint is saved, so the host does not wait for the device in every iteration.

    Args:
        patience: number of iterations in a row.
        interval: number of iterations between two checks of the number.

    Raises:
        FloatingPointError: if the losses were not finite.
    """

    priority = 'BELOW_NORMAL'  # before the checkpoint is saved

    def __init__(self, patience: int = 3, interval: int = 20):
        self.patience = patience
        self.interval = interval
        self._in_a_row: Union[int, Tensor] = 0
        self._batches: deque = deque(maxlen=interval + patience)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Optional[dict] = None
    ) -> None:
        losses = [value for key, value in (outputs or {}).items() if 'loss' in key]
        finite = torch.stack([loss.detach().float().mean() for loss in losses]).isfinite().all()
        self._in_a_row = (self._in_a_row + 1) * ~finite
        files = [file for sample in data_batch['data_samples'] for file in files_of(sample)]
        self._batches.append((runner.iter + 1, files))
        if self.every_n_train_iters(runner, self.interval):
            self._check()

    def after_train_epoch(self, runner: Runner) -> None:
        self._check()

    def _check(self) -> None:
        number = int(self._in_a_row)
        if number >= self.patience:
            iteration, files = self._batches[-number]
            raise FloatingPointError(
                f'Training stops because the loss was NaN or infinite in {number} iterations in a row; earlier '
                f'checkpoints are intact. Check the files of the first, iteration {iteration} ({", ".join(files)}), '
                'resume with optim_wrapper.clip_grad, or start a new run with a lower learning rate.'
            )
