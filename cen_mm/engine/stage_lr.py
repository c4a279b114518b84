"""The authors' schedule: constant learning rates in stages, with a reset of the momentum between stages."""

from typing import Any, Sequence

from mmengine.optim import BaseOptimWrapper
from mmengine.optim.scheduler import _ParamScheduler
from torch.optim import Optimizer

from ..registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class StageLR(_ParamScheduler):
    """Sets a constant learning rate per stage and parameter group, and resets the optimizer's state between stages.

    A parameter group follows the row of ``stage_lrs`` whose first value is the group's initial learning rate. Groups
    may therefore change by different factors, as in the authors' code. If all groups start with learning rates that
    are k times those of their rows, all learning rates are multiplied by k, so ``auto_scale_lr`` and another
    ``optimizer.lr`` work.

    Args:
        optimizer: optimizer or optimizer wrapper.
        milestones: epochs at which a new stage starts.
        stage_lrs: rows of learning rates, one per stage: ``len(milestones) + 1`` values in each row.
        **kwargs: arguments of mmengine's schedulers.

    Raises:
        ValueError: if a row has the wrong number of values, or the learning rates of the groups do not have the same
            ratios as the first values of the rows.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        stage_lrs: Sequence[Sequence[float]],
        *args: Any,
        **kwargs: Any,
    ):
        if any(len(row) != len(milestones) + 1 for row in stage_lrs):
            raise ValueError(
                f'StageLR: milestones={milestones} define {len(milestones) + 1} stages, but stage_lrs={stage_lrs} '
                'has rows with a different number of values: give one learning rate per stage.'
            )
        self.milestones = list(milestones)
        self.stage_lrs = [list(row) for row in stage_lrs]
        super().__init__(optimizer, 'lr', *args, **kwargs)

    def _get_value(self) -> list[float]:
        stage = sum(self.last_step >= milestone for milestone in self.milestones)
        if self.last_step in self.milestones:
            optimizer = self.optimizer
            optimizer = optimizer.optimizer if isinstance(optimizer, BaseOptimWrapper) else optimizer
            optimizer.state.clear()
        scale = max(self.base_values) / max(row[0] for row in self.stage_lrs)
        return [scale * self._find_row(base / scale)[stage] for base in self.base_values]

    def _find_row(self, base: float) -> list[float]:
        for row in self.stage_lrs:
            if abs(row[0] - base) <= 1e-6 * base:
                return row
        raise ValueError(
            f'StageLR: a parameter group starts with lr={base:g}, but the rows of stage_lrs start with '
            f'{[row[0] for row in self.stage_lrs]}: change optimizer.lr, lr_mult or stage_lrs so that they match.'
        )
