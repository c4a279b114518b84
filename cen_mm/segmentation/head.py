"""The classifier that all branches share."""

from typing import Optional, Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
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

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """mmseg's, in less than half its time on a CPU: softmax in the layout that it likes, accuracy without a sort.

        Args:
            seg_logits: ``(B, K, h, w)``.
            batch_data_samples: B of them, with labels ``(1, H, W)``.

        Returns:
            The losses by their names, and ``acc_seg``, the share of labelled pixels that are right, in %.
        """
        label = self._stack_batch_gt(batch_data_samples)  # (B, 1, H, W)
        logits = resize(seg_logits.contiguous(), label.shape[2:], mode='bilinear', align_corners=self.align_corners)
        weight = self.sampler.sample(logits, label) if self.sampler is not None else None
        label, losses = label.squeeze(1), {}
        for loss in self.loss_decode if isinstance(self.loss_decode, nn.ModuleList) else [self.loss_decode]:
            value = loss(logits, label, weight=weight, ignore_index=self.ignore_index)
            losses[loss.loss_name] = losses.get(loss.loss_name, 0) + value
        right = (logits.detach().max(1).indices == label).sum()
        losses['acc_seg'] = 100 * right / (label != self.ignore_index).sum().clamp(min=1)
        return losses
