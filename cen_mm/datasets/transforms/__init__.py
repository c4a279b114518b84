from .geometry import AlignToLabel, CenterPad, RandomScale
from .loading import LoadDepth, LoadLabels
from .packing import PackModalities

__all__ = ['AlignToLabel', 'CenterPad', 'LoadDepth', 'LoadLabels', 'PackModalities', 'RandomScale']
