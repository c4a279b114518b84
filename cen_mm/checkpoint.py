"""Reading and checking checkpoints without running code in them, and loading those of older versions."""

import logging
import re
from pathlib import Path
from typing import IO, Any, Callable, Sequence, Union

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

_latest = 'The checkpoint'  # the file that was read last: the functions of mmengine that load weights do not know it


def read_checkpoint(file: Union[str, Path, IO[bytes]], map_location: Any = 'cpu', **_: Any) -> dict:
    """Reads a checkpoint with ``weights_only=True``, so that no code in it runs.

    Args:
        file: path of the file, or an open file.
        map_location: device of the tensors, as for ``torch.load``.

    Raises:
        ValueError: if the file is not a whole checkpoint, or contains something else than weights and plain values.
    """
    global _latest
    name = str(file) if isinstance(file, (str, Path)) else 'The checkpoint'
    try:
        checkpoint = torch.load(file, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises KeyError, EOFError, RuntimeError, and OSError without a file name
        if isinstance(error, OSError) and error.filename:
            raise
        if refused := re.search(r'(?:GLOBAL|Unsupported class) (\S+)', str(error)):
            raise ValueError(
                f'{name} contains {refused[1]}, which could run code, so it is not loaded: save only the weights with '
                'torch.save(model.state_dict(), FILE). A checkpoint of a run of version 0.2 needs torch 2.6 or newer.'
            ) from error
        raise ValueError(f'{name} is not a checkpoint, or it is damaged or cut off: use another file.') from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{name} contains a {type(checkpoint).__name__}, not a dict of weights: use another file.')
    _latest = name
    if isinstance(meta := checkpoint.get('meta'), dict):
        meta.pop('config', None)  # mmengine would run it when it resumes
    return checkpoint


def find_nonfinite(state_dict: dict[str, Any]) -> str:
    """Describes weights that are NaN or infinite: ``'3 of 62 tensors (conv1.weight, ..)'``, or ``''`` if none is."""
    keys = [
        key
        for key, value in state_dict.items()
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all()
    ]
    return f'{len(keys)} of {len(state_dict)} tensors ({keys[0]}, ..)' if keys else ''


def load_weights(
    load: Callable, module: nn.Module, state_dict: dict[str, Tensor], strict: bool = False, logger: Any = None
) -> None:
    """Loads weights with mmengine's ``load_state_dict``, refuses wrong ones, and reports how many are loaded.

    Args:
        load: mmengine's function.
        module: the network or a part of it.
        state_dict: the weights.
        strict: whether every weight must fit. False: starting weights, of which one must fit.
        logger: logger for the report, as in mmengine.

    Raises:
        ValueError: if the weights are not finite or do not fit.
    """
    if broken := find_nonfinite(state_dict):
        raise ValueError(f'{_latest}: {broken} are NaN or infinite. Use an earlier checkpoint.')
    differences = ''
    try:
        load(module, state_dict, strict=True, logger=logger)
    except RuntimeError as error:
        differences = str(error)
    keys = [key for key in module.state_dict() if 'num_batches_tracked' not in key]  # which mmengine ignores, too
    lists = {
        kind: re.search(f'{kind} in source state_dict: (.*)', differences)
        for kind in ('missing keys', 'unexpected key')
    }
    missing, unknown = (match[1].split(', ') if match else [] for match in lists.values())
    reshaped = re.findall(r'size mismatch for (\S+):', differences)
    loaded = len(keys) - len(missing) - len(reshaped)
    report = f'{_latest}: {loaded} of {len(keys)} tensors of {type(module).__name__} are loaded'
    if differences and (strict or loaded <= 0):
        parts = {'missing': missing, 'unknown': unknown, 'of another shape': reshaped}
        details = ', '.join(f'{len(names)} {part} ({names[0]}, ..)' for part, names in parts.items() if names)
        raise ValueError(f'{report}: {details}. Use a checkpoint that belongs to the config.')
    if differences:
        print_log(f'{differences}\n{report}', logger=logger, level=logging.WARNING)
    else:
        print_log(report, logger=logger)


def have_equal_modalities(checkpoint: dict, model: nn.Module, strict: bool = True) -> bool:
    """Compares the names of the modalities in a checkpoint, if it has any, with those of a model.

    Raises:
        ValueError: if they differ and ``strict`` is True.
    """
    theirs, ours = checkpoint.get('meta', {}).get('modalities'), getattr(model, 'modalities', None)
    equal = not theirs or not ours or list(theirs) == list(ours)
    if strict and not equal:
        raise ValueError(
            f'{_latest} is of a model of {", ".join(theirs)}, but the config has {", ".join(ours)}: use the config of '
            'the checkpoint.'
        )
    return equal


def move_modalities(state_dict: dict[str, Tensor], theirs: Sequence[str], ours: Sequence[str]) -> dict[str, Tensor]:
    """Moves the weights of each modality, such as ``norms.1.weight``, for a model with other modalities.

    A modality takes the weights of the one with its name; otherwise of one that the model does not have, such as
    thermal those of depth; otherwise of the first one.

    Args:
        state_dict: weights of a model of the modalities ``theirs``.
        theirs: names of the modalities in the checkpoint, in their order.
        ours: names of the modalities of the model, in their order.

    Returns:
        The weights for the model.
    """
    if len(theirs) > 1 and not any(re.search(r'\.(norms|copies)\.1\.', key) for key in state_dict):
        return state_dict  # all modalities share all layers
    others = iter([name for name in theirs if name not in ours])
    sources = [list(theirs).index(name if name in theirs else next(others, theirs[0])) for name in ours]
    sources.append(len(theirs))  # of the feature ensemble
    moved = {}
    for key, value in state_dict.items():
        if re.search(r'\.partial_(mean|var)$|(^|\.)ensemble\.alpha$', key):  # one row per modality
            moved[key] = value[sources[: len(ours) + len(value) - len(theirs)]]
            continue
        match = re.search(r'\.(?:norms|copies)\.(\d+)\.', key)
        for i, source in enumerate(sources):
            if match is None:
                moved[key] = value
            elif int(match[1]) == source:
                moved[f'{key[: match.start(1)]}{i}{key[match.end(1) :]}'] = value
    return moved


def rename_on_load(module: nn.Module, renames: dict[str, str]) -> None:
    """Makes a module accept checkpoints whose keys have older names.

    Args:
        module: the module whose parameters were renamed.
        renames: pairs of a regular expression and its replacement. Each is applied (``re.sub``) to the part of the
            key below the module; a key that does not match stays as it is.
    """

    def rename(state_dict: dict[str, Tensor], prefix: str, *_) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            new = key[len(prefix) :]
            for pattern, replacement in renames.items():
                new = re.sub(pattern, replacement, new)
            state_dict[prefix + new] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
