"""Data sets and transforms. Importing it registers everything under the scope `cen_mm`."""

from .nyudv2 import NYUDepthV2Dataset
from .sunrgbd import SUNRGBDDataset
from .taskonomy import TaskonomyDataset
from .transforms import (
    AlignToLabel,
    CenterPad,
    CropImages,
    FlipImages,
    LoadDepth,
    LoadLabels,
    LoadModality,
    LoadTaskonomyImages,
    PackModalities,
    PackTranslation,
    RandomScale,
    ResizeImages,
)

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
