"""The generator: a U-Net whose encoder exchanges channels between the modalities."""

from typing import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..exchange import Ensemble, make_multimodal
from ..registry import MODELS

# The authors' start. Their instance norms start from ones and zeros, as torch's do.
INIT_CFG = dict(type='Normal', layer=['Conv2d', 'ConvTranspose2d'], std=0.02)


class ImageNorm(nn.InstanceNorm2d):
    """Instance norm that in eval mode can normalise by the image's own statistics, as the authors test.

    torch's own does so in training mode alone, and then changes the running statistics.
    """

    own_statistics = False

    def __init__(self, channels: int):
        super().__init__(channels, affine=True, track_running_stats=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.own_statistics and not self.training:
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        return super().forward(x)


class Level(nn.Module):
    """A convolution and its norm.

    Args:
        conv: the convolution.
        normalise: False: the norm only stands there. The authors' networks own such norms in their first and last
            levels; they keep the checkpoints of both sides equal key by key, and the penalty counts the encoder's.
    """

    def __init__(self, conv: nn.Module, normalise: bool):
        super().__init__()
        self.conv = conv
        self.norm = ImageNorm(conv.out_channels)
        self.normalise = normalise

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.norm(x) if self.normalise else x


@MODELS.register_module()
class CENUNetGenerator(BaseModule):
    """U-Net with convolutions shared by the modalities, private norms, and exchange in the encoder.

    Alone it follows torch: in eval mode its norms use the running statistics. :class:`CENTranslation` sets what a
    test uses.

    Args:
        modalities: names of the modalities, in the order in which they are stacked.
        in_channels: of one modality.
        out_channels: of the image made.
        base_channels: of the first level; the next have 2, 4, 8, 8, .. times as many.
        num_levels: how often the encoder halves the image.
        threshold: the paper's theta.
        dropout_ratio: on the first three levels of the decoder.
        init_cfg: mmengine's.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        in_channels: int = 3,
        out_channels: int = 3,
        base_channels: int = 64,
        num_levels: int = 8,
        threshold: float = 1e-2,
        dropout_ratio: float = 0.5,
        init_cfg: dict = INIT_CFG,
    ):
        super().__init__(init_cfg)
        widths = [base_channels * min(2**i, 8) for i in range(num_levels)]
        last = num_levels - 1
        self.encoder = nn.ModuleList(
            Level(nn.Conv2d(before, width, 4, 2, 1), normalise=0 < i < last)
            for i, (before, width) in enumerate(zip([in_channels, *widths], widths))
        )
        befores = [widths[-1], *(2 * width for width in widths[-2::-1])]  # from the second on with a skip beside it
        self.decoder = nn.ModuleList(
            Level(nn.ConvTranspose2d(before, width, 4, 2, 1), normalise=i < last)
            for i, (before, width) in enumerate(zip(befores, [*widths[-2::-1], out_channels]))
        )
        self.dropout = nn.Dropout(dropout_ratio)
        self.ensemble = Ensemble(modalities)
        make_multimodal(self, modalities, exchange=r'^encoder', threshold=threshold)
        for level in (*self.encoder, *self.decoder):
            level.norm.idle = not level.normalise

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order in which they are stacked."""
        return self.ensemble.modalities

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Makes one image from each modality, and their ensemble.

        Args:
            inputs: in [-1, 1], modality-major, ``(M * B, 3, H, W)``.

        Returns:
            ``{'reshading': .., 'edge_texture': .., 'ensemble': ..}``, each ``(B, 3, H, W)`` in [-1, 1].

        Raises:
            ValueError: for a size that the levels do not divide.
        """
        height, width = inputs.shape[2:]
        factor = 2 ** len(self.encoder)
        if height % factor or width % factor:
            raise ValueError(
                f'An image of {height}x{width} pixels cannot be halved {len(self.encoder)} times: '
                f'crop or resize it to multiples of {factor}, or give the generator a smaller num_levels.'
            )
        x, skips = inputs, []
        for i, level in enumerate(self.encoder):
            if i:
                # The authors' LeakyReLU works in place, so the skip is its result and not the norm's.
                x = F.leaky_relu(x, 0.2)
                skips.append(x)
            x = level(x)  # (M * B, base * min(2**i, 8), H / 2**(i+1), W / 2**(i+1))
        for i, level in enumerate(self.decoder):
            if i:
                x = torch.cat([x, skips.pop()], dim=1)
            x = level(F.relu(x))
            if i < min(3, len(self.decoder) - 1):
                x = self.dropout(x)
        return self.ensemble(torch.tanh(x.to(inputs.dtype)))  # under AMP the images keep their full precision
