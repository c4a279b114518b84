"""Conversion of modalities with other than three channels to the three channels of the shared network."""

from typing import Sequence

import torch
from torch import Tensor, nn


class ChannelAdapter(nn.Module):
    """Converts each modality with other than three channels to three, by a 1x1 convolution of its own.

    Args:
        channels: number of channels of each modality, in the order of the modalities.
    """

    def __init__(self, channels: dict[str, int]):
        super().__init__()
        self.channels = channels
        self.convs = nn.ModuleDict({name: nn.Conv2d(n, 3, 1) for name, n in channels.items() if n != 3})

    def forward(self, inputs: Tensor, modalities: Sequence[str]) -> Tensor:
        """Converts the inputs.

        Args:
            inputs: the images of ``modalities``, ``(B, C_1 + .. + C_P, H, W)``.
            modalities: names of the P modalities in ``inputs``, in their order.

        Returns:
            ``(B, 3P, H, W)``.

        Raises:
            ValueError: if the number of channels does not match.
        """
        if not any(name in self.convs for name in modalities):
            return inputs
        sizes = [self.channels[name] for name in modalities]
        if inputs.shape[1] != sum(sizes):
            raise ValueError(
                f'The input has {inputs.shape[1]} channels, but {", ".join(modalities)} have '
                f'{" + ".join(map(str, sizes))}: pass the channels of these modalities, in this order.'
            )
        parts = zip(modalities, inputs.split(sizes, dim=1))
        return torch.cat([self.convs[name](x) if name in self.convs else x for name, x in parts], dim=1)
