"""The classifier that all branches share."""

from typing import Optional, Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from ..registry import MODELS


@MODELS.register_module()
class SharedClassifierHead(BaseDecodeHead):
    """Dropout and one 3x3 convolution: ``(M * B, C, h, w)`` to logits ``(M * B, K, h, w)``.

    Args:
        in_channels: C.
        num_classes: K.
        dropout_ratio: of single elements, as the authors do; mmseg's other heads drop whole channels.
        init_cfg: mmengine's. The authors keep PyTorch's own initial weights.
        **kwargs: of mmseg's BaseDecodeHead, such as ``loss_decode``.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        dropout_ratio: float = 0.5,
        init_cfg: Optional[dict] = None,
        **kwargs,
    ):
        super().__init__(in_channels, in_channels, num_classes=num_classes, init_cfg=init_cfg, **kwargs)
        self.dropout = nn.Dropout(dropout_ratio)
        self.conv_seg = nn.Conv2d(in_channels, self.out_channels, 3, padding=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.cls_seg(self._transform_inputs(features))
