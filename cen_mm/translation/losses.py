"""Losses of translation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
