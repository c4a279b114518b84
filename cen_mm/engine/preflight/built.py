"""Checks that need the built model and data sets."""

from typing import Any, Iterator

from mmengine.optim import OptimWrapperDict
from torch import nn

from .config import optim_wrappers


def check_classes(model: nn.Module, train: Any) -> None:
    """Raises ValueError if a head has another number of classes than the training data set."""
    number = len(train.metainfo.get('classes') or ())
    for name, child in model.named_children():
        heads: Any = child if isinstance(child, nn.ModuleList) else [child]
        for head in heads if name in ('decode_head', 'auxiliary_head') else ():
            if head.num_classes != number:
                raise ValueError(
                    f'model.{name}.num_classes is {head.num_classes}, but the data set has {number} classes '
                    '(metainfo.classes): use the same number.'
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


def check_custom_keys(optim_wrapper: dict, model: nn.Module) -> None:
    """Raises ValueError for a key of ``paramwise_cfg.custom_keys`` that is in no parameter's name."""
    for path, wrapper in optim_wrappers(optim_wrapper):
        network = getattr(model, path.rpartition('.')[2], model)  # of a GAN
        names = [name for name, _ in network.named_parameters()]
        for key in (wrapper.get('paramwise_cfg') or {}).get('custom_keys', {}):
            if not any(key in name for name in names):
                raise ValueError(
                    f'{path}.paramwise_cfg.custom_keys.{key} is in no name of a parameter, such as {names[0]}: '
                    'correct or remove it.'
                )


def check_learning_rates(optim_wrapper: Any) -> list[str]:
    """Warns of a learning rate above 1, such as that of a wrong ``lr_mult``."""
    wrappers = optim_wrapper.values() if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]
    groups = [group for wrapper in wrappers for group in wrapper.param_groups]
    highest = max(group.get('initial_lr', group['lr']) for group in groups)
    return [f'A learning rate is {highest:.3g}: check optimizer.lr and all lr_mult.'] if highest > 1 else []


def pretrained_weights(model: Any, key: str = 'model') -> Iterator[str]:
    """Yields the key and the source of all weights that a model config names."""
    for name, value in model.items() if isinstance(model, dict) else ():
        if isinstance(value, dict):
            yield from pretrained_weights(value, f'{key}.{name}')
        elif value and (name == 'pretrained' or (name == 'checkpoint' and model.get('type') == 'Pretrained')):
            yield f'{key}: {value}'
