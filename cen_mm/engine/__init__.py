"""Training loop, hooks, optimizers and schedules. Importing this package registers them in the scope `cen_mm`."""

from .checkpoint_hook import CheckpointHook
from .console import CommandRunner, ConsoleHook, ConsoleRunner, format_scores, score_rows
from .exchange_hook import ExchangeHook
from .finite_loss_hook import FiniteLossHook
from .interrupt_hook import InterruptHook
from .optim import BFloat16OptimWrapper, GroupingOptimWrapperConstructor, fused_adam
from .preflight import PreflightHook, check_config, explain, is_check
from .process import set_up_process
from .stage_lr import StageLR
from .train_loop import ResumableTrainLoop

__all__ = [
    'BFloat16OptimWrapper',
    'CheckpointHook',
    'CommandRunner',
    'ConsoleHook',
    'ConsoleRunner',
    'ExchangeHook',
    'FiniteLossHook',
    'GroupingOptimWrapperConstructor',
    'InterruptHook',
    'PreflightHook',
    'ResumableTrainLoop',
    'StageLR',
    'check_config',
    'explain',
    'format_scores',
    'fused_adam',
    'is_check',
    'score_rows',
    'set_up_process',
]
