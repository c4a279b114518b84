"""Hooks, optimiser wrappers and schedules. Importing it registers everything under the scope `cen_mm`."""

from .amp import BFloat16OptimWrapper
from .exchange_hook import ExchangeHook
from .optimisers import FusedAdam, GroupingOptimWrapperConstructor
from .stage_lr import StageLR

__all__ = ['BFloat16OptimWrapper', 'ExchangeHook', 'FusedAdam', 'GroupingOptimWrapperConstructor', 'StageLR']
