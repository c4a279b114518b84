"""SUN RGB-D in NYUDv2's layout, as tools/dataset_converters/sunrgbd.py writes it."""

from ..registry import DATASETS
from .nyudv2 import NYUDepthV2Dataset, voc_palette

# The first 37 of NYUDv2's classes, under the names of the toolbox's seg37list.mat.
CLASSES = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf', 'picture', 'counter',
    'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow', 'mirror', 'floor_mat', 'clothes', 'ceiling', 'books',
    'fridge', 'tv', 'paper', 'towel', 'shower_curtain', 'box', 'whiteboard', 'person', 'night_stand', 'toilet', 'sink',
    'lamp', 'bathtub', 'bag',
)  # fmt: skip


@DATASETS.register_module()
class SUNRGBDDataset(NYUDepthV2Dataset):
    """RGB, depth and 37 classes of indoor scenes from four sensors, so of several sizes: 5285 and 5050 images.

    The layout is NYUDepthV2Dataset's, with ``rgb/000001.jpg`` in the lists.
    """

    METAINFO = dict(classes=CLASSES, palette=voc_palette(len(CLASSES)))
