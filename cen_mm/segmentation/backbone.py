"""Backbones: networks of mmseg and its relatives whose norms know the modalities."""

import importlib.util
from typing import Optional, Sequence

from mmengine.model import BaseModule
from mmseg.models.backbones import ResNet
from torch import Tensor

from ..exchange import make_multimodal
from ..registry import MODELS


@MODELS.register_module()
class CENResNet(ResNet):
    """mmseg's ResNet-18 to 152, every convolution shared, every norm private to a modality (paper, section 3.2).

    The default exchanges after ``bn2`` of every block, as the authors do in their bottlenecks. The stacked modalities
    go in, ``(M * B, 3, H, W)``, and come out at 1/4 to 1/32 of the size, each ``(M * B, C_i, H_i, W_i)``.

    Args:
        depth: 18, 34, 50, 101 or 152.
        modalities: names of the modalities, in the order in which they are stacked.
        exchange: regular expression that finds the names of the norms that exchange; None: private norms alone.
        threshold: the paper's theta.
        **kwargs: of mmseg's ResNet, such as ``norm_eval`` and ``init_cfg``.
    """

    def __init__(
        self,
        depth: int,
        modalities: Sequence[str],
        exchange: Optional[str] = r'layer\d\.\d+\.bn2',
        threshold: float = 0.02,
        **kwargs,
    ):
        super().__init__(depth, **kwargs)
        make_multimodal(self, modalities, exchange, threshold)


@MODELS.register_module()
class MultimodalBackbone(BaseModule):
    """Any registered backbone, made multimodal: ``(M * B, 3, H, W)`` in, its feature maps out.

    Args:
        backbone: config of a backbone of mmseg, mmpretrain or another registry.
        modalities: names of the modalities, in the order in which they are stacked.
        exchange: regular expression that finds the names of the norms that exchange; None: private norms alone.
        threshold: the paper's theta.

    Raises:
        ImportError: if the backbone's library, such as mmpretrain, is not installed.
    """

    def __init__(
        self, backbone: dict, modalities: Sequence[str], exchange: Optional[str] = None, threshold: float = 0.02
    ):
        super().__init__()
        scope, dot, _ = backbone['type'].rpartition('.')
        if dot and importlib.util.find_spec(scope) is None:
            raise ImportError(f'{backbone["type"]} needs {scope}, which is not installed: run `pip install {scope}`.')
        self.backbone = make_multimodal(MODELS.build(backbone), modalities, exchange, threshold)

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        return self.backbone(x)
