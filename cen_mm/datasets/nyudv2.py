"""NYU Depth v2 in the layout of the authors' code."""

from typing import Sequence

from mmengine import fileio
from mmseg.datasets import BaseSegDataset

from ..registry import DATASETS

CLASSES = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf', 'picture', 'counter',
    'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow', 'mirror', 'floor mat', 'clothes', 'ceiling', 'books',
    'refrigerator', 'television', 'paper', 'towel', 'shower curtain', 'box', 'whiteboard', 'person', 'night stand',
    'toilet', 'sink', 'lamp', 'bathtub', 'bag', 'otherstructure', 'otherfurniture', 'otherprop',
)  # fmt: skip


def voc_palette(num_colors: int) -> list[list[int]]:
    """The colours of PASCAL VOC from 1 on: the bits of the index, spread over red, green and blue."""
    return [
        [sum(((i >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]
        for i in range(1, num_colors + 1)
    ]


@DATASETS.register_module()
class NYUDepthV2Dataset(BaseSegDataset):
    """RGB, depth, other modalities if there are any, and 40 classes of indoor scenes.

    Layout::

        data_root
        ├── train.txt, val.txt      rgb/000001.png<TAB>masks/000001.png<TAB>depth/000001.png
        ├── rgb/                    8-bit colour
        ├── masks/                  8-bit, class 0 to 39, 255 unlabelled; may be smaller than the image: its centre
        ├── depth/                  16-bit, of the image's size, 0 missing
        └── normal/, reshading/, ..  any other modality: 8-bit, of the image's size, under the depth file's name

    Fewer classes are chosen as in mmseg, ``metainfo=dict(classes=['wall', ..])``; the others become unlabelled.

    Args:
        modalities: ``rgb``, ``depth`` or the name of another modality's folder. The files of those that are not
            named are never touched, so they need not exist.
        **kwargs: of mmseg's BaseSegDataset.

    Raises:
        FileNotFoundError: for a list or an image that does not exist.
        ValueError: for a line of a list that has not three columns, or no modality, or one that is named twice.
    """

    METAINFO = dict(classes=CLASSES, palette=voc_palette(len(CLASSES)))

    def __init__(self, modalities: Sequence[str] = ('rgb', 'depth'), **kwargs):
        if isinstance(modalities, str) or not modalities or len(set(modalities)) < len(modalities):
            raise ValueError(
                f'{type(self).__name__}.modalities is {modalities!r}: '
                'give a list that names at least one modality, and each of them once.'
            )
        self.modalities = tuple(modalities)
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """One dict a line of the list: ``img_path``, ``modality_paths``, ``seg_map_path`` and mmseg's keys.

        ``img_path`` is the RGB file's or, without RGB, that of the first modality: mmseg's pipelines start from an
        image, which then tells the size and is not packed.
        """
        if not fileio.exists(self.ann_file, backend_args=self.backend_args):
            raise FileNotFoundError(
                f'The list {self.ann_file} does not exist: set data_root to the folder of '
                f'{type(self).__name__} and ann_file to its list.'
            )
        data_list = []
        lines = fileio.get_text(self.ann_file, backend_args=self.backend_args).splitlines()
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            columns = line.strip().split('\t')
            if len(columns) != 3:
                raise ValueError(
                    f'{self.ann_file}, line {number} has {len(columns)} columns: write '
                    'the files of image, label and depth, separated by tabs.'
                )
            image, label, depth = (column.strip() for column in columns)
            named, file = dict(rgb=image, depth=depth), depth.partition('/')[2]
            paths = {name: self._path(named.get(name, f'{name}/{file}')) for name in self.modalities}
            label = self._path(label)
            for path in (*paths.values(), label):
                if not fileio.exists(path, backend_args=self.backend_args):
                    raise FileNotFoundError(
                        f'{path}, named in {self.ann_file}, line {number}, does not exist: add it, or drop the line.'
                    )
            data_list.append(
                dict(
                    img_path=paths.get('rgb', next(iter(paths.values()))),
                    modality_paths=paths,
                    seg_map_path=label,
                    num_classes=len(self.metainfo['classes']),
                    label_map=self.label_map,
                    reduce_zero_label=self.reduce_zero_label,
                    seg_fields=[],
                )
            )
        return data_list

    def _path(self, name: str) -> str:
        return fileio.join_path(self.data_root or '', name)
