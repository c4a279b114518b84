"""Data sets and transforms. Importing this package registers them in the scope `cen_mm`."""

from .multimodal import MultimodalDataset
from .nyudv2 import NYUDepthV2Dataset
from .sunrgbd import SUNRGBDDataset
from .taskonomy import TaskonomyDataset
from .transforms.geometry import CenterPad, RandomScale
from .transforms.loading import LoadLabels, LoadModalities
from .transforms.packing import PackModalities
from .transforms.translation import CropImages, FlipImages, LoadTaskonomyImages, PackTranslation, ResizeImages

__all__ = [
    'CenterPad',
    'CropImages',
    'FlipImages',
    'LoadLabels',
    'LoadModalities',
    'LoadTaskonomyImages',
    'MultimodalDataset',
    'NYUDepthV2Dataset',
    'PackModalities',
    'PackTranslation',
    'RandomScale',
    'ResizeImages',
    'SUNRGBDDataset',
    'TaskonomyDataset',
]
