"""Backbones of mmseg and related libraries, with norms per modality and channel exchange."""

import importlib.util
from typing import Optional, Sequence

from mmengine.model import BaseModule
from mmseg.models.backbones import ResNet
from torch import Tensor

from ..exchange import make_multimodal
from ..registry import MODELS


@MODELS.register_module()
class CENResNet(ResNet):
    """mmseg's ResNet with shared convolutions, norms per modality and channel exchange (paper, section 3.2).

    By default, channels are exchanged after the norm inside every block: ``bn2`` of a bottleneck, as in the authors'
    code, and ``bn1`` of the blocks of ResNet-18 and 34, whose ``bn2`` is initialized with zeros. The input is
    ``(M * B, 3, H, W)``; the outputs are maps at 1/4 to 1/32 of its size, each ``(M * B, C_i, H_i, W_i)``.

    Args:
        depth: 18, 34, 50, 101 or 152.
        modalities: names of the modalities, in the order in which they are stacked.
        exchange: regular expression for the names of the norms that exchange channels. ``'default'``: see above. None:
            no exchange.
        threshold: channels whose scale is below it are replaced (theta in the paper).
        **kwargs: arguments of mmseg's ResNet, such as ``norm_eval`` and ``init_cfg``.
    """

    def __init__(
        self,
        depth: int,
        modalities: Sequence[str],
        exchange: Optional[str] = 'default',
        threshold: float = 0.02,
        **kwargs,
    ):
        super().__init__(depth, **kwargs)
        if exchange == 'default':
            exchange = rf'layer\d\.\d+\.[a-z]+{1 if depth < 50 else 2}$'
        make_multimodal(self, modalities, exchange, threshold)


@MODELS.register_module()
class MultimodalBackbone(BaseModule):
    """Any registered backbone, with norms per modality and channel exchange.

    Args:
        backbone: config of a backbone of mmseg, mmpretrain or another registry.
        modalities: names of the modalities, in the order in which they are stacked.
        exchange: regular expression for the names of the norms that exchange channels. None: no exchange.
        threshold: channels whose scale is below it are replaced (theta in the paper).
        pretrained: argument of the backbone; mmseg sets it for ``model.pretrained``.

    Raises:
        ImportError: if the library of the backbone, such as mmpretrain, is not installed.
    """

    def __init__(
        self,
        backbone: dict,
        modalities: Sequence[str],
        exchange: Optional[str] = None,
        threshold: float = 0.02,
        pretrained: Optional[str] = None,
    ):
        super().__init__()
        scope, dot, _ = backbone['type'].rpartition('.')
        if dot and importlib.util.find_spec(scope) is None:
            raise ImportError(f'{backbone["type"]} needs {scope}, which is not installed: run `pip install {scope}`.')
        if pretrained is not None:
            backbone = {**backbone, 'pretrained': pretrained}
        self.backbone = make_multimodal(MODELS.build(backbone), modalities, exchange, threshold)

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        """Computes the backbone's feature maps, each ``(M * B, C_i, H_i, W_i)``, from ``(M * B, 3, H, W)``."""
        return self.backbone(x)
