from .geometry import AlignToLabel, CenterPad, RandomScale
from .loading import LoadDepth, LoadLabels, LoadModality
from .packing import PackModalities
from .translation import CropImages, FlipImages, LoadTaskonomyImages, PackTranslation, ResizeImages

__all__ = [
    'AlignToLabel',
    'CenterPad',
    'CropImages',
    'FlipImages',
    'LoadDepth',
    'LoadLabels',
    'LoadModality',
    'LoadTaskonomyImages',
    'PackModalities',
    'PackTranslation',
    'RandomScale',
    'ResizeImages',
]
