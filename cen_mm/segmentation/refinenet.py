"""RefineNet's decoder, as the authors of CEN use it. It has no norm layers, so all modalities share all of it."""

from typing import Optional, Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..registry import MODELS
from .winograd import Conv3x3


class ResidualUnits(nn.Module):
    """Units of ReLU, conv, ReLU, conv, plus the unit's input after its ReLU (the authors' ReLU works in place)."""

    def __init__(self, channels: int, num_units: int):
        super().__init__()
        self.units = nn.ModuleList(
            nn.Sequential(Conv3x3(channels, channels, bias=True), nn.ReLU(inplace=True), Conv3x3(channels, channels))
            for _ in range(num_units)
        )

    def forward(self, x: Tensor) -> Tensor:
        for unit in self.units:
            x = F.relu(x)
            x = x + unit(x)
        return x


class ChainedResidualPooling(nn.Module):
    """Four times max-pool and conv, in a chain; every link is added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.convs = nn.ModuleList(Conv3x3(channels, channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        link = x
        for conv in self.convs:
            link = conv(F.max_pool2d(link, 5, stride=1, padding=2))
            x = x + link
        return x


class Level(nn.Module):
    """One level: reduce, adapt, join the level above, pool, output.

    Args:
        in_channels: of the backbone's map.
        channels: inside the level.
        out_channels: handed to the next level; None at the finest level, whose output is the neck's.
        joins: whether there is a level above.
    """

    def __init__(self, in_channels: int, channels: int, out_channels: Optional[int], joins: bool):
        super().__init__()
        self.reduce = Conv3x3(in_channels, channels)
        self.adapt = ResidualUnits(channels, 2)
        self.join = Conv3x3(channels, channels) if joins else None
        self.pool = ChainedResidualPooling(channels)
        self.output = ResidualUnits(channels, 3)
        self.pass_on = Conv3x3(channels, out_channels) if out_channels else nn.Identity()

    def forward(self, x: Tensor, above: Optional[Tensor]) -> Tensor:
        x = self.adapt(self.reduce(x))
        if self.join is not None:
            x = self.join(x) + F.interpolate(above, size=x.shape[2:], mode='bilinear', align_corners=True)
        return self.pass_on(self.output(self.pool(F.relu(x))))


@MODELS.register_module()
class RefineNetNeck(BaseModule):
    """From the backbone's four maps to one at 1/4 of the image's size.

    Args:
        in_channels: of the backbone's maps, finest first.
        channels: of the levels and the output.
        top_channels: of the coarsest level.
        dropout_ratio: on the two coarsest maps.
        init_cfg: mmengine's.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        channels: int = 256,
        top_channels: int = 512,
        dropout_ratio: float = 0.5,
        init_cfg: Optional[dict] = None,
    ):
        super().__init__(init_cfg)
        *lower, top = in_channels
        self.levels = nn.ModuleList([Level(top, top_channels, channels, joins=False)])
        for i, width in reversed(list(enumerate(lower))):
            self.levels.append(Level(width, channels, channels if i else None, joins=True))
        self.dropout = nn.Dropout(dropout_ratio)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        """Maps ``(N, C_i, H / 2**i, W / 2**i)``, finest first, to a tuple of one ``(N, channels, H, W)``."""
        x = None
        for i, (level, feature) in enumerate(zip(self.levels, reversed(features))):
            x = level(self.dropout(feature) if i < 2 else feature, x)
        return (x,)
