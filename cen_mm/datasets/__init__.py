"""Data sets and transforms. Importing this package registers them in the scope `cen_mm`."""

from .multimodal import MultimodalDataset
from .nyudv2 import NYUDepthV2Dataset
from .paired import PairedImageDataset
from .sunrgbd import SUNRGBDDataset
from .taskonomy import TaskonomyDataset
from .transforms.geometry import CenterPad, RandomScale
from .transforms.loading import LoadLabels, LoadModalities
from .transforms.packing import PackModalities, PackTranslation
from .transforms.paired import LoadPairedImages
from .transforms.stretch import StretchModality
from .transforms.taskonomy import LoadTaskonomyImages
from .transforms.translation import CropImages, FlipImages, ResizeImages

__all__ = [
    'CenterPad',
    'CropImages',
    'FlipImages',
    'LoadLabels',
    'LoadModalities',
    'LoadPairedImages',
    'LoadTaskonomyImages',
    'MultimodalDataset',
    'NYUDepthV2Dataset',
    'PackModalities',
    'PackTranslation',
    'PairedImageDataset',
    'RandomScale',
    'ResizeImages',
    'SUNRGBDDataset',
    'StretchModality',
    'TaskonomyDataset',
]
