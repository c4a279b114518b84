"""The discriminator: one network that classifies patches of (input, image) pairs of all modalities."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..checkpoint import rename_on_load
from ..registry import MODELS
from .generator import INIT_CFG, ConvNorm


@MODELS.register_module()
class SharedPatchDiscriminator(BaseModule):
    """PatchGAN discriminator of five 4x4 convolutions, with instance norm after the middle three.

    The receptive field of each logit is 70x70 pixels. The authors' network ends with a sigmoid; here it is part of the
    loss, where it is stable in half precision.

    Args:
        base_channels: channels of the first convolution; the next three have 2, 4 and 8 times as many, the last has 1.
        init_cfg: initialization config of mmengine.
    """

    def __init__(self, base_channels: int = 64, init_cfg: dict = INIT_CFG):
        super().__init__(init_cfg)
        widths = [base_channels * factor for factor in (1, 2, 4, 8)] + [1]
        self.layers = nn.ModuleList(
            ConvNorm(nn.Conv2d(in_width, width, 4, stride, 1), normalize=0 < i < 4)
            for i, (in_width, width, stride) in enumerate(zip([6, *widths], widths, (2, 2, 2, 1, 1)))  # RGB and RGB
        )
        rename_on_load(self, {r'^levels\.': 'layers.'})  # the name in checkpoints of version 0.1

    def forward(self, inputs: Tensor, images: Tensor) -> Tensor:
        """Classifies real or generated images, given their inputs.

        Args:
            inputs: input images in [-1, 1], ``(N, 3, H, W)``; height and width must be at least 32 pixels.
            images: real or generated images in [-1, 1], ``(N, 3, H, W)``.

        Returns:
            Logits of the class "real", ``(N, 1, H / 8 - 2, W / 8 - 2)``.
        """
        x = torch.cat([inputs, images], dim=1)
        for i, layer in enumerate(self.layers):
            x = layer(F.leaky_relu(x, 0.2) if i else x)
        return x.to(images.dtype)
