"""Checks that need the config only. They run before anything is built."""

import inspect
import math
import re
from difflib import get_close_matches
from typing import Any, Iterable, Iterator, Optional, Union

from mmengine.config import Config
from mmengine.registry import HOOKS, METRICS, Registry

from .explain import dicts

# Keys that training reads, and the type of their values. Other keys are variables of the config file.
REQUIRED = dict.fromkeys(('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'), dict)
OPTIONAL: dict[str, Any] = {
    **dict.fromkeys(('val_dataloader', 'val_cfg', 'default_hooks', 'env_cfg', 'randomness', 'log_processor'), dict),
    **dict.fromkeys(('visualizer', 'model_wrapper_cfg', 'auto_scale_lr', 'data_preprocessor'), dict),
    **dict.fromkeys(('val_evaluator', 'param_scheduler'), (dict, list, tuple)),
    **dict.fromkeys(('load_from', 'experiment_name', 'default_scope', 'launcher', 'work_dir', 'sync_bn'), str),
    **dict(custom_hooks=(list, tuple), resume=bool, custom_imports=dict, log_level=(str, int)),
}
# Keys that are read in dicts that may contain any key, by the end of the path of the dict.
KEYS = {
    'default_hooks': (
        'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint', 'visualization',
        'preflight', 'finite_loss', 'interrupt', 'exchange',
    ),
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    'dist_cfg': ('backend', 'timeout'),
    'model.test_cfg': ('mode', 'crop_size', 'stride', 'interpolation'),
    'metainfo': ('classes', 'palette'),
}  # fmt: skip
# Names of keys whose values are numbers in a range, wherever they are in the config.
NOT_NEGATIVE = re.compile(r'(.*_)?loss_weight|.*_mult|weight_decay|begin|end|eta_min(_ratio)?|end_factor|prob')
POSITIVE = re.compile(
    r'lr|(.*_)?interval|max_epochs|max_iters|batch_size|max_norm|clip_value|start_factor|max_keep_ckpts|size_divisor'
)
AT_MOST_ONE = re.compile(r'prob|eta_min_ratio|(start|end)_factor')
FLAG = re.compile(
    r'(.*_)?by_epoch|convert_to_iter_based|shuffle|drop_last|persistent_workers|pin_memory|cudnn_benchmark|'
    'bgr_to_rgb|norm_eval|avg_non_ignore|align_corners|zero_init_residual|augment|crop_to_label'
)
CLIP_GRAD_KEYS = {'type', 'max_norm', 'norm_type', 'error_if_nonfinite', 'foreach', 'clip_value'}
# Keys of paramwise_cfg by constructor; other constructors are not checked. MMagic's uses mmengine's for each network.
PARAMWISE_KEYS = {
    'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult', 'dwconv_decay_mult',
    'dcn_offset_lr_mult', 'bypass_duplicate',
}  # fmt: skip
OWN_CONSTRUCTOR = 'cen_mm.GroupingOptimWrapperConstructor'
CONSTRUCTORS = {
    **dict.fromkeys((None, 'DefaultOptimWrapperConstructor', 'MultiOptimWrapperConstructor'), PARAMWISE_KEYS),
    OWN_CONSTRUCTOR: PARAMWISE_KEYS | {'exchanging_norms'},
}
GREATER = ('aAcc', 'mAcc', 'mIoU', 'Acc', 'IoU', 'mDice', 'mFscore', 'mPrecision', 'mRecall', 'PSNR', 'SSIM')
LESS = ('L1', 'RMSE', 'LPIPS', 'FID', 'KIDx100', 'FD-Lite0', 'KD-Lite0x100', 'authors_FID', 'authors_KIDx100', 'loss')


def check_config(cfg: Config) -> None:
    """Checks a config without building anything.

    Raises:
        ValueError: for the first mistake, with its key, its value and the fix.
    """
    check_parts(cfg)
    check_keys(cfg)
    if not dict(hooks(cfg)).get('default_hooks.preflight', {}).get('enabled', True):
        return
    for key, value in walk({name: cfg.get(name) for name in (*REQUIRED, *OPTIONAL)}):
        check_value(key, value)
    check_loaders(cfg)
    for key, hook in hooks(cfg):
        check_best_score(key, hook)
        check_arguments(key, hook, HOOKS)
    for key, scheduler in plateau_schedulers(cfg):
        check_best_score(key, scheduler)
    for metric in _as_list(cfg.get('val_evaluator')):
        check_arguments('val_evaluator', metric, METRICS)
    check_exchange_hooks(cfg)
    check_units(cfg)
    if 'optimizer' not in cfg.optim_wrapper and 'paramwise_cfg' in cfg.optim_wrapper:
        raise ValueError('optim_wrapper.paramwise_cfg is of no network: set it in optim_wrapper.generators.')
    for key, wrapper in optim_wrappers(cfg.optim_wrapper):
        check_names(f'{key}.clip_grad', wrapper.get('clip_grad') or {}, CLIP_GRAD_KEYS)
        check_paramwise_options(key, wrapper, wrapper.get('constructor', cfg.optim_wrapper.get('constructor')))


def walk(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Yields the path, such as ``'model.neck.channels'``, and the value of each key that holds no dict or list."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for name, value in items:
        key = f'{path}.{name}' if path else str(name)
        if isinstance(value, (dict, list, tuple)):
            yield from walk(value, key)
        else:
            yield key, value


def hooks(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Yields the path and the config of each hook that is not built yet."""
    all_hooks = {f'default_hooks.{name}': hook for name, hook in (cfg.get('default_hooks') or {}).items()}
    all_hooks.update({f'custom_hooks.{i}': hook for i, hook in enumerate(cfg.get('custom_hooks') or ())})
    return ((key, hook) for key, hook in all_hooks.items() if isinstance(hook, dict))


def optim_wrappers(cfg: dict, key: str = 'optim_wrapper') -> Iterator[tuple[str, dict]]:
    """Yields the path and the config of each optimizer wrapper; GANs have one per network."""
    if 'optimizer' in cfg:
        yield key, cfg
    else:
        for name, wrapper in cfg.items():
            if isinstance(wrapper, dict):
                yield from optim_wrappers(wrapper, f'{key}.{name}')


def param_schedulers(node: Any, key: str = 'param_scheduler') -> Iterator[tuple[str, dict]]:
    """Yields the path and the config of each scheduler: one, a list, or a dict of lists, one per network."""
    if isinstance(node, dict) and 'type' in node:
        yield key, node
    elif isinstance(node, (dict, list, tuple)):
        for name, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from param_schedulers(child, f'{key}.{name}')


def check_parts(cfg: Config) -> None:
    """Raises ValueError if training needs a part that the config lacks, or a part's name is misspelled."""
    known = {**REQUIRED, **OPTIONAL}
    check_spelling('', [name for name in cfg if not name.startswith('test_')], known)
    for name, kind in known.items():
        value = cfg.get(name)
        if not isinstance(value, kind) and (name in REQUIRED or value is not None):
            kinds = ' or '.join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
            raise ValueError(f'{name} is {value!r}: training needs a value of type {kinds}.')


def check_spelling(owner: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raises ValueError for a name that differs from a known one by a letter or two; other names are the user's."""
    for name in names:
        if name not in known and (similar := get_close_matches(name, known, 1, cutoff=0.88)):
            raise ValueError(f'{owner}{name} is not read: write {owner}{similar[0]}, or choose another name.')


def check_keys(cfg: Config) -> None:
    """Raises ValueError for misspelled keys of dicts that may contain any key."""
    for path, node in dicts(cfg.to_dict()):
        for end, known in KEYS.items():
            if f'.{path}'.endswith(f'.{end}'):
                check_spelling(f'{path}.', node, known)


def check_arguments(key: str, part: Any, registry: Registry) -> None:
    """Raises ValueError for misspelled arguments of a part, because some parts ignore unknown ones (``**kwargs``)."""
    kind: Any = registry.get(str(part.get('type'))) if isinstance(part, dict) else None
    if hasattr(kind, '__mro__'):
        names = [name for base in kind.__mro__ for name in inspect.signature(base.__init__).parameters]
        check_spelling(f'{key}.', part, {*names, 'type', 'priority'})


def check_loaders(cfg: Config) -> None:
    """Raises ValueError for a loader without data set or sampler, or a training loader without batch size or end."""
    for name in ('train_dataloader', 'val_dataloader'):
        loader = cfg.get(name) or {}
        for key in ('dataset', 'sampler', 'batch_sampler'):
            if isinstance(loader.get(key, {}), str) or (key == 'dataset' and loader and key not in loader):
                raise ValueError(f'{name}.{key} is {loader.get(key)!r}: give a dict with its type.')
        if loader and not loader.get('sampler'):
            shuffle, reason = name[0] == 't', 'are not shuffled, or not distributed over several processes'
            raise ValueError(
                f"{name} has no sampler, so samples {reason}: set sampler=dict(type='DefaultSampler', "
                f'shuffle={shuffle}).'
            )
    if cfg.train_dataloader.get('batch_sampler'):
        raise ValueError(
            'train_dataloader.batch_sampler is not supported, because a run with it could not be resumed in the '
            'middle of an epoch: remove it, and set batch_size and drop_last.'
        )
    sampler = str((cfg.train_dataloader.get('sampler') or {}).get('type'))
    if sampler.endswith('InfiniteSampler') and 'max_iters' not in cfg.train_cfg:
        raise ValueError(
            f"train_dataloader.sampler is {sampler!r}, so an epoch would never end: use type='DefaultSampler', or "
            "train_cfg=dict(type='IterBasedTrainLoop', max_iters=N)."
        )
    if 'batch_size' not in cfg.train_dataloader:
        raise ValueError('train_dataloader has no batch_size: set it, for example batch_size=8.')


def check_value(key: str, value: Any) -> None:
    """Raises ValueError for NaN, infinity, numbers outside the range of such a key, and strings instead of flags."""
    *owners, name = key.split('.')
    if isinstance(value, float) and (math.isnan(value) or (math.isinf(value) and 'clip_grad' not in owners)):
        raise ValueError(f'{key} is {value}: give a finite number.')
    if name == 'type' and not isinstance(value, (str, type(None))):  # as in mmengine's pure-Python configs
        raise ValueError(f"{key} is {value!r}: give its registered name, such as type='mmseg.SwinTransformer'.")
    if FLAG.fullmatch(name) and isinstance(value, str):  # also 'False' would mean True
        raise ValueError(f'{key} is {value!r}: write True or False.')
    if name.endswith('_cfg') and isinstance(value, str):
        raise ValueError(f'{key} is {value!r}: give a dict.')
    positive = POSITIVE.fullmatch(name)
    if value is None or not (positive or NOT_NEGATIVE.fullmatch(name)):
        return
    if value == -1 and (name == 'max_keep_ckpts' or (name == 'interval' and owners[-1] == 'checkpoint')):
        return  # "all" and "never", as documented by mmengine
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or value < 0 or (positive and value == 0):
        raise ValueError(f'{key} is {value!r}: give a {"positive number" if positive else "number of at least 0"}.')
    if AT_MOST_ONE.fullmatch(name) and value > 1:
        raise ValueError(f'{key} is {value!r}: give a number of at most 1.')


def plateau_schedulers(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Yields the path of each scheduler that follows a score, and its config with mmengine's default values."""
    for key, scheduler in param_schedulers(cfg.get('param_scheduler')):
        if 'ReduceOnPlateau' in str(scheduler.get('type')):
            yield key, {'monitor': 'loss', 'rule': 'less', **scheduler}


def check_best_score(key: str, hook: dict) -> None:
    """Raises ValueError if a hook would keep the worst checkpoint, such as that with the smallest PSNR."""
    for scores in ('save_best', 'monitor'):
        names, rules = _as_list(hook.get(scores)), _as_list(hook.get('rule'))
        for name, rule in zip(names, rules * len(names) if len(rules) == 1 else rules):
            score = str(name).rpartition('/')[2]
            right = 'greater' if score in GREATER else 'less' if score in LESS else rule
            if rule is not None and rule != right:
                raise ValueError(f"{key}.rule is {rule!r}, but a better {name} is {right}: set rule='{right}'.")


def _as_list(value: Optional[Union[str, list]]) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def check_exchange_hooks(cfg: Config) -> None:
    """Raises ValueError if the exchange would be logged twice."""
    keys = [key for key, hook in hooks(cfg) if str(hook.get('type')).endswith('ExchangeHook')]
    if len(keys) > 1:
        raise ValueError(f'{" and ".join(keys)} are both an ExchangeHook: remove one, because both log the same.')


def check_units(cfg: Config) -> None:
    """Raises ValueError if training counts iterations, but schedulers or checkpoints count epochs, which never end."""
    parts = [item for item in hooks(cfg) if str(item[1].get('type')).endswith('CheckpointHook')]
    parts += [
        item for item in param_schedulers(cfg.get('param_scheduler')) if not item[1].get('convert_to_iter_based')
    ]
    for key, part in parts if 'max_iters' in cfg.train_cfg else ():
        if part.get('by_epoch', True):
            raise ValueError(
                f'{key} counts epochs, but train_cfg.max_iters counts iterations: set {key}.by_epoch=False.'
            )


def check_paramwise_options(key: str, wrapper: dict, constructor: Optional[str]) -> None:
    """Raises ValueError for unknown keys of ``paramwise_cfg``, and unknown options of its ``custom_keys``."""
    paramwise = wrapper.get('paramwise_cfg') or {}
    if 'exchanging_norms' in paramwise and constructor != OWN_CONSTRUCTOR:
        is_gan = constructor == 'MultiOptimWrapperConstructor'
        instead = "use custom_keys={'encoder': dict(lr_mult=..)}, or names such as 'encoder.1.norm'"
        raise ValueError(
            f"{key}.paramwise_cfg.exchanging_norms needs constructor='{OWN_CONSTRUCTOR}'"
            + (f', which serves one network: {instead}.' if is_gan else f': set it in {key}.')
        )
    if str(constructor).endswith('DecayOptimizerConstructor'):
        raise ValueError(
            f'{key}.constructor={constructor!r} finds the layers of some backbones of mmseg by name, not those of '
            f"cen_mm: use '{OWN_CONSTRUCTOR}' with custom_keys."
        )
    if constructor not in CONSTRUCTORS:
        return
    check_names(f'{key}.paramwise_cfg', paramwise, CONSTRUCTORS[constructor])
    groups = {f'custom_keys.{name}': options for name, options in paramwise.get('custom_keys', {}).items()}
    groups['exchanging_norms'] = paramwise.get('exchanging_norms', {})
    options_of_optimizers = {'lr_mult', 'decay_mult', 'lr', 'weight_decay', 'momentum', 'betas', 'eps'}
    for group, options in groups.items():
        check_names(f'{key}.paramwise_cfg.{group}', options, options_of_optimizers | set(wrapper['optimizer']))


def check_names(key: str, options: dict, known: set[str]) -> None:
    """Raises ValueError unless all keys of a dict are known."""
    if not isinstance(options, dict):
        raise ValueError(f'{key} is {options!r}: give a dict.')
    for name in sorted(set(options) - known):
        similar = get_close_matches(name, known, 1)
        fix = f'write {similar[0]}' if similar else f'use {", ".join(sorted(known))}'
        raise ValueError(f'{key}.{name} is unknown: {fix}.')
