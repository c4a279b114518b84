"""Hook that checks a run before its first iteration."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..registry import HOOKS


@HOOKS.register_module()
class PreflightHook(Hook):
    """Refuses a run that could not train.

    Raises:
        ValueError: if an epoch has no iteration, because the data set is smaller than a batch.
    """

    def before_train(self, runner: Runner) -> None:
        loader = runner.train_loop.dataloader
        if len(loader) == 0:
            raise ValueError(
                f'The training data set has {len(loader.dataset)} samples, fewer than train_dataloader.batch_size='
                f'{loader.batch_size} on each process, and drop_last=True drops the incomplete batch: reduce '
                'batch_size.'
            )
