"""NYU Depth v2 in the layout of the authors' code."""

from pathlib import PurePosixPath
from typing import Iterable, Optional

from ..registry import DATASETS
from .files import read_list
from .multimodal import MultimodalDataset

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
class NYUDepthV2Dataset(MultimodalDataset):
    """Indoor scenes with RGB, depth, optional further modalities, and labels of 40 classes.

    Layout::

        data_root
        ├── train.txt, val.txt      rgb/000001.png<TAB>masks/000001.png<TAB>depth/000001.png
        ├── rgb/                    8-bit color
        ├── masks/                  8-bit, classes 0 to 39, 255 = unlabeled; may cover only the center of the image
        ├── depth/                  16-bit, same size as the RGB image, 0 = missing
        └── normal/, hha/, ..       any other modality, with the file names of depth

    The paths of RGB, depth and labels are those in the list file. Other modalities need a pattern, such as
    ``normal='normal/{}.png'``; ``{}`` stands for the name of the depth file. To use fewer classes, pass
    ``metainfo=dict(classes=['wall', ..])`` as in mmseg; all others become unlabeled.

    Args:
        modalities: settings of each modality, as in :class:`MultimodalDataset`.
        label: settings of the labels. None: the labels are not read.
        **kwargs: arguments of :class:`MultimodalDataset`.

    Raises:
        ValueError: if a line of the list file does not have three columns, or a modality has neither a column nor a
            path.
    """

    METAINFO = dict(classes=CLASSES, palette=voc_palette(len(CLASSES)))

    def __init__(self, modalities: dict, label: Optional[dict] = {}, **kwargs):  # noqa: B006
        super().__init__(modalities, label, **kwargs)

    def list_samples(self) -> Iterable[tuple[str, dict[str, str]]]:
        """Reads the list file."""
        for name, modality in self.modalities.items():
            if name not in ('rgb', 'depth') and '{}' not in modality.path:
                raise ValueError(
                    f'{type(self).__name__}.modalities.{name} has no path: give one, such as {name}='
                    f"'{name}/{{}}.png', because the list file names only RGB, label and depth."
                )
        samples = []
        for source, line in read_list(self.ann_file, type(self).__name__, self.backend_args):
            columns = [column.strip() for column in line.split('\t')]
            if len(columns) != 3:
                raise ValueError(
                    f'{source} has {len(columns)} columns instead of 3: write the paths of image, label and depth, '
                    'separated by tabs.'
                )
            listed = dict(zip(('rgb', 'label', 'depth'), columns))
            depth = PurePosixPath(listed['depth']).with_suffix('')
            name_in_folder = str(depth.relative_to(depth.parts[0]))
            paths = {
                name: modality.path.replace('{}', name_in_folder) if modality.path else listed[name]
                for name, modality in self.modalities.items()
            }
            if self.label:
                paths['label'] = self.label.path.replace('{}', name_in_folder) or listed['label']
            samples.append((source, paths))
        return samples
