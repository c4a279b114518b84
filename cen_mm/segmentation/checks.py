"""Checks of a segmentor's parts at construction: what cannot work is refused before training starts."""

import inspect
from typing import Any, Iterable, Optional

from mmengine.registry import MODELS
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import nn

from .head import SharedClassifierHead

IGNORE_INDEX = 255  # value of unlabeled pixels after LoadLabels


def check_backbone(backbone: dict) -> None:
    """Raises ValueError for a backbone that does not take ``modalities``, such as a plain backbone of mmseg."""
    kind = backbone['type']
    with MODELS.switch_scope_and_registry(None) as registry:
        cls = registry.get(kind) if isinstance(kind, str) else kind
    if cls is not None and 'modalities' not in inspect.signature(cls).parameters:
        raise ValueError(
            f'The backbone {cls.__name__} does not exchange channels: use backbone=dict('
            f"type='cen_mm.MultimodalBackbone', backbone=dict(type={kind!r}, ..), exchange=REGEX_OF_NORM_NAMES)."
        )


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
    per_branch = {getattr(kind, method) for kind in (BaseDecodeHead, SharedClassifierHead) for method in methods}
    own = [method for method in methods if getattr(type(head), method, None) not in per_branch]
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


def check_ignore_index(head: nn.Module, key: str) -> None:
    """Raises ValueError unless the head ignores the value of unlabeled pixels."""
    if getattr(head, 'ignore_index', IGNORE_INDEX) != IGNORE_INDEX:
        raise ValueError(
            f'{key}.ignore_index={head.ignore_index}, but LoadLabels sets unlabeled pixels to {IGNORE_INDEX}: remove '
            f'ignore_index from the head, and set it in the data set if its files use another value.'
        )
