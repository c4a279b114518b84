"""Optimisers that update many tensors at once."""

import logging

import torch
from mmengine.logging import MMLogger, print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.utils import digit_version
from torch import nn

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS


@OPTIMIZERS.register_module()
class FusedAdam(torch.optim.Adam):
    """torch's Adam in one pass over the memory instead of seven. On the CPU torch can do it from 2.4 on."""

    def __init__(self, params, **kwargs):
        can = digit_version(torch.__version__) >= digit_version('2.4') or torch.cuda.is_available()
        super().__init__(params, fused=can, **kwargs)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupingOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Joins the parameters of equal options in one group, where mmengine makes a group and log lines for each."""

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs) -> None:
        """Adds the groups of a module to ``params``."""
        if prefix:  # mmengine calls it for every child
            return super().add_params(params, module, prefix, **kwargs)
        logger = MMLogger.get_current_instance()
        logger.addFilter(_is_no_option)
        try:
            super().add_params(params, module, **kwargs)
        finally:
            logger.removeFilter(_is_no_option)
        groups = {}
        for group in params:
            options = {key: value for key, value in group.items() if key != 'params'}
            groups.setdefault(repr(options), {**options, 'params': []})['params'] += group['params']
        params[:] = groups.values()
        for options, group in groups.items():
            print_log(f'{len(group["params"])} tensors with the options {options} beside the optimiser', 'current')


def _is_no_option(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith('paramwise_options')
