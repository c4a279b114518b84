"""The generator: a U-Net whose encoder exchanges channels between the modalities."""

from typing import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..exchange import Ensemble, make_multimodal
from ..registry import MODELS

# The authors' initialization. Their instance norms start with scale 1 and shift 0, as in torch.
INIT_CFG = dict(type='Normal', layer=['Conv2d', 'ConvTranspose2d'], std=0.02)


class BatchStatsInstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm with optional batch statistics in eval mode, as in the authors' evaluation.

    Batch statistics are the mean and variance of each image. torch's instance norm with running statistics uses them
    in training mode only, where it also updates the running statistics.
    """

    batch_stats_in_eval = False

    def __init__(self, channels: int):
        super().__init__(channels, affine=True, track_running_stats=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.batch_stats_in_eval and not self.training:
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        return super().forward(x)


class ConvNorm(nn.Module):
    """Convolution with instance norm.

    Args:
        conv: the convolution.
        normalize: whether to apply the norm. The authors' networks have unused norms in their first and last layers.
            They are kept so that checkpoints convert key by key. The sparsity penalty includes those of the encoder.
    """

    def __init__(self, conv: nn.Module, normalize: bool):
        super().__init__()
        self.conv = conv
        self.norm = BatchStatsInstanceNorm2d(conv.out_channels)
        self.normalize = normalize

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.norm(x) if self.normalize else x


@MODELS.register_module()
class CENUNetGenerator(BaseModule):
    """U-Net with convolutions shared by the modalities, per-modality norms, and channel exchange in the encoder.

    In eval mode, the norms use the running statistics, unless ``batch_stats_in_eval`` is set, as
    :class:`CENTranslation` does.

    Args:
        modalities: names of the modalities, in the order in which they are stacked.
        base_channels: channels of the first encoder layer; the next ones have 2, 4, 8, 8, ... times as many.
        num_levels: number of encoder layers; each halves height and width.
        threshold: channels whose scale is below it are replaced (theta in the paper).
        dropout_ratio: dropout probability after the first three decoder layers.
        init_cfg: initialization config of mmengine.
    """

    def __init__(
        self,
        modalities: Sequence[str],
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
            ConvNorm(nn.Conv2d(in_width, width, 4, 2, 1), normalize=0 < i < last)
            for i, (in_width, width) in enumerate(zip([3, *widths], widths))
        )
        # All decoder layers but the first also receive a skip connection.
        in_widths = [widths[-1], *(2 * width for width in widths[-2::-1])]
        self.decoder = nn.ModuleList(
            ConvNorm(nn.ConvTranspose2d(in_width, width, 4, 2, 1), normalize=i < last)
            for i, (in_width, width) in enumerate(zip(in_widths, [*widths[-2::-1], 3]))
        )
        self.dropout = nn.Dropout(dropout_ratio)
        self.ensemble = Ensemble(modalities)
        make_multimodal(self, modalities, exchange=r'^encoder', threshold=threshold)
        for layer in (*self.encoder, *self.decoder):
            layer.norm.unused = not layer.normalize

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order in which they are stacked."""
        return self.ensemble.modalities

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Generates one image per modality, and their ensemble.

        Args:
            inputs: stacked images in [-1, 1], modality-major, ``(M * B, 3, H, W)``.

        Returns:
            ``{'reshading': .., 'edge_texture': .., 'ensemble': ..}``, each ``(B, 3, H, W)`` in [-1, 1].

        Raises:
            ValueError: if the height or width is not a multiple of ``2 ** num_levels``.
        """
        height, width = inputs.shape[2:]
        factor = 2 ** len(self.encoder)
        if height % factor or width % factor:
            raise ValueError(
                f'The height and width of the images, {height}x{width}, must be multiples of {factor}: '
                f'crop or resize them, or reduce generator.num_levels={len(self.encoder)}.'
            )
        x, skips = inputs, []
        for i, layer in enumerate(self.encoder):
            if i:
                # The authors' LeakyReLU works in place, so the skip connection carries its output.
                x = F.leaky_relu(x, 0.2)
                skips.append(x)
            x = layer(x)  # (M * B, base * min(2**i, 8), H / 2**(i+1), W / 2**(i+1))
        for i, layer in enumerate(self.decoder):
            if i:
                x = torch.cat([x, skips.pop()], dim=1)
            x = layer(F.relu(x))
            if i < min(3, len(self.decoder) - 1):
                x = self.dropout(x)
        return self.ensemble(torch.tanh(x.to(inputs.dtype)))  # images keep full precision under AMP
