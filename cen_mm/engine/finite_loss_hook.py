"""Stops training when the loss is not finite."""

import math
from typing import Any, Optional

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..registry import HOOKS
from .optim import all_wrappers
from .samples import files_of


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops training if losses are NaN or infinite in several iterations in a row, and names the first files.

    The losses are those in mmengine's log, which reads all of them from the device in every iteration.

    Args:
        patience: number of iterations in a row.

    Raises:
        FloatingPointError: if the losses were not finite.
    """

    priority = 'BELOW_NORMAL'  # before the checkpoint is saved

    def __init__(self, patience: int = 3):
        self.patience = patience
        self._in_a_row = 0
        self._first = ''

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Optional[dict] = None
    ) -> None:
        log = runner.message_hub
        if all(math.isfinite(log.get_scalar(f'train/{key}').current()) for key in outputs or {} if 'loss' in key):
            self._in_a_row = 0
            return
        self._in_a_row += 1
        if self._in_a_row == 1:
            files = [file for sample in data_batch['data_samples'] for file in files_of(sample)]
            self._first = f'iteration {runner.iter + 1} ({", ".join(files)})'
        if self._in_a_row >= self.patience:
            wrappers = all_wrappers(runner.optim_wrapper).values()
            in_float16 = any(getattr(each, 'cast_dtype', torch.bfloat16) in (None, torch.float16) for each in wrappers)
            raise FloatingPointError(
                f'Training stops because the loss was NaN or infinite in {self.patience} iterations in a row; '
                f'earlier checkpoints are intact. Check the files of the first, {self._first}, resume with '
                + (
                    '--amp-dtype bfloat16 or without --amp, because float16 overflows above 65504, or with '
                    * in_float16
                )
                + 'optim_wrapper.clip_grad, or start a new run with a lower learning rate.'
            )
