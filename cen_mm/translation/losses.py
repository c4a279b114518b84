"""Losses of translation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pixel_loss(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of two batches of images over the pixels with a known target; 0 if there are none.

    Args:
        fake: generated images, ``(B, 3, H, W)``.
        real: target images, ``(B, 3, H, W)``.
        mask: 1 where the target is known and 0 elsewhere, ``(B, 1, H, W)``.
    """
    known = mask.sum().clamp(min=1) / mask.numel()  # exactly 1 if all pixels are known, so the loss is not rounded
    return F.l1_loss(torch.where(mask > 0, fake, real), real) / known


def adversarial_loss(logits: Tensor, label: float, num_modalities: int) -> Tensor:
    """Binary cross-entropy of the discriminator's logits: the mean per modality, summed over the modalities.

    Args:
        logits: ``(M * B, 1, h, w)``.
        label: 1 for real images, 0 for generated ones.
        num_modalities: M.
    """
    return num_modalities * F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def discriminator_loss(discriminator: nn.Module, inputs: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """Half the sum of the adversarial losses on real and generated images.

    Args:
        discriminator: takes inputs and images, both ``(N, 3, H, W)``; returns logits.
        inputs: input images, ``(M * B, 3, H, W)``.
        real: target images, ``(B, 3, H, W)``.
        fake: generated images, ``(M * B, 3, H, W)``.
    """
    num_modalities = len(inputs) // len(real)
    images = torch.cat([real.repeat(num_modalities, 1, 1, 1), fake])  # one forward pass for both
    real_logits, fake_logits = discriminator(inputs.repeat(2, 1, 1, 1), images).chunk(2)
    terms = adversarial_loss(real_logits, 1.0, num_modalities), adversarial_loss(fake_logits, 0.0, num_modalities)
    return sum(terms) / 2
