"""Data sets and transforms. Importing it registers everything under the scope `cen_mm`."""

from .nyudv2 import NYUDepthV2Dataset
from .sunrgbd import SUNRGBDDataset
from .transforms import AlignToLabel, CenterPad, LoadDepth, LoadLabels, PackModalities, RandomScale

__all__ = [
    'AlignToLabel',
    'CenterPad',
    'LoadDepth',
    'LoadLabels',
    'NYUDepthV2Dataset',
    'PackModalities',
    'RandomScale',
    'SUNRGBDDataset',
]
