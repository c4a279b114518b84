"""Losses of mmseg's heads, computed without reading values on the host."""

from typing import Iterable, Sequence

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
from torch import Tensor, nn


def losses_of(head: BaseDecodeHead) -> Iterable[nn.Module]:
    """Lists the losses of a head."""
    return head.loss_decode if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]


def keep_class_weights(head: BaseDecodeHead) -> None:
    """Keeps the class weights of a head's cross entropy as buffers, because mmseg copies them in every step."""
    for loss in losses_of(head):
        if type(loss) is CrossEntropyLoss and loss.class_weight is not None:
            weights = torch.as_tensor(loss.class_weight, dtype=torch.float32)
            loss.register_buffer('class_weights', weights, persistent=False)


def head_losses(head: BaseDecodeHead, logits: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
    """Computes the losses and the accuracy that ``head.loss_by_feat`` of mmseg computes.

    mmseg reads the number of labeled pixels on the host, so a GPU becomes idle three times per head and branch, and
    ``torch.compile`` breaks the graph. Contiguous logits halve the time of cross entropy on the CPU. Class
    weights work with unlabeled pixels, too, for which mmseg fails: the loss is divided by the sum of the weights of
    the labeled pixels, as in torch.

    Args:
        head: decode head or auxiliary head, after :func:`keep_class_weights`.
        logits: output of the head, ``(B, K, h, w)``.
        data_samples: B samples with labels ``(1, H, W)`` in ``gt_sem_seg``.

    Returns:
        Losses by name, and ``acc_seg`` in %.
    """
    if type(head).loss_by_feat is not BaseDecodeHead.loss_by_feat:  # an auxiliary head with other losses
        return head.loss_by_feat(logits, data_samples)
    label = head._stack_batch_gt(data_samples)
    logits = resize(logits.contiguous(), label.shape[2:], mode='bilinear', align_corners=head.align_corners)
    weight = None if head.sampler is None else head.sampler.sample(logits, label)
    label = label.squeeze(1)
    labeled = label != head.ignore_index
    index = label.clamp(0, logits.shape[1] - 1)  # ignore_index is out of range
    count = labeled.sum(dtype=torch.promote_types(logits.dtype, torch.float32))
    losses: dict[str, Tensor] = {}
    for loss in losses_of(head):
        is_mean = type(loss) is CrossEntropyLoss and loss.reduction == 'mean' and not loss.use_sigmoid
        if is_mean and loss.class_weight is not None:
            weights = loss.class_weights.to(count.dtype)
            options = dict(class_weight=weights.to(logits.dtype), avg_factor=(weights.take(index) * labeled).sum())
            value = loss.cls_criterion(logits, label, weight, ignore_index=head.ignore_index, **options)
            value = loss.loss_weight * value
        else:
            options = dict(avg_factor=count) if is_mean and loss.avg_non_ignore else {}
            value = loss(logits, label, weight=weight, ignore_index=head.ignore_index, **options)
        losses[loss.loss_name] = losses.get(loss.loss_name, 0) + value
    # Faster on the CPU than argmax. The label may share the largest logit, as it may in bfloat16.
    correct = (logits.gather(1, index[:, None]).squeeze(1) >= logits.amax(1)) & (label == index) & labeled
    losses['acc_seg'] = 100.0 * correct.sum() / count.clamp(min=1)
    return losses
