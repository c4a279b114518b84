"""The discriminator: judges patches of (input, image) pairs, one network for the pairs of all modalities."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..registry import MODELS
from .generator import INIT_CFG, Level


@MODELS.register_module()
class SharedPatchDiscriminator(BaseModule):
    """PatchGAN: five 4x4 convolutions, instance norm behind the middle three. A logit sees 70x70 pixels.

    It ends in logits; the authors' sigmoid is part of the loss, where it is safe in half precision.

    Args:
        in_channels: of a pair: input and image together.
        base_channels: of the first convolution; the next have 2, 4 and 8 times as many.
        init_cfg: mmengine's.
    """

    def __init__(self, in_channels: int = 6, base_channels: int = 64, init_cfg: dict = INIT_CFG):
        super().__init__(init_cfg)
        widths = [base_channels * times for times in (1, 2, 4, 8)] + [1]
        self.levels = nn.ModuleList(
            Level(nn.Conv2d(before, width, 4, stride, 1), normalise=0 < i < 4)
            for i, (before, width, stride) in enumerate(zip([in_channels, *widths], widths, (2, 2, 2, 1, 1)))
        )

    def forward(self, inputs: Tensor, images: Tensor) -> Tensor:
        """Judges images, real or made, beside the inputs that they belong to.

        Args:
            inputs: in [-1, 1], ``(N, 3, H, W)``; 32 pixels or more each way.
            images: in [-1, 1], ``(N, 3, H, W)``.

        Returns:
            Logits of being real, ``(N, 1, H / 8 - 2, W / 8 - 2)``.
        """
        x = torch.cat([inputs, images], dim=1)
        for i, level in enumerate(self.levels):
            x = level(F.leaky_relu(x, 0.2) if i else x)
        return x.to(images.dtype)
