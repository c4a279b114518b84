"""Taskonomy: indoor scenes with one image for each of ten modalities."""

from typing import Sequence, Union

from mmengine import fileio

from ..registry import DATASETS
from .base import FileDataset
from .files import read_list

MODALITIES = (
    'rgb', 'normal', 'reshading', 'depth_euclidean', 'depth_zbuffer', 'principal_curvature', 'edge_occlusion',
    'edge_texture', 'segment_unsup2d', 'segment_unsup25d',
)  # fmt: skip
"""Modality names in the order of the authors' numbers, from 0."""

DEPTH_SCALE = 512  # depth units per meter
DEPTH_MISSING = 65535  # value of a pixel without depth
EDGE_MAX = {'edge_occlusion': 11584, 'edge_texture': 11355}  # largest value of each edge modality


def modality_name(modality: Union[str, int]) -> str:
    """Returns the name of a modality, given by name or by the authors' number, 0 to 9.

    Raises:
        ValueError: for any other name or number.
    """
    if modality in MODALITIES:
        return modality
    if modality in range(len(MODALITIES)):
        return MODALITIES[modality]
    known = ', '.join(f'{number} {name}' for number, name in enumerate(MODALITIES))
    raise ValueError(f'Taskonomy has no modality {modality!r}: choose one of {known}, by number or name.')


@DATASETS.register_module()
class TaskonomyDataset(FileDataset):
    """Image translation samples: images of the input modalities and an image of the target modality.

    Layout::

        data_root
        ├── train_domain.txt, test_domain.txt   {domain}/point_407_view_2_domain_{domain}.png
        └── rgb/, normal/, reshading/, ..       one folder per modality

    Each line of a list file is a path in which the placeholder ``{domain}`` stands for the modality's name.

    Args:
        ann_file: list file, relative to ``data_root``. Empty: all PNG files in the folder of the first input modality
            and its subfolders. If such a file name ends with the modality's name, the files of the other modalities
            end with theirs; otherwise all modalities have the same file name.
        inputs: input modalities, by name or by the authors' number, in the order of the network's branches.
        target: target modality, by name or by the authors' number.
        **kwargs: arguments of mmengine's BaseDataset; ``skip_bad_files`` and ``allow_outside_data_root`` of
            :class:`~cen_mm.datasets.base.FileDataset`.

    Raises:
        FileNotFoundError: if the list file, a folder or an image does not exist.
        ValueError: if a modality is unknown, ``inputs`` is empty or has duplicates, a line lacks the placeholder, or
            the list file or folder is empty.
    """

    def __init__(
        self,
        ann_file: str = '',
        inputs: Sequence[Union[str, int]] = ('reshading', 'edge_texture'),
        target: Union[str, int] = 'rgb',
        **kwargs,
    ):
        self.inputs = [modality_name(modality) for modality in inputs]
        self.target = modality_name(target)
        if not self.inputs or len(set(self.inputs)) < len(self.inputs):
            raise ValueError(
                f'TaskonomyDataset.inputs is {list(inputs)}: give at least one modality, without duplicates.'
            )
        super().__init__(ann_file=ann_file, **kwargs)
        self._metainfo.update(modalities=tuple(self.inputs), target=self.target)

    def load_data_list(self) -> list[dict]:
        """Reads the list file or scans the folder.

        Returns:
            One dict per sample with ``modality_paths`` {name: path}, in the order of ``inputs``, ``target`` and
            ``target_path``.
        """
        data_list, files = [], []
        for source, line in self._read_list() if self.ann_file else self._scan_folder():
            paths = {name: self._path(line.replace('{domain}', name)) for name in [*self.inputs, self.target]}
            files += [(path, f'{line} in {source}') for path in paths.values()]
            modality_paths = {name: paths[name] for name in self.inputs}
            data_list.append(dict(modality_paths=modality_paths, target=self.target, target_path=paths[self.target]))
        if not data_list:
            raise ValueError(
                f'{self.ann_file or self._path(self.inputs[0])} contains no images: write one path per line, such as '
                '{domain}/point_0_view_0_domain_{domain}.png, or, without a list file, put PNG files into the folder.'
            )
        self.check_files(files)
        return data_list

    def _path(self, name: str) -> str:
        return fileio.join_path(self.data_root or '', name)

    def _read_list(self) -> list[tuple[str, str]]:
        """Returns the location (file and line number) and the text of each line of the list file."""
        lines = read_list(self.ann_file, type(self).__name__)
        for source, line in lines:
            if '{domain}' not in line:
                raise ValueError(
                    f"{source} is {line!r}, without a placeholder: write {{domain}} in place of the modality's name."
                )
        return lines

    def _scan_folder(self) -> list[tuple[str, str]]:
        """Returns the first input modality's folder and, as a line of a list file, the path of each file in it."""
        first = self.inputs[0]
        folder = self._path(first)
        if not fileio.isdir(folder):
            raise FileNotFoundError(
                f'The folder {folder} does not exist: set data_root to the folder that has one folder per modality.'
            )
        files = sorted(fileio.list_dir_or_file(folder, list_dir=False, suffix='.png', recursive=True))
        ending = f'{first}.png'
        names = [file[: -len(ending)] + '{domain}.png' if file.endswith(ending) else file for file in files]
        return [(folder, '{domain}/' + name) for name in names]
