"""Random numbers that depend on the seed of the run and the place in it, not on what was drawn before.

A resumed run then draws the same numbers as an uninterrupted one, with any number of workers or processes, and a
checkpoint needs no states of generators: the seed, the epoch and the iteration in it are the state.
"""

import random
from itertools import islice
from typing import Any, Iterator, Union

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset, Sampler


def derive_seed(*key: int) -> int:
    """Computes a seed from non-negative integers; keys that differ in one of them give unrelated seeds."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])


class SeededDataset:
    """A data set whose random transforms depend on a seed that comes with the index.

    Args:
        dataset: data set of mmengine or its config.

    Raises:
        ValueError: for a ``MultiImageMixDataset``.
    """

    def __init__(self, dataset: Union[dict, Dataset]):
        self.dataset: Any = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        if type(self.dataset).__name__ == 'MultiImageMixDataset':
            raise ValueError(
                'MultiImageMixDataset moves RGB and label, but no other modality: use its data set alone.'
            )

    def __getitem__(self, index: Union[int, tuple[int, int]]) -> Any:
        """Loads a sample. ``index`` is a plain index, or the pair of index and seed from :class:`SeededSampler`."""
        if isinstance(index, tuple):
            index, seed = index
            random.seed(seed)
            np.random.seed(seed)
            torch.default_generator.manual_seed(seed)  # torch.manual_seed takes 0.3 ms to look for GPUs
        return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # while a worker unpickles it, there is no data set
            raise AttributeError(name)
        return getattr(self.dataset, name)


class SeededSampler(Sampler):
    """A sampler that adds a seed to each index of another one, and can start in the middle of an epoch.

    The seed depends on the seed of the run, the epoch, and the position in the order of all processes together.

    Args:
        dataset: data set.
        seed: mmengine's seed for the sampler.
        sampler: config of the other sampler.
    """

    def __init__(self, dataset: Dataset, seed: int, sampler: dict):
        self.sampler = DATA_SAMPLERS.build(sampler, default_args=dict(dataset=dataset, seed=seed))
        self.seed = self.epoch = 0
        self.start = 0  # number of samples of this process to skip

    def use_seed(self, seed: int) -> None:
        """Sets the seed of the run, which is the same in all processes."""
        self.seed = self.sampler.seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Selects the order of the epoch. mmengine's DistSamplerSeedHook calls it."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):  # not in every sampler of users
            self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        processes = getattr(self.sampler, 'world_size', get_world_size())
        rank = getattr(self.sampler, 'rank', get_rank())
        for i, index in islice(enumerate(self.sampler), self.start, None):
            yield index, derive_seed(self.seed, self.epoch, i * processes + rank)

    def __len__(self) -> int:
        return len(self.sampler)
