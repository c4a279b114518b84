"""Data sets and transforms. Importing this package registers them in the scope `cen_mm`."""

from .nyudv2 import NYUDepthV2Dataset
from .sunrgbd import SUNRGBDDataset
from .taskonomy import TaskonomyDataset
from .transforms.geometry import AlignToLabel, CenterPad, RandomScale
from .transforms.loading import LoadDepth, LoadLabels, LoadModality
from .transforms.packing import PackModalities
from .transforms.translation import CropImages, FlipImages, LoadTaskonomyImages, PackTranslation, ResizeImages

__all__ = [
    'AlignToLabel',
    'CenterPad',
    'CropImages',
    'FlipImages',
    'LoadDepth',
    'LoadLabels',
    'LoadModality',
    'LoadTaskonomyImages',
    'NYUDepthV2Dataset',
    'PackModalities',
    'PackTranslation',
    'RandomScale',
    'ResizeImages',
    'SUNRGBDDataset',
    'TaskonomyDataset',
]
