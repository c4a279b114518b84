"""The training loop, which resumes in the middle of an epoch as if it had not been interrupted."""

from typing import Any, Sequence

from mmengine.dist import broadcast_object_list, get_rank, get_world_size
from mmengine.runner import EpochBasedTrainLoop, Runner, set_random_seed
from torch import nn

from ..registry import LOOPS
from .sample_seeds import SeededDataset, SeededSampler, derive_seed
from .workers import watched_workers

POSITION, VALIDATED = 'position_in_epoch', 'validated_epoch'  # in mmengine's message hub, which checkpoints contain


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's loop over epochs, with random numbers that are the same in a resumed and an uninterrupted run.

    Each sample is loaded with a seed that depends on the seed of the run, the epoch and its position in the epoch, and
    each training step starts with a seed that depends on the seed of the run and the iteration. A resumed run starts
    with the next batch of its epoch, and repeats a validation that was not finished.

    Args:
        runner: the runner.
        dataloader: config of the data loader.
        **kwargs: arguments of mmengine's EpochBasedTrainLoop.
    """

    def __init__(self, runner: Runner, dataloader: dict, **kwargs: Any):
        parts = dict(dataset=SeededDataset, sampler=SeededSampler)
        seeded = {name: {'type': kind, name: dataloader[name]} for name, kind in parts.items()}
        super().__init__(runner, {**dataloader, **seeded}, **kwargs)

    def run(self) -> nn.Module:
        """Trains and validates."""
        try:
            return self._run()
        finally:
            self.runner.call_hook('restore_signals')

    def _run(self) -> nn.Module:
        seed = [self.runner.seed]
        broadcast_object_list(seed)  # with diff_rank_seed, every process has another one
        self.dataloader.sampler.use_seed(seed[0])
        self.runner.call_hook('before_train')
        validation = [self.runner.val_loop.dataloader] if self.runner.val_loop else []
        with watched_workers(self.dataloader, *validation):
            self._validate()
            while self._epoch < self._max_epochs and not self.stop_training:
                self.run_epoch()
                self._validate()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Trains on the batches of the epoch that are left."""
        hub, batch_sampler = self.runner.message_hub, self.dataloader.batch_sampler
        batch_size = batch_sampler.batch_size
        first = hub.get_info(POSITION, 0) // (batch_size * get_world_size())
        self.dataloader.sampler.start = first * batch_size
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for i, batch in enumerate(self.dataloader, first):
            # The number of samples, because a run can be resumed with another batch size or number of processes.
            hub.update_info(POSITION, (i + 1) * batch_size * get_world_size())
            self.run_iter(i, batch)
        hub.update_info(POSITION, 0)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Trains on a batch. Each process has its own random numbers, so that their dropout differs."""
        set_random_seed(derive_seed(self.runner.seed + get_rank(), self._iter))
        super().run_iter(idx, data_batch)

    def _validate(self) -> None:
        """Validates if it is due after this epoch and has not been done."""
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        done = self.runner.message_hub.get_info(VALIDATED, 0)
        if self.runner.val_loop is not None and due and done < self._epoch >= self.val_begin:
            self.runner.val_loop.run()
            self.runner.message_hub.update_info(VALIDATED, self._epoch)
