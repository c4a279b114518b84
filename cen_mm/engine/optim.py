"""Optimizers and optimizer wrappers: fused Adam, mixed precision in bfloat16, joined parameter groups."""

import logging
from contextlib import contextmanager
from typing import Any, Iterator

import torch
from mmengine.logging import MMLogger, print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper, OptimWrapperDict
from mmengine.runner import autocast
from mmengine.utils import digit_version
from torch import nn

from ..exchange import exchanging_norms
from ..registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS

# What switches the config of an optimizer wrapper to mixed precision. Only float16 needs a loss scale.
MIXED_PRECISION = dict(
    bfloat16=dict(type='cen_mm.BFloat16OptimWrapper'),
    float16=dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic'),
)


@OPTIMIZERS.register_module()
def fused_adam(params: Any, **kwargs: Any) -> torch.optim.Adam:
    """torch's Adam, with ``fused=True`` where torch supports it: on CUDA, and on the CPU since torch 2.4."""
    supported = torch.cuda.is_available() or digit_version(torch.__version__) >= digit_version('2.4')
    return torch.optim.Adam(params, fused=supported, **kwargs)


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Runs the forward pass in bfloat16. It also works on the CPU, which mmengine's AmpOptimWrapper refuses."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupingOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Joins all parameters with equal options into one group; mmengine makes one group per parameter and logs each.

    ``paramwise_cfg`` has one more key, ``exchanging_norms``: options such as ``dict(lr_mult=10, decay_mult=0)`` for
    the norms that exchange channels, whatever their names.
    """

    optimizer_cfg: dict[str, Any]
    paramwise_cfg: dict[str, Any]

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Builds the optimizer wrapper."""
        # A ConfigDict would convert the parameter groups to ConfigDicts, which torch.compile cannot trace.
        self.optimizer_cfg = dict(self.optimizer_cfg)
        return super().__call__(model)

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs: Any) -> None:
        """Adds the parameter groups of a module to ``params``."""
        if prefix:  # mmengine calls this method again for every child module
            return super().add_params(params, module, prefix, **kwargs)
        paramwise_cfg = dict(self.paramwise_cfg)  # a copy, because the config must not change
        options = paramwise_cfg.pop('exchanging_norms', None)
        if options is not None:
            keys = {f'{name}.norms.': options for name, _ in exchanging_norms(module)}
            paramwise_cfg['custom_keys'] = {**paramwise_cfg.get('custom_keys', {}), **keys}
        self.paramwise_cfg = paramwise_cfg
        logger = MMLogger.get_current_instance()
        logger.addFilter(_is_not_paramwise_option)
        try:
            super().add_params(params, module, **kwargs)
        finally:
            logger.removeFilter(_is_not_paramwise_option)
        groups: dict[str, dict] = {}
        for group in params:
            group_options = {key: value for key, value in group.items() if key != 'params'}
            groups.setdefault(repr(group_options), {**group_options, 'params': []})['params'] += group['params']
        params[:] = groups.values()
        for options_text, group in groups.items():
            print_log(f'Parameter group of {len(group["params"])} tensors with options {options_text}', 'current')


def _is_not_paramwise_option(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith('paramwise_options')


def all_wrappers(optim_wrapper: Any) -> dict[str, Any]:
    """Returns the optimizer wrappers by network; a single one is named ``optimizer``."""
    is_dict = isinstance(optim_wrapper, OptimWrapperDict)
    return dict(optim_wrapper.items()) if is_dict else {'optimizer': optim_wrapper}


def all_param_groups(optim_wrapper: Any) -> list[dict]:
    """Lists the parameter groups of an optimizer wrapper, or of one per network."""
    return [group for wrapper in all_wrappers(optim_wrapper).values() for group in wrapper.param_groups]


def unwrapped(model: Any) -> Any:
    """Returns a model without its wrappers for several processes and test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
