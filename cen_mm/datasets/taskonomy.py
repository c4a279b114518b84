"""Taskonomy: ten views of the same indoor scenes, one picture a modality."""

from typing import Sequence, Union

from mmengine import fileio
from mmengine.dataset import BaseDataset

from ..registry import DATASETS

MODALITIES = (
    'rgb', 'normal', 'reshading', 'depth_euclidean', 'depth_zbuffer', 'principal_curvature', 'edge_occlusion',
    'edge_texture', 'segment_unsup2d', 'segment_unsup25d',
)  # fmt: skip
"""The authors number them in this order, from 0."""


def modality_name(modality: Union[str, int]) -> str:
    """The name of a modality that is given by its name or by the authors' number, 0 to 9."""
    if modality in MODALITIES:
        return modality
    if modality in range(len(MODALITIES)):
        return MODALITIES[modality]
    known = ', '.join(f'{number} {name}' for number, name in enumerate(MODALITIES))
    raise ValueError(f'Taskonomy has no modality {modality!r}: name one of {known}.')


@DATASETS.register_module()
class TaskonomyDataset(BaseDataset):
    """Pictures of some modalities, and the one that is to be made of them.

    Layout::

        data_root
        ├── train_domain.txt, test_domain.txt   {domain}/point_407_view_2_domain_{domain}.png
        └── rgb/, normal/, reshading/, ..       one folder a modality

    Each line of a list holds the placeholder ``{domain}`` wherever the modality's name stands in a path.

    Args:
        ann_file: the list, under ``data_root``. Empty: all PNG files in the folder of the first input; where such a
            file's name ends in the modality, so do the names of its fellows, else all have the same name.
        inputs: modalities to start from, by name or by the authors' number, in the order of the network's branches.
        target: modality to make, by name or number.
        options: of mmengine's BaseDataset.

    Raises:
        FileNotFoundError: for a list, a folder or a picture that does not exist.
        ValueError: for an unknown or repeated modality, a line without placeholder, an empty list or folder.
    """

    def __init__(
        self,
        ann_file: str = '',
        inputs: Sequence[Union[str, int]] = ('reshading', 'edge_texture'),
        target: Union[str, int] = 'rgb',
        **options,
    ):
        self.inputs = [modality_name(modality) for modality in inputs]
        self.target = modality_name(target)
        if not self.inputs or len(set(self.inputs)) < len(self.inputs):
            raise ValueError(
                f'TaskonomyDataset.inputs is {list(inputs)}: name at least one modality, and each of them once.'
            )
        super().__init__(ann_file=ann_file, **options)
        self._metainfo.update(modalities=tuple(self.inputs), target=self.target)

    def load_data_list(self) -> list[dict]:
        """One dict a sample: ``modality_paths`` {name: path} in the order of ``inputs``, ``target`` and its path."""
        data_list = []
        for source, line in self._lines_of_list() if self.ann_file else self._files_of_folder():
            paths = {name: self._path(line.replace('{domain}', name)) for name in [*self.inputs, self.target]}
            for path in paths.values():
                if not fileio.exists(path):
                    raise FileNotFoundError(f'{path}, named in {source}, does not exist: add it, or drop {line}.')
            modality_paths = {name: paths[name] for name in self.inputs}
            data_list.append(dict(modality_paths=modality_paths, target=self.target, target_path=paths[self.target]))
        if not data_list:
            raise ValueError(
                f'{self.ann_file or self._path(self.inputs[0])} names no picture: write one path a line, as '
                '{domain}/point_0_view_0_domain_{domain}.png, or, without a list, put PNG files into the folder.'
            )
        return data_list

    def _path(self, name: str) -> str:
        return fileio.join_path(self.data_root or '', name)

    def _lines_of_list(self) -> list[tuple[str, str]]:
        """Each line with the place it has."""
        if not fileio.exists(self.ann_file):
            raise FileNotFoundError(
                f'The list {self.ann_file} does not exist: set data_root to the folder of Taskonomy and ann_file to '
                "its list, or to '' for all files of a folder."
            )
        lines = []
        for number, line in enumerate(fileio.get_text(self.ann_file).splitlines(), start=1):
            source, line = f'{self.ann_file}, line {number}', line.strip()
            if line and '{domain}' not in line:
                raise ValueError(
                    f'{source} is {line!r}, without a placeholder: write {{domain}} in place of the modality.'
                )
            if line:
                lines.append((source, line))
        return lines

    def _files_of_folder(self) -> list[tuple[str, str]]:
        """Each file of the first input's folder, as a line of a list, with the folder."""
        first = self.inputs[0]
        folder = self._path(first)
        if not fileio.isdir(folder):
            raise FileNotFoundError(
                f'The folder {folder} does not exist: set data_root to the folder that holds one folder a modality.'
            )
        files = sorted(fileio.list_dir_or_file(folder, list_dir=False, suffix='.png', recursive=True))
        ending = f'{first}.png'
        names = [file[: -len(ending)] + '{domain}.png' if file.endswith(ending) else file for file in files]
        return [(folder, '{domain}/' + name) for name in names]
