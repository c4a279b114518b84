from .geometry import AlignToLabel, CenterPad, RandomScale
from .loading import LoadDepth, LoadLabels
from .packing import PackModalities
from .translation import CropImages, FlipImages, LoadTaskonomyImages, PackTranslation, ResizeImages

__all__ = [
    'AlignToLabel',
    'CenterPad',
    'CropImages',
    'FlipImages',
    'LoadDepth',
    'LoadLabels',
    'LoadTaskonomyImages',
    'PackModalities',
    'PackTranslation',
    'RandomScale',
    'ResizeImages',
]
