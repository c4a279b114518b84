"""Hooks, optimizers and schedules. Importing this package registers them in the scope `cen_mm`."""

from .console import ConsoleHook, ConsoleRunner, format_scores
from .exchange_hook import ExchangeHook
from .optim import BFloat16OptimWrapper, GroupingOptimWrapperConstructor, fused_adam
from .process import set_up_process
from .stage_lr import StageLR

__all__ = [
    'BFloat16OptimWrapper',
    'ConsoleHook',
    'ConsoleRunner',
    'ExchangeHook',
    'GroupingOptimWrapperConstructor',
    'StageLR',
    'format_scores',
    'fused_adam',
    'set_up_process',
]
