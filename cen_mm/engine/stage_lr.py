"""The authors' schedule: constant rates in stages, the momentum afresh at each."""

from typing import Sequence

from mmengine.optim import BaseOptimWrapper
from mmengine.optim.scheduler import _ParamScheduler
from torch.optim import Optimizer

from ..registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class StageLR(_ParamScheduler):
    """Gives every parameter group its own constant learning rate in each stage, and restarts the momentum.

    A group follows the row whose first rate is the group's own at the start, so groups may change by different
    factors, as the authors' do.

    Args:
        optimizer: whose rates are set.
        milestones: epochs at which a new stage starts, one less than the stages.
        rates: rows of learning rates, one rate a stage.
        **kwargs: of mmengine's schedulers.

    Raises:
        ValueError: if a row has not one rate a stage, or a group starts with a rate that no row starts with.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], rates: Sequence[Sequence[float]], *args, **kwargs
    ):
        if any(len(row) != len(milestones) + 1 for row in rates):
            raise ValueError(
                f'StageLR: milestones={milestones} make {len(milestones) + 1} stages, give each row as many.'
            )
        self.milestones = list(milestones)
        self.rates = [list(row) for row in rates]
        super().__init__(optimizer, 'lr', *args, **kwargs)

    def _get_value(self) -> list[float]:
        stage = sum(self.last_step >= milestone for milestone in self.milestones)
        if self.last_step in self.milestones:
            optimizer = self.optimizer
            optimizer = optimizer.optimizer if isinstance(optimizer, BaseOptimWrapper) else optimizer
            optimizer.state.clear()
        return [self._row(base)[stage] for base in self.base_values]

    def _row(self, base: float) -> list[float]:
        for row in self.rates:
            if abs(row[0] - base) <= 1e-6 * base:
                return row
        raise ValueError(
            f'StageLR: a parameter group starts with lr={base:g}, but the rows of rates start with '
            f'{[row[0] for row in self.rates]}: make optimizer.lr and lr_mult give these.'
        )
