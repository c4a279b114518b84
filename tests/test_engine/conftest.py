"""A training run that takes milliseconds, for the tests of hooks and loop."""

import os
import random
import signal
from typing import Callable, Optional

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch.utils.data import get_worker_info


@DATASETS.register_module(force=True)
class ToyDataset(BaseDataset):
    """Ten samples; each is a number from every generator."""

    METAINFO = dict(name='toy')

    def __init__(self, deadly: Optional[int] = None):
        self.deadly = deadly  # index of a sample that kills the worker
        super().__init__()

    def load_data_list(self) -> list[dict]:
        return [dict(modality_paths=dict(rgb=f'rgb/{i}.png'), seg_map_path=f'label/{i}.png') for i in range(10)]

    def prepare_data(self, index: int) -> dict:
        numbers = [index, random.random(), np.random.rand(), torch.rand(())]
        sample = BaseDataElement(metainfo=self.get_data_info(index))
        if index == self.deadly and get_worker_info():
            os.kill(os.getpid(), signal.SIGKILL)
        return dict(inputs=torch.tensor(numbers), data_samples=sample)


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    """A linear layer with dropout."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, inputs: list, data_samples: list, mode: str) -> dict:
        x = torch.nn.functional.dropout(torch.stack(inputs), 0.5, self.training)
        return dict(loss=self.layer(x).pow(2).mean()) if mode == 'loss' else data_samples


class Act(Hook):
    """Calls a function after an iteration."""

    def __init__(self, iteration: int, action: Callable):
        self.iteration, self.action = iteration, action

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.iteration:
            self.action(runner)


@pytest.fixture
def toy_run(tmp_path):
    """Returns a function that builds the runner of a training run: three epochs of five iterations.

    ``checkpoint`` has arguments of the checkpoint hook, and ``act`` functions to be called after iterations.
    """

    def build(
        work_dir: str = 'work',
        checkpoint: Optional[dict] = None,
        act: Optional[dict] = None,
        workers: int = 0,
        **options,
    ) -> Runner:
        loader = dict(dataset=dict(type='ToyDataset'), sampler=dict(type='DefaultSampler', shuffle=True), batch_size=2)
        arguments = dict(
            model=dict(type='ToyModel'),
            work_dir=str(tmp_path / work_dir),
            train_dataloader=dict(loader, num_workers=workers),
            train_cfg=dict(type='cen_mm.ResumableTrainLoop', max_epochs=3),
            optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.1)),
            default_hooks=dict(
                checkpoint=dict(type='cen_mm.CheckpointHook', interval=1, **(checkpoint or {})),
                finite_loss=dict(type='cen_mm.FiniteLossHook'),
                interrupt=dict(type='cen_mm.InterruptHook'),
            ),
            custom_hooks=[Act(*each) for each in (act or {}).items()],
            randomness=dict(seed=1),
            experiment_name=f'{tmp_path}/{work_dir}/{len(runs)}',
            log_level='WARNING',
        )
        runs.append(Runner(**{**arguments, **options}))
        return runs[-1]

    runs = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(number) for number in numbers]
    yield build
    for number, handler in zip(numbers, handlers):  # a run that stops does not restore them
        signal.signal(number, handler)
