"""SUN RGB-D in NYUDv2's layout, as written by tools/dataset_converters/sunrgbd.py."""

from ..registry import DATASETS
from .nyudv2 import NYUDepthV2Dataset, voc_palette

# The first 37 classes of NYUDv2, with the names in the toolbox's seg37list.mat.
CLASSES = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf', 'picture', 'counter',
    'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow', 'mirror', 'floor_mat', 'clothes', 'ceiling', 'books',
    'fridge', 'tv', 'paper', 'towel', 'shower_curtain', 'box', 'whiteboard', 'person', 'night_stand', 'toilet', 'sink',
    'lamp', 'bathtub', 'bag',
)  # fmt: skip


@DATASETS.register_module()
class SUNRGBDDataset(NYUDepthV2Dataset):
    """Indoor scenes with RGB, depth and labels of 37 classes: 5285 training and 5050 test images.

    The images come from four sensors and differ in size. The layout is that of NYUDepthV2Dataset, with JPEG files as
    RGB images: ``rgb/000001.jpg``.
    """

    METAINFO = dict(classes=CLASSES, palette=voc_palette(len(CLASSES)))
