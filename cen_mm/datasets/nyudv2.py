"""NYU Depth v2 in the layout of the authors' code."""

from typing import Sequence

from mmengine import fileio
from mmseg.datasets import BaseSegDataset

from ..registry import DATASETS
from .transforms.shared_geometry import check_pipeline

CLASSES = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf', 'picture', 'counter',
    'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow', 'mirror', 'floor mat', 'clothes', 'ceiling', 'books',
    'refrigerator', 'television', 'paper', 'towel', 'shower curtain', 'box', 'whiteboard', 'person', 'night stand',
    'toilet', 'sink', 'lamp', 'bathtub', 'bag', 'otherstructure', 'otherfurniture', 'otherprop',
)  # fmt: skip
DEPTH_SCALE = 5000  # depth units per meter in the 16-bit files of the authors


def format_line(rgb: str, label: str, depth: str) -> str:
    """Formats one line of a list file: the paths of an image's three files, relative to ``data_root``."""
    return f'{rgb}\t{label}\t{depth}\n'


def voc_palette(num_colors: int) -> list[list[int]]:
    """Computes the PASCAL VOC palette from color 1 on: the bits of the index are spread over red, green and blue."""
    return [
        [sum(((i >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]
        for i in range(1, num_colors + 1)
    ]


@DATASETS.register_module()
class NYUDepthV2Dataset(BaseSegDataset):
    """Indoor scenes with RGB, depth, optional further modalities, and labels of 40 classes.

    Layout::

        data_root
        ├── train.txt, val.txt      rgb/000001.png<TAB>masks/000001.png<TAB>depth/000001.png
        ├── rgb/                    8-bit color
        ├── masks/                  8-bit, classes 0 to 39, 255 = unlabeled; may cover only the center of the image
        ├── depth/                  16-bit, same size as the RGB image, 0 = missing
        └── normal/, reshading/, ..  any other modality: 8-bit, same size as the RGB image, same file names as depth

    To use fewer classes, pass ``metainfo=dict(classes=['wall', ..])`` as in mmseg; all others become unlabeled.

    Args:
        modalities: modalities to load: ``rgb``, ``depth`` or the name of another modality's folder. Files of other
            modalities are never read and need not exist.
        **kwargs: arguments of mmseg's BaseSegDataset.

    Raises:
        FileNotFoundError: if the list file or a file listed in it does not exist.
        ValueError: if the pipeline contains a transform that does not move all modalities, if a line of the list file
            does not have three columns, or if ``modalities`` is a string, is empty
            or has duplicates.
    """

    METAINFO = dict(classes=CLASSES, palette=voc_palette(len(CLASSES)))

    def __init__(self, modalities: Sequence[str] = ('rgb', 'depth'), **kwargs):
        if isinstance(modalities, str) or not modalities or len(set(modalities)) < len(modalities):
            raise ValueError(
                f'{type(self).__name__}.modalities is {modalities!r}: '
                'give a list of at least one modality, without duplicates.'
            )
        self.modalities = tuple(modalities)
        super().__init__(**kwargs)
        if self.modalities != ('rgb',):
            check_pipeline(self.pipeline.transforms)

    def load_data_list(self) -> list[dict]:
        """Reads the list file.

        Returns:
            One dict per line: ``img_path``, ``modality_paths`` {name: path}, ``seg_map_path`` and mmseg's keys.
            ``img_path`` is the RGB file or, without RGB, the file of the first modality: mmseg's pipelines start from
            an image. In the second case, it only provides the image size and is not packed.
        """
        if not fileio.exists(self.ann_file, backend_args=self.backend_args):
            raise FileNotFoundError(
                f'The list file {self.ann_file} does not exist: set data_root to the folder of '
                f'{type(self).__name__} and ann_file to its list file.'
            )
        data_list = []
        lines = fileio.get_text(self.ann_file, backend_args=self.backend_args).splitlines()
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            columns = line.strip().split('\t')
            if len(columns) != 3:
                raise ValueError(
                    f'{self.ann_file}, line {number} has {len(columns)} columns instead of 3: write '
                    'the paths of image, label and depth, separated by tabs.'
                )
            image, label, depth = (column.strip() for column in columns)
            listed, file_name = dict(rgb=image, depth=depth), depth.partition('/')[2]
            paths = {name: self._path(listed.get(name, f'{name}/{file_name}')) for name in self.modalities}
            label = self._path(label)
            for path in (*paths.values(), label):
                if not fileio.exists(path, backend_args=self.backend_args):
                    raise FileNotFoundError(
                        f'{path}, required by {self.ann_file}, line {number}, does not exist: add the file or remove '
                        'the line.'
                    )
            data_list.append(
                dict(
                    img_path=paths.get('rgb', next(iter(paths.values()))),
                    modality_paths=paths,
                    seg_map_path=label,
                    num_classes=len(self.metainfo['classes']),
                    label_map=self.label_map,
                    reduce_zero_label=self.reduce_zero_label,
                    ignore_index=self.ignore_index,
                    seg_fields=[],
                )
            )
        return data_list

    def _path(self, name: str) -> str:
        return fileio.join_path(self.data_root or '', name)
