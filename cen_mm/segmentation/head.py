"""The classifier that all branches share."""

from typing import Optional, Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from ..registry import MODELS


@MODELS.register_module()
class SharedClassifierHead(BaseDecodeHead):
    """Classifies the features of all branches with dropout and one 3x3 convolution.

    Args:
        in_channels: C, channels of the features.
        num_classes: K, number of classes.
        dropout_ratio: probability of dropping an element, as in the authors' code. mmseg's heads drop whole channels.
        init_cfg: initialization config of mmengine. The authors keep PyTorch's default initialization.
        **kwargs: arguments of mmseg's BaseDecodeHead, such as ``loss_decode``.
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
        """Classifies the features.

        Args:
            features: maps of the neck or backbone, ``(M * B, C, h, w)`` at ``in_index``.

        Returns:
            Logits, ``(M * B, K, h, w)``.
        """
        return self.cls_seg(self._transform_inputs(features))
