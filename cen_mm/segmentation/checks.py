"""Checks of a segmentor's parts at construction: what cannot work is refused before training starts."""

import inspect
from contextlib import contextmanager
from typing import Any, Iterable, Iterator, Optional, Union

from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import nn

IGNORE_INDEX = 255  # value of unlabeled pixels after LoadLabels


def check_backbone(backbone: dict) -> None:
    """Raises ValueError for a backbone that does not take ``modalities``, such as a plain backbone of mmseg."""
    kind, cls = backbone['type'], _class_of(backbone)
    bases = getattr(cls, '__mro__', [cls])  # a subclass may take it by **kwargs
    if cls is not None and not any('modalities' in inspect.signature(base.__init__).parameters for base in bases):
        raise ValueError(
            f'The backbone {cls.__name__} does not exchange channels: use backbone=dict('
            f"type='cen_mm.MultimodalBackbone', backbone=dict(type={kind!r}, ..), exchange=REGEX_OF_NORM_NAMES)."
        )


def _class_of(part: dict) -> Any:
    """Returns the class of a config; None if its type is not registered."""
    kind = part['type']
    with MODELS.switch_scope_and_registry(None) as registry:
        return registry.get(kind) if isinstance(kind, str) else kind


@contextmanager
def explain_unexpected_keys(parts: dict[str, Union[dict, list, None]]) -> Iterator[None]:
    """Replaces the TypeError of a part that is built with unexpected keys by one that says how to fix the config.

    Such keys are usually left over from a base config whose part has another type.

    Args:
        parts: config of each part, or a list of configs; lists of heads and of losses are such lists.

    Raises:
        TypeError: with the path of the part, its type and the unexpected keys; without such keys, the original error.
    """
    try:
        yield
    except TypeError as error:
        for path, part in _typed_dicts(parts, 'model'):
            unexpected = _unexpected_keys(part)
            if any(f"unexpected keyword argument '{key}'" in str(error) for key in unexpected):
                raise TypeError(
                    f'{path} has the keys {", ".join(unexpected)}, which {part["type"]} does not take: remove them, '
                    f'or, if they are left over from a base config with another type, add _delete_=True to {path}.'
                ) from error
        raise


def _typed_dicts(config: Any, path: str) -> Iterator[tuple[str, dict]]:
    """Yields the path and the config of each part, inner ones first: backbones in backbones, losses in heads."""
    for key in ('backbone', 'neck', 'decode_head', 'auxiliary_head', 'loss_decode'):
        value = config.get(key) or ()
        for part in [value] if isinstance(value, dict) else value:
            yield from _typed_dicts(part, f'{path}.{key}')
            yield f'{path}.{key}', part


def _unexpected_keys(part: dict) -> list[str]:
    """Returns the keys that neither the class takes nor, if its ``__init__`` has ``**kwargs``, its base classes."""
    taken = {'type', '_scope_'}
    for cls in getattr(_class_of(part), '__mro__', ()):
        if '__init__' in vars(cls):
            arguments = inspect.signature(cls.__init__).parameters.values()
            taken.update(argument.name for argument in arguments)
            if all(argument.kind is not argument.VAR_KEYWORD for argument in arguments):
                break
    return [key for key in part if key not in taken]


def check_decode_head(head: Any) -> None:
    """Raises ValueError for a head whose losses or predictions need more than the logits of each branch.

    Such heads are cascades (PointHead, OCRHead), heads with several outputs (EncHead, DAHead, DDRHead, PIDHead,
    STDCHead, KNet's IterativeDecodeHead), and heads that predict masks (MaskFormerHead, Mask2FormerHead). DMHead
    requires features that are not channels last.
    """
    if isinstance(head, (list, tuple)):
        raise ValueError(
            'decode_head is a list, but a cascade of heads cannot be run per branch: use one head, such as FCNHead.'
        )
    name = type(head).__name__
    methods = ('loss', 'loss_by_feat', 'predict', 'predict_by_feat')
    own = [method for method in methods if getattr(type(head), method, None) is not getattr(BaseDecodeHead, method)]
    if not isinstance(head, BaseDecodeHead) or isinstance(head, BaseCascadeDecodeHead) or own or name == 'DMHead':
        reason = f'it has its own {", ".join(own)}' if own else 'it needs another kind of features'
        raise ValueError(
            f'decode_head {name} cannot be run per branch, because {reason}: use a head with one map of logits, such '
            'as FCNHead, PSPHead, ASPPHead, UPerHead or SegformerHead.'
        )
    check_ignore_index(head, 'decode_head')


def check_auxiliary_heads(heads: Iterable[nn.Module], num_maps: Optional[int]) -> None:
    """Raises ValueError for an auxiliary head that uses a map which the neck does not have.

    Args:
        heads: auxiliary heads.
        num_maps: number of maps of the neck. None: unknown.
    """
    for head in heads:
        check_ignore_index(head, 'auxiliary_head')
        index = head.in_index if isinstance(head.in_index, int) else max(head.in_index)
        if num_maps is not None and index >= num_maps:
            raise ValueError(
                f'auxiliary_head.in_index={head.in_index}, but the maps of the neck are 0 to {num_maps - 1}: '
                'change in_index, or remove the auxiliary head.'
            )


def check_test_cfg(test_cfg: dict) -> None:
    """Raises ValueError for an unknown mode of tests, or sliding windows without their sizes."""
    mode = test_cfg.get('mode', 'whole')
    if mode not in ('whole', 'slide'):
        raise ValueError(f"model.test_cfg.mode={mode!r}: choose 'whole' or 'slide'.")
    if mode == 'slide' and not ('crop_size' in test_cfg and 'stride' in test_cfg):
        raise ValueError("model.test_cfg.mode='slide' needs crop_size=(HEIGHT, WIDTH) and stride=(HEIGHT, WIDTH).")


def check_ignore_index(head: nn.Module, key: str) -> None:
    """Raises ValueError unless the head ignores the value of unlabeled pixels."""
    if getattr(head, 'ignore_index', IGNORE_INDEX) != IGNORE_INDEX:
        raise ValueError(
            f'{key}.ignore_index={head.ignore_index}, but LoadLabels sets unlabeled pixels to {IGNORE_INDEX}: remove '
            f'ignore_index from the head, and set it in the data set if its files use another value.'
        )
