"""The RefineNet decoder in the version of CEN's authors. It has no norm layers, so the modalities share all of it."""

from typing import Optional, Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_conv_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..checkpoint import rename_on_load
from ..registry import MODELS


def conv3x3(in_channels: int, out_channels: int, conv_cfg: Optional[dict], bias: bool = False) -> nn.Module:
    """A 3x3 convolution with stride 1 and padding 1, of the layer type in ``conv_cfg``."""
    return build_conv_layer(conv_cfg, in_channels, out_channels, 3, padding=1, bias=bias)


class ResidualConvUnits(nn.Module):
    """Residual units of ReLU, convolution, ReLU, convolution: ``(N, C, H, W)`` to the same shape.

    The shortcut carries the input after its ReLU, because the authors' ReLU works in place.

    Args:
        channels: C.
        num_units: number of units.
        conv_cfg: config of the convolution layers.
    """

    def __init__(self, channels: int, num_units: int, conv_cfg: Optional[dict]):
        super().__init__()
        self.units = nn.ModuleList(
            nn.Sequential(
                conv3x3(channels, channels, conv_cfg, bias=True),
                nn.ReLU(inplace=True),
                conv3x3(channels, channels, conv_cfg),
            )
            for _ in range(num_units)
        )

    def forward(self, x: Tensor) -> Tensor:
        for unit in self.units:
            x = F.relu(x)
            x = x + unit(x)
        return x


class ChainedResidualPooling(nn.Module):
    """A chain of four blocks of max-pooling and convolution. The output of every block is added to the input.

    Args:
        channels: C; input and output are ``(N, C, H, W)``.
        conv_cfg: config of the convolution layers.
    """

    def __init__(self, channels: int, conv_cfg: Optional[dict]):
        super().__init__()
        self.convs = nn.ModuleList(conv3x3(channels, channels, conv_cfg) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        path = x
        for conv in self.convs:
            path = conv(F.max_pool2d(path, 5, stride=1, padding=2))
            x = x + path
        return x


class RefineBlock(nn.Module):
    """Refines one map of the backbone with the output of the next coarser block.

    Args:
        in_channels: channels of the backbone's map.
        channels: channels inside the block.
        out_channels: channels of the output. None: ``channels``, without output convolution (the finest block).
        has_coarser: whether there is a coarser block to fuse with.
        conv_cfg: config of the convolution layers.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: Optional[int],
        has_coarser: bool,
        conv_cfg: Optional[dict],
    ):
        super().__init__()
        self.reduce_conv = conv3x3(in_channels, channels, conv_cfg)
        self.input_units = ResidualConvUnits(channels, 2, conv_cfg)
        self.fusion_conv = conv3x3(channels, channels, conv_cfg) if has_coarser else None
        self.pool = ChainedResidualPooling(channels, conv_cfg)
        self.output_units = ResidualConvUnits(channels, 3, conv_cfg)
        self.output_conv = conv3x3(channels, out_channels, conv_cfg) if out_channels else nn.Identity()

    def forward(self, x: Tensor, coarser: Optional[Tensor]) -> Tensor:
        """Runs the block.

        Args:
            x: map of the backbone, ``(N, in_channels, H, W)``.
            coarser: output of the next coarser block, ``(N, channels, h, w)``; None for the coarsest block.

        Returns:
            ``(N, out_channels, H, W)``.
        """
        x = self.input_units(self.reduce_conv(x))
        if self.fusion_conv is not None:
            x = self.fusion_conv(x)
            coarser = F.interpolate(coarser, size=x.shape[2:], mode='bilinear', align_corners=True)
            if x.dtype == torch.bfloat16:  # CUDA's autocast interpolates in float32, and float32 it would remain
                coarser = coarser.to(x.dtype)
            x = x + coarser
        return self.output_conv(self.output_units(self.pool(F.relu(x))))


@MODELS.register_module()
class RefineNetNeck(BaseModule):
    """RefineNet as a neck: fuses the four maps of a backbone into one map at the finest scale.

    Args:
        in_channels: channels of the backbone's maps, finest first.
        channels: channels of the blocks and of the output.
        top_channels: channels of the coarsest block.
        dropout_ratio: dropout on the two coarsest maps.
        conv_cfg: config of the convolution layers, such as ``dict(type='cen_mm.WinogradConv2d')``. None:
            ``nn.Conv2d``.
        init_cfg: initialization config of mmengine.
    """

    num_maps = 1

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        channels: int = 256,
        top_channels: int = 512,
        dropout_ratio: float = 0.5,
        conv_cfg: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ):
        super().__init__(init_cfg)
        *finer, coarsest = in_channels
        self.blocks = nn.ModuleList([RefineBlock(coarsest, top_channels, channels, False, conv_cfg)])
        for i, width in reversed(list(enumerate(finer))):
            self.blocks.append(RefineBlock(width, channels, channels if i else None, True, conv_cfg))
        self.dropout = nn.Dropout(dropout_ratio)
        # Names in checkpoints of version 0.1
        names = dict(reduce='reduce_conv', adapt='input_units', join='fusion_conv', pool='pool')
        names.update(output='output_units', pass_on='output_conv')
        rename_on_load(self, {rf'^levels\.(\d)\.{old}\.': rf'blocks.\1.{new}.' for old, new in names.items()})

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        """Fuses the maps.

        Args:
            features: maps of the backbone, finest first, each ``(N, C_i, H / 2**i, W / 2**i)``.

        Returns:
            A tuple of one map, ``(N, channels, H, W)``.
        """
        x = None
        for i, (block, feature) in enumerate(zip(self.blocks, reversed(features))):
            x = block(self.dropout(feature) if i < 2 else feature, x)
        return (x,)
