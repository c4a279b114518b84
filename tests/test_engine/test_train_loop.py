"""A resumed run ends as an uninterrupted one, whatever the workers, and a dead worker is reported with its files."""

import gc
import multiprocessing
import os
import signal
import subprocess
import time
from contextlib import suppress

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import DATA_SAMPLERS, METRICS
from torch.utils.data import Sampler

from cen_mm.engine import InterruptHook
from cen_mm.engine.sample_seeds import SeededDataset, SeededSampler


def weights(runner) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in runner.model.parameters()])


def test_signal_saves_and_the_resumed_run_ends_as_an_uninterrupted_one(toy_run, tmp_path, capfd):
    """SIGTERM and Ctrl-C in the first, the last and a middle iteration of an epoch, with other numbers of workers."""
    whole = toy_run('whole')
    whole.train()
    for iteration, number, workers in ((1, signal.SIGINT, 2), (5, signal.SIGTERM, 0), (13, signal.SIGTERM, 1)):
        work_dir = f'stopped_{iteration}'
        runner = toy_run(work_dir, act={iteration: lambda _, number=number: os.kill(os.getpid(), number)})
        with pytest.raises(SystemExit) as end:
            runner.train()
        assert end.value.code == 128 + number
        assert f'{number.name}: saving a checkpoint after this step.' in capfd.readouterr().err
        saved = torch.load(tmp_path / work_dir / 'interrupted.pth', weights_only=True)
        assert saved['meta']['iter'] == iteration
        resumed = toy_run(work_dir, workers=workers, resume=True)
        resumed.train()
        assert resumed.iter == whole.iter == 15
        assert torch.equal(weights(resumed), weights(whole))
    assert not torch.equal(weights(toy_run('untrained')), weights(whole))


def test_workers_ignore_signals_to_the_whole_job(toy_run, tmp_path):
    before = set(multiprocessing.active_children())

    def signal_all(_) -> None:
        workers = set(multiprocessing.active_children()) - before
        assert len(workers) == 2
        pids = [str(pid) for pid in (*(worker.pid for worker in workers), os.getpid())]
        subprocess.run(['kill', '-TERM', *pids], check=True)  # another process, as the scheduler is
        time.sleep(0.2)  # a worker would end

    with pytest.raises(SystemExit):
        toy_run(act={7: signal_all}, workers=2).train()
    assert torch.load(tmp_path / 'work/interrupted.pth', weights_only=True)['meta']['iter'] == 7


def test_second_signal_ends_at_once(toy_run, tmp_path):
    def signal_twice(_) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit) as end:
        toy_run(act={3: signal_twice}).train()
    assert end.value.code == 130
    assert not list((tmp_path / 'work').glob('*.pth'))


@pytest.mark.parametrize('batch_size', [1, 4])
def test_an_epoch_is_resumed_with_another_batch_size(toy_run, batch_size):
    """Every sample of the epoch is read once. The first number of a sample is its index."""

    def train(**options) -> list[int]:
        read: list[int] = []
        runner = toy_run(train_cfg=dict(type='cen_mm.ResumableTrainLoop', max_epochs=1), **options)
        step = runner.model.train_step

        def train_step(data: dict, optim_wrapper: OptimWrapper) -> dict:
            read.extend(int(inputs[0]) for inputs in data['inputs'])
            return step(data, optim_wrapper)

        runner.model.train_step = train_step
        with suppress(SystemExit):
            runner.train()
        return read

    loader = dict(dataset=dict(type='ToyDataset'), sampler=dict(type='DefaultSampler', shuffle=True))
    first = train(act={2: lambda _: os.kill(os.getpid(), signal.SIGTERM)})
    second = train(train_dataloader=dict(loader, batch_size=batch_size), resume=True)
    assert len(first) == 4
    assert sorted(first + second) == list(range(10))


class ToyMetric(BaseMetric):
    """The same score for every validation but the first."""

    def process(self, data_batch, data_samples) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict:
        return dict(score=float(MessageHub.get_current_instance().get_info('epoch') > 0))


class Kill(Hook):
    """Raises an error at the end of a validation, after the last checkpoint was saved, or in its middle."""

    priority = 'LOWEST'

    def __init__(self, epoch: int, method: str):
        self.epoch = epoch
        setattr(self, method, self.kill)

    def kill(self, runner, *args, **kwargs) -> None:
        if runner.epoch == self.epoch:
            raise ZeroDivisionError


@pytest.mark.parametrize(('epoch', 'method'), [(0, None), (2, 'after_val_iter'), (2, 'after_val_epoch')])
def test_a_validation_counts_once(toy_run, tmp_path, epoch, method):
    """The schedule follows the scores, and the best checkpoint is kept, as if the run had not been killed."""
    METRICS.register_module(module=ToyMetric, force=True)
    validation = dict(dataset=dict(type='ToyDataset'), sampler=dict(type='DefaultSampler', shuffle=False))
    options = dict(
        val_dataloader=dict(validation, batch_size=5), val_cfg={}, val_evaluator=dict(type='ToyMetric'),
        param_scheduler=dict(type='ReduceOnPlateauLR', monitor='score', rule='greater', patience=1, factor=0.5),
        checkpoint=dict(save_best='score', rule='greater'),
        train_cfg=dict(type='cen_mm.ResumableTrainLoop', max_epochs=5),
    )  # fmt: skip
    if method:
        with pytest.raises(ZeroDivisionError):
            toy_run(custom_hooks=[Kill(epoch, method)], **options).train()
    runner = toy_run(resume=bool(method), **options)
    runner.train()
    assert runner.optim_wrapper.get_lr()['lr'] == [0.05]  # after two validations without a better score
    assert {path.name for path in tmp_path.glob('work/*.pth*')} == {
        *(f'epoch_{i}.pth' for i in range(1, 6)), 'best_score_epoch_2.pth'
    }  # fmt: skip


def test_signal_waits_for_the_step_of_the_optimizer(toy_run, tmp_path):
    optimizer = dict(optimizer=dict(type='Adam', lr=0.1), accumulative_counts=4)
    runner = toy_run(act={6: lambda _: os.kill(os.getpid(), signal.SIGTERM)}, optim_wrapper=optimizer)
    with pytest.raises(SystemExit):
        runner.train()
    assert torch.load(tmp_path / 'work/interrupted.pth', weights_only=True)['meta']['iter'] == 8


def test_processes_agree_on_a_signal_and_then_wait_for_the_step(toy_run, tmp_path, monkeypatch):
    """Only the agreement waits for the interval, not the step of the optimizer after it."""
    monkeypatch.setattr('cen_mm.engine.interrupt_hook.is_distributed', lambda: True)
    optimizer = dict(optimizer=dict(type='Adam', lr=0.1), accumulative_counts=4)
    runner = toy_run(act={1: lambda _: os.kill(os.getpid(), signal.SIGTERM)}, optim_wrapper=optimizer)
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, InterruptHook))
    hook.interval = 3
    with pytest.raises(SystemExit):
        runner.train()
    assert torch.load(tmp_path / 'work/interrupted.pth', weights_only=True)['meta']['iter'] == 4


def test_sample_seeds_depend_on_run_epoch_and_position_only(toy_run):
    """Two processes read the samples that one process reads, with the same random numbers."""
    dataset = SeededDataset(dict(type='ToyDataset'))

    def read(seed: int, epoch: int, rank: int = 0, processes: int = 1, start: int = 0) -> torch.Tensor:
        sampler = SeededSampler(dataset, 0, dict(type='DefaultSampler', shuffle=True))
        sampler.sampler.rank, sampler.sampler.world_size = rank, processes
        sampler.use_seed(seed)
        sampler.set_epoch(epoch)
        sampler.start = start
        return torch.stack([dataset[each]['inputs'] for each in sampler])

    whole = read(1, 0)
    assert torch.equal(whole[4:], read(1, 0, start=4))
    halves = read(1, 0, 0, 2), read(1, 0, 1, 2)
    assert torch.equal(whole, torch.stack(halves, 1).flatten(0, 1))
    assert len(np.unique(torch.cat([whole, read(1, 1), read(2, 0)])[:, 1:])) == 3 * 10 * 3


class OneByOne(Sampler):
    """A sampler of a user, without what mmengine's samplers have besides."""

    def __init__(self, dataset, seed):
        self.dataset = dataset

    def __iter__(self):
        return iter(range(len(self)))

    def __len__(self):
        return len(self.dataset)


def test_samplers_of_users():
    DATA_SAMPLERS.register_module(module=OneByOne, force=True)
    sampler = SeededSampler(list('ab'), 0, dict(type='OneByOne'))
    sampler.set_epoch(1)
    assert [index for index, _ in sampler] == [0, 1]


def test_dead_worker_is_reported_with_the_files_that_it_read(toy_run):
    loader = dict(dataset=dict(type='ToyDataset', deadly=3), sampler=dict(type='DefaultSampler'), batch_size=2)
    runner = toy_run(train_dataloader=dict(loader, num_workers=1))
    with pytest.raises(RuntimeError, match='died while it read rgb/3.png, label/3.png: check these files'):
        runner.train()
    gc.collect()  # torch reports the death again as long as the iterator exists
