"""A training step without update and an evaluation of a few samples, which change nothing."""

import copy
import logging
import random
from contextlib import contextmanager
from typing import Any, Iterator

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from mmengine.structures import PixelData
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...exchange import ExchangeNorm
from .config import check_names, plateau_schedulers
from .explain import describe

CPU_SIZE = 256  # largest height and width of images on the CPU, where a forward pass may take many seconds


@contextmanager
def unchanged_state(model: nn.Module) -> Iterator[None]:
    """Restores the states of all random generators, the modes of all modules and the log level at the end."""
    states = random.getstate(), np.random.get_state()
    modes = {module: module.training for module in model.modules()}
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        logger.setLevel(level)
        for module, mode in modes.items():
            module.training = mode
        random.setstate(states[0])
        np.random.set_state(states[1])


class NoUpdate(OptimWrapper):
    """An optimizer wrapper that computes no gradients and updates nothing."""

    def __init__(self) -> None:
        super().__init__(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0))

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Computes no gradients."""

    def should_update(self) -> bool:
        """Returns that no update is due."""
        return False


@torch.no_grad()
def try_training(runner: Runner, model: BaseModel, samples: list[dict]) -> None:
    """Computes the training losses of samples.

    The model is in eval mode, so that no statistics of a norm change.

    Raises:
        ValueError: if a loss cannot be computed, or is not finite, or a batch norm after global pooling would get a
            batch of one sample.
    """
    if type(model).train_step.__module__.split('.')[0] not in ('mmengine', 'cen_mm'):
        return  # it may update parameters by other ways than the wrapper
    wrapper: Any = NoUpdate()
    if isinstance(runner.optim_wrapper, OptimWrapperDict):
        wrapper = OptimWrapperDict(**{name: NoUpdate() for name in runner.optim_wrapper.keys()})  # noqa: SIM118
    try:
        with _single_pixel_norms(model) as norms:
            losses = model.train_step(_batch(samples, runner.train_dataloader, model, with_labels=True), wrapper)
    except Exception as error:
        raise ValueError(f'The model cannot be trained on samples of train_dataloader: {describe(error)}') from error
    if norms and (problem := _single_sample(runner.train_dataloader)):
        raise ValueError(
            f'model.{norms[0]} normalizes maps of one pixel, which needs at least two samples in training, but '
            f'{problem}.'
        )
    for name, value in losses.items():
        if not torch.as_tensor(value).isfinite().all():
            raise ValueError(
                f'{name} is {value} before the first step: check the images in the table, and the losses.'
            )


@contextmanager
def _single_pixel_norms(model: nn.Module) -> Iterator[list[str]]:
    """Sets eval mode, and yields the names of batch norms that learn statistics and get maps of one pixel."""
    names: list[str] = []
    handles = []
    for name, module in model.train().named_modules():  # norms that are frozen stay in eval mode
        norm: Any = module.norms[0] if isinstance(module, ExchangeNorm) else module
        if isinstance(norm, _BatchNorm) and norm.training and not isinstance(norm, nn.SyncBatchNorm):

            def note(_: nn.Module, inputs: tuple[Tensor], name: str = name) -> None:
                if inputs[0][0, 0].numel() == 1:
                    names.append(name)

            handles.append(module.register_forward_pre_hook(note))
    model.eval()
    try:
        yield names
    finally:
        for handle in handles:
            handle.remove()


def _single_sample(loader: Any) -> str:
    """Says which batch of a loader has one sample, and how to change it; empty if none has."""
    if loader.batch_size == 1:
        return 'train_dataloader.batch_size is 1: increase it'
    count = len(loader.sampler)
    endless = isinstance(loader.sampler, InfiniteSampler)
    if not endless and not loader.drop_last and count % loader.batch_size == 1:
        return f'the last batch of an epoch has one ({count} samples): set train_dataloader.drop_last=True'
    return ''


@torch.no_grad()
def try_validation(runner: Runner, model: BaseModel, samples: list[dict]) -> None:
    """Evaluates the predictions of samples, and checks that the hooks find the scores that they compare.

    Raises:
        ValueError: if the samples cannot be predicted or evaluated, or there is no such score.
    """
    model.eval()
    evaluator = runner.val_evaluator
    scores: list[str] = []
    try:
        size = runner.val_dataloader.batch_size or 1  # None with a batch sampler
        for start in range(0, len(samples), size):
            data = _batch(samples[start : start + size], runner.val_dataloader, model)
            evaluator.process(model.val_step(data), data)
        for metric in evaluator.metrics:
            prefix = f'{metric.prefix}/' if metric.prefix else ''
            scores += [f'{prefix}{name}' for name in metric.compute_metrics(metric.results)]
    except Exception as error:
        raise ValueError(f'Samples of val_dataloader cannot be evaluated: {describe(error)}') from error
    finally:
        for metric in evaluator.metrics:
            metric.results.clear()
    if twice := [name for name in scores if scores.count(name) > 1]:
        raise ValueError(
            f'Two metrics of val_evaluator have the score {twice[0]}: set another prefix for one of them.'
        )
    for key, scheduler in plateau_schedulers(runner.cfg):
        check_names(f'{key}.monitor', dict.fromkeys([scheduler['monitor']]), set(scores))
    for hook in runner.hooks:
        for key in ('save_best', 'monitor'):
            names = getattr(hook, key, None) or ()
            wanted = dict.fromkeys([names] if isinstance(names, str) else names)
            check_names(f'{type(hook).__name__}.{key}', wanted, {'auto', *scores})


def _batch(samples: list[dict], loader: Any, model: nn.Module, with_labels: bool = False) -> dict:
    """Collates copies of samples; on the CPU, large images of segmentation are cropped to save time.

    The labels are cropped for training only: predictions are resized to the original size before they are evaluated.
    """
    samples = copy.deepcopy(samples)
    part = slice(CPU_SIZE)
    for sample in samples:
        if isinstance(sample['inputs'], dict) and not next(model.parameters()).is_cuda:
            sample['inputs'] = {name: x[:, part, part] for name, x in sample['inputs'].items()}
            for name, value in sample['data_samples'].items() if with_labels else ():
                if isinstance(value, PixelData):
                    setattr(sample['data_samples'], name, value[part, part])
    return loader.collate_fn(samples)
