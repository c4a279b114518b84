"""Checks that need the built model and data sets."""

import ast
from pathlib import Path
from typing import Any, Iterator

from mmengine.config import Config
from torch import nn

from ...exchange import exchanging_norms
from ..optim import all_param_groups
from .config import optim_wrappers, param_schedulers
from .explain import dicts

# Variables of our base configs, and what to set instead in a config that inherits them
VARIABLES = dict(
    data_preprocessor='model.data_preprocessor',
    train_pipeline='train_dataloader.dataset.pipeline',
    test_pipeline='val_dataloader.dataset.pipeline and test_dataloader.dataset.pipeline',
)


def check_classes(model: nn.Module, train: Any) -> None:
    """Raises ValueError if a head has other classes or class weights than the data set, or a loss that is not used."""
    number = len(train.metainfo.get('classes') or ())
    for name, child in model.named_children():
        heads: Any = child if isinstance(child, nn.ModuleList) else [child]
        for head in heads if name in ('decode_head', 'auxiliary_head') else ():
            if head.loss_by_feat.__qualname__ != 'BaseDecodeHead.loss_by_feat':
                continue  # such as STDCHead, which learns boundaries
            if head.num_classes != number:
                raise ValueError(
                    f'model.{name}.num_classes is {head.num_classes}, but the data set has {number} classes '
                    '(metainfo.classes): use the same number.'
                )
            losses: Any = head.loss_decode if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]
            for loss in losses:
                if 'loss' not in loss.loss_name:
                    raise ValueError(
                        f'model.{name} has a loss with loss_name={loss.loss_name!r}, which mmengine logs but does not '
                        f"train: use a name with 'loss', such as 'loss_{loss.loss_name}'."
                    )
                weights = getattr(loss, 'class_weight', None)
                if weights is not None and len(weights) != number:
                    raise ValueError(
                        f'A loss of model.{name} has {len(weights)} values in class_weight, but the data set has '
                        f'{number} classes: give one per class.'
                    )


def check_target(train: Any) -> None:
    """Raises ValueError if the target of translation is also an input."""
    target, inputs = train.metainfo.get('target'), train.metainfo.get('modalities', ())
    if target in inputs:
        raise ValueError(
            f'train_dataloader.dataset.target {target!r} is also an input: remove it from inputs={list(inputs)}, or '
            'choose another target.'
        )


def check_same_data(train: Any, val: Any) -> list[str]:
    """Compares what the training and validation data sets contain.

    Returns:
        Warnings about modalities that are read with other settings.

    Raises:
        ValueError: if the classes, the treatment of labels, or the target of translation differ.
    """
    for key in ('classes', 'target', 'modalities'):
        ours, theirs = train.metainfo.get(key), val.metainfo.get(key)
        if ours != theirs:
            raise ValueError(f'train_dataloader has {key}={ours}, but val_dataloader has {theirs}: use the same.')
    for key in ('reduce_zero_label', 'ignore_index'):
        ours, theirs = getattr(train, key, None), getattr(val, key, None)
        if ours != theirs:
            raise ValueError(
                f'train_dataloader.dataset.{key} is {ours}, but that of val_dataloader is {theirs}: use the same.'
            )
    warnings = []
    settings = [getattr(each, 'settings', getattr(each, 'modalities', {})) for each in (train, val)]
    for name in filter(settings[1].__contains__, settings[0]):
        ours, theirs = (vars(each[name]) for each in settings)
        different = [key for key in ours if key not in ('path', 'dtype') and ours[key] != theirs[key]]
        if different:
            warnings.append(
                f'{name} is read with {_settings(ours, different)} for training, but with '
                f'{_settings(theirs, different)} for validation: use the same, unless the files differ.'
            )
    return warnings


def _settings(settings: dict, keys: list[str]) -> str:
    return ', '.join(f'{key}={settings[key]}' for key in keys)


def check_ignore_index(train: Any) -> list[str]:
    """Warns if the training data set has a class whose label means "unlabeled"."""
    index, classes = getattr(train, 'ignore_index', 255), train.metainfo.get('classes') or ()
    if index < len(classes) and not train.reduce_zero_label:
        return [
            f'ignore_index={index} of the data set is the label of class {classes[index]}, which is never trained.'
        ]
    return []


def check_custom_keys(optim_wrapper: dict, model: nn.Module) -> list[str]:
    """Warns of ``custom_keys`` that are in no parameter's name: misspelled, or for another backbone."""
    warnings = []
    for path, wrapper in optim_wrappers(optim_wrapper):
        network = getattr(model, path.rpartition('.')[2], model)  # of a GAN
        names = [name for name, _ in network.named_parameters()]
        for key in (wrapper.get('paramwise_cfg') or {}).get('custom_keys', {}):
            if not any(key in name for name in names):
                warnings.append(
                    f'{path}.paramwise_cfg.custom_keys.{key} has no effect, because it is in no name of a parameter, '
                    f'such as {names[0]}: correct or remove it.'
                )
    return warnings


def check_schedule(cfg: dict, loop: Any) -> list[str]:
    """Warns of learning rates whose schedule is shorter or longer than training, as after a change of its length only.

    Args:
        cfg: the config of the run.
        loop: its training loop.
    """
    lengths = {False: (loop.max_iters, 'iterations')}
    if 'max_epochs' in cfg['train_cfg']:
        lengths[True] = (loop.max_epochs, 'epochs')
    ends: dict[bool, dict[str, int]] = {True: {}, False: {}}
    decays = False  # a schedule that ends with a warm-up stays constant on purpose
    for key, scheduler in param_schedulers(cfg.get('param_scheduler')):
        milestones = scheduler.get('milestones') or [0]
        period = scheduler.get('begin', 0) + scheduler.get('T_max', 0)
        end = scheduler.get('end') or scheduler.get('total_steps') or max(*milestones, period)
        ends[scheduler.get('by_epoch', True)][key] = end
        decays = decays or scheduler['type'].startswith(('CosineAnnealing', 'Poly', 'OneCycle'))
    warnings = []
    for by_epoch, (length, unit) in lengths.items():
        last = max(ends[by_epoch], key=ends[by_epoch].__getitem__, default=None)
        if last and (end := ends[by_epoch][last]) and (end > length or (end < length and decays)):
            warnings.append(
                f'{last} ends after {end} {unit}, but training after {length}: let both end at the same time, unless '
                'it is intended.'
            )
    return warnings


def check_sizes(cfg: dict) -> list[str]:
    """Warns of a size that is a variable of the config file, but of no training transform.

    A base config inserts its variables into its transforms before a child config changes them.
    """
    transforms = [transform for key, transform in dicts(cfg['train_dataloader']) if 'pipeline.' in key]
    # The command line gives a list for a tuple, and a size may be a single number.
    used = [list(value) if isinstance(value, tuple) else value for each in transforms for value in each.values()]
    sizes = {name: cfg[name] for name in ('crop_size', 'resize_size') if name in cfg}
    return [
        f'{name}={size} has no effect, because it is in no transform of train_dataloader: set the sizes of the '
        'transforms in the pipelines.'
        for name, size in sizes.items()
        if (list(size) if isinstance(size, tuple) else size) not in used
    ]


def check_variables(cfg: Config) -> list[str]:
    """Warns of a variable that the config file sets for nothing, as in :func:`check_sizes`."""
    is_python = str(cfg.filename).endswith('.py')
    tree = ast.parse(Path(cfg.filename).read_text('utf-8') if is_python else '')
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    written, read = ({node.id for node in names if isinstance(node.ctx, kind)} for kind in (ast.Store, ast.Load))
    return [
        f'{name} has no effect, because it is only a variable of the base config: set {key}.'
        for name, key in VARIABLES.items()
        if '_base_' in written and name in written - read
    ]


def check_penalty(model: nn.Module) -> list[str]:
    """Warns of a penalty on norms of one modality, or of all together, whose channels nothing replaces."""
    owners = [len(norm.modalities) for _, norm in exchanging_norms(model)]
    if getattr(model, 'sparsity', None) is not None and owners and max(owners) == 1:
        return [
            'model.sparsity penalizes norms of one modality, or of all modalities together, whose channels nothing '
            'replaces: set model.sparsity=None and exchange=None.'
        ]
    return []


def check_learning_rates(optim_wrapper: Any) -> list[str]:
    """Warns of a learning rate above 1, such as that of a wrong ``lr_mult``."""
    highest = max(group.get('initial_lr', group['lr']) for group in all_param_groups(optim_wrapper))
    return [f'A learning rate is {highest:.3g}: check optimizer.lr and all lr_mult.'] if highest > 1 else []


def pretrained_weights(model: Any, key: str = 'model') -> Iterator[str]:
    """Yields the key and the source of all weights that a model config names."""
    for name, value in model.items() if isinstance(model, dict) else ():
        if isinstance(value, dict):
            yield from pretrained_weights(value, f'{key}.{name}')
        elif value and (name == 'pretrained' or (name == 'checkpoint' and model.get('type') == 'Pretrained')):
            yield f'{key}: {value}'
