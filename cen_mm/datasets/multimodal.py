"""Data sets with any modalities, given by path patterns."""

import re
from typing import Iterable, Optional, Union

from mmengine import fileio
from mmseg.datasets import BaseSegDataset

from ..registry import DATASETS
from .base import FileDataset
from .files import list_samples
from .modality import Modality
from .transforms.shared_geometry import check_pipeline

# Names that the pipelines use for other things
RESERVED = (
    'label', 'img', 'img_path', 'img_shape', 'ori_shape', 'pad_shape', 'gt_seg_map', 'seg_map_path', 'seg_fields',
    'sample_idx', 'scale', 'scale_factor', 'keep_ratio', 'flip', 'flip_direction', 'modality_paths',
    'modality_settings', 'modality_fields', 'label_settings', 'label_map', 'file_label_map', 'num_classes',
    'reduce_zero_label', 'ignore_index',
)  # fmt: skip
LABEL_SETTINGS = ('path', 'channels', 'max_pixels')


@DATASETS.register_module()
class MultimodalDataset(FileDataset, BaseSegDataset):
    """Semantic segmentation samples with one file per modality, and a label file.

    Example::

        dict(
            type='cen_mm.MultimodalDataset',
            data_root='data/street',
            ann_file='train.txt',  # one name per line: 00001D
            modalities=dict(rgb='rgb/{}.jpg', thermal=dict(path='thermal/{}.png', dtype='uint16')),
            label='labels/{}.png',
            metainfo=dict(classes=['road', 'car'], palette=[[128, 64, 128], [0, 0, 142]]),
        )

    Args:
        modalities: for each modality its path pattern, or the settings of
            :class:`~cen_mm.datasets.modality.Modality`. ``{}`` stands for the sample's name. The modality ``rgb`` is
            the image of mmseg's transforms; only it is changed by photometric transforms.
        label: path pattern of the labels, or a dict with ``path``, ``channels`` and ``max_pixels``. None: there are no
            labels; the data set can be used for prediction only.
        ann_file: list file with one name per line. Empty: all names that have a file in every folder.
        label_map: class of each value in the label files; other values are unlabeled. None: the values are the
            classes.
        filter_cfg: ``dict(path=REGEX)`` selects the samples in whose RGB path, relative to ``data_root``, the regular
            expression is found: ``dict(path='/train/')``.
        **kwargs: arguments of mmseg's BaseSegDataset: ``data_root``, ``metainfo``, ``pipeline``, ``test_mode``,
            ``reduce_zero_label``, ``ignore_index``, ``backend_args``, ``indices`` and others; ``skip_bad_files`` and
            ``allow_outside_data_root`` of :class:`~cen_mm.datasets.base.FileDataset`. With fewer ``classes`` than in
            METAINFO, all other classes become unlabeled.

    Raises:
        FileNotFoundError: if the list file, a folder, or a file of a sample does not exist.
        ValueError: if a modality has unknown settings or a name that the pipeline uses, ``label_map`` has values that
            are no classes, no sample is listed or selected, or the pipeline contains a transform that does not move
            all modalities.
    """

    METAINFO: dict = {}

    def __init__(
        self,
        modalities: dict[str, Union[str, dict]],
        label: Union[str, dict, None] = None,
        ann_file: str = '',
        label_map: Optional[dict[int, int]] = None,
        filter_cfg: Optional[dict[str, str]] = None,
        **kwargs,
    ):
        kind = type(self).__name__
        if not isinstance(modalities, dict) or not modalities:
            raise ValueError(
                f'{kind}.modalities is {modalities!r}: give a dict with a path for each modality, such as '
                "dict(rgb='rgb/{}.jpg', depth='depth/{}.png')."
            )
        for key in ('data_prefix', 'img_suffix', 'seg_map_suffix'):
            if key in kwargs:
                raise ValueError(f'{kind} does not use {key}: give whole path patterns in modalities and label.')
        if filter_cfg is not None and set(filter_cfg) != {'path'}:
            raise ValueError(f"{kind}.filter_cfg is {filter_cfg}: give dict(path='REGEX'), or None for all samples.")
        if reserved := [name for name in modalities if name in RESERVED]:
            raise ValueError(
                f'{kind}.modalities has {reserved[0]!r}, which is a key of the pipeline: use another name.'
            )
        if isinstance(label, dict) and (unused := [key for key in label if key not in LABEL_SETTINGS]):
            raise ValueError(
                f'{kind}.label has the settings {unused}, but its settings are {", ".join(LABEL_SETTINGS)}: use '
                'label_map or ignore_index for values that are no classes.'
            )
        self.modalities = {
            name: Modality.from_config(name, settings, f'{kind}.modalities') for name, settings in modalities.items()
        }
        if 'rgb' in self.modalities and self.modalities['rgb'].pad_val != 0:
            raise ValueError(
                f'{kind}.modalities.rgb.pad_val is not used: remove it. Transforms have their own padding value for '
                'RGB, such as CenterPad.pad_val=dict(img=[104, 116, 124]), blue first.'
            )
        self.label = None if label is None else Modality.from_config('label', label, kind)
        self.file_label_map = _read_label_map(label_map, f'{kind}.label_map')
        super().__init__(ann_file=ann_file, filter_cfg=filter_cfg, **kwargs)
        if set(self.modalities) != {'rgb'}:
            check_pipeline(self.pipeline.transforms)

    def list_samples(self) -> Iterable[tuple[str, dict[str, str]]]:
        """Lists the samples.

        Returns:
            For each sample its source, such as ``'train.txt, line 3'``, and the path of each modality and of
            ``label``, relative to ``data_root``.
        """
        patterns = {name: modality.path for name, modality in self.modalities.items()}
        if self.label is not None:
            patterns['label'] = self.label.path
        kind = type(self).__name__
        samples = list_samples(patterns, self.data_root, self.ann_file, kind, self.backend_args)
        return [(source, paths) for source, _, paths in samples]

    def load_data_list(self) -> list[dict]:
        """Lists the samples and checks that their files exist.

        Returns:
            One dict per sample: ``modality_paths`` {name: path}, ``img_path`` (the RGB file or, without RGB, the file
            of the first modality), ``seg_map_path`` if there are labels, and mmseg's keys.
        """
        data_list, files = [], []
        for source, names in self.list_samples():
            paths = {key: fileio.join_path(self.data_root or '', name) for key, name in names.items()}
            files += [(path, source) for path in paths.values()]
            label = dict(seg_map_path=paths.pop('label')) if 'label' in paths else {}
            first = paths.get('rgb', next(iter(paths.values())))
            data_list.append(dict(img_path=first, modality_paths=paths, **label))
        if not data_list:
            raise ValueError(f'{self.ann_file} is empty: write one sample per line.')
        self.check_files(files)
        return data_list

    def filter_data(self) -> list[dict]:
        """Selects the samples whose path matches ``filter_cfg``."""
        if self.filter_cfg is None:
            return self.data_list
        root = len(fileio.join_path(self.data_root, '')) if self.data_root else 0
        paths = [sample['img_path'][root:] for sample in self.data_list]
        found = [re.search(self.filter_cfg['path'], path) for path in paths]
        if not any(found):
            raise ValueError(
                f'{type(self).__name__}.filter_cfg.path {self.filter_cfg["path"]!r} is found in none of the '
                f'{len(paths)} paths in {self.data_root}, such as {paths[0]}: correct it.'
            )
        return [sample for sample, match in zip(self.data_list, found) if match]

    def get_data_info(self, idx: int) -> dict:
        """Returns the paths of a sample and the settings that the transforms need."""
        return dict(
            super().get_data_info(idx),
            modality_settings=self.modalities,
            label_settings=self.label,
            num_classes=len(self.metainfo.get('classes', ())),
            file_label_map=self.file_label_map,
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            ignore_index=self.ignore_index,
            seg_fields=[],
        )


def _read_label_map(label_map: Optional[dict], key: str) -> Optional[dict[int, int]]:
    """Converts keys and values, which are strings in a JSON config, or raises ValueError unless they fit in 8 bits."""
    if label_map is None:
        return None
    if not isinstance(label_map, dict):
        raise ValueError(f'{key} is {label_map!r}: give a dict with the class of each value in the label files.')
    for pair in label_map.items():
        if not all(str(value).isdigit() and int(value) <= 255 for value in pair):
            raise ValueError(f'{key} has {pair[0]!r}: {pair[1]!r}: values and classes are numbers from 0 to 255.')
    return {int(value): int(index) for value, index in label_map.items()}
