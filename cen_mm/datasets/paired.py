"""Image translation data sets with any inputs and any target, given by path patterns."""

from typing import Optional, Union

from mmengine import fileio

from ..registry import DATASETS
from .base import FileDataset
from .files import list_samples
from .modality import Modality
from .paired_image import PairedImage


@DATASETS.register_module()
class PairedImageDataset(FileDataset):
    """Image translation samples: one image per input modality, and an image of the target.

    Example::

        dict(
            type='cen_mm.PairedImageDataset',
            data_root='data/street',
            ann_file='train.txt',  # one name per line: 00001D
            inputs=dict(day='day/{}.png', thermal=dict(path='thermal/{}.png', dtype='uint16', range=(28000, 32000))),
            target=dict(night='night/{}.png'),
            mask='mask/{}.png',
        )

    Values become [-1, 1]: of 8-bit files, 0 becomes -1 and 255 becomes 1, as in the authors' code; other types need
    ``range=(low, high)``. Images with one channel are repeated to three.

    Args:
        inputs: for each input its path pattern, or the settings of
            :class:`~cen_mm.datasets.paired_image.PairedImage`, in the order of the network's branches. ``{}`` stands
            for the sample's name.
        target: name of the target, and its path pattern or settings. None: there is no target; the data set can be
            used with ``test_mode=True`` only.
        mask: path pattern, or settings of :class:`~cen_mm.datasets.modality.Modality`, of images that are 0 where
            the target does not count in the pixel loss, in L1 and in RMSE. None: all pixels with a measurement count.
        ann_file: list file with one name per line. Empty: all names that have a file in every folder.
        backend_args: arguments of mmengine's file backend.
        **kwargs: arguments of mmengine's BaseDataset: ``data_root``, ``pipeline``, ``test_mode``, ``indices`` and
            others; ``skip_bad_files`` and ``allow_outside_data_root`` of
            :class:`~cen_mm.datasets.base.FileDataset`.

    Raises:
        FileNotFoundError: if the list file, a folder, or a file of a sample does not exist.
        ValueError: if a setting is unknown or invalid, the target is also an input or is missing in training, or the
            list file is empty.
    """

    def __init__(
        self,
        inputs: dict[str, Union[str, dict]],
        target: Optional[dict[str, Union[str, dict]]] = None,
        mask: Union[str, dict, None] = None,
        ann_file: str = '',
        backend_args: Optional[dict] = None,
        **kwargs,
    ):
        kind = type(self).__name__
        if not isinstance(inputs, dict) or not inputs:
            raise ValueError(
                f"{kind}.inputs is {inputs!r}: give a dict with a path per input, dict(day='day/{{}}.png')."
            )
        if target is not None and (not isinstance(target, dict) or len(target) != 1):
            raise ValueError(
                f"{kind}.target is {target!r}: give one name with its path, dict(night='night/{{}}.png'), and "
                '_delete_=True if the base config has another target.'
            )
        if target is None and (mask is not None or not kwargs.get('test_mode', False)):
            need = 'training' if mask is None else 'a mask'
            raise ValueError(f"{kind} has no target, but {need} needs one: set target=dict(night='night/{{}}.png').")
        self.inputs, self.target = list(inputs), next(iter(target), None) if target else None
        if self.target in self.inputs:
            raise ValueError(f'{kind}.target {self.target!r} is also an input: remove it there, or rename the target.')
        self.settings = {name: PairedImage.from_config(name, inputs[name], f'{kind}.inputs') for name in inputs}
        if target:
            self.settings[self.target] = PairedImage.from_config(self.target, target[self.target], f'{kind}.target')
        self.mask = None if mask is None else Modality.from_config('mask', mask, kind)
        self.backend_args = backend_args
        super().__init__(ann_file=ann_file, **kwargs)
        self._metainfo.update(modalities=tuple(self.inputs), target=self.target)

    def load_data_list(self) -> list[dict]:
        """Lists the samples and checks that their files exist.

        Returns:
            One dict per sample: ``sample_name``, ``modality_paths`` {name: path} in the order of ``inputs``,
            ``target`` and ``target_path`` if there is a target, and ``mask_path`` if there is a mask.
        """
        patterns = {name: settings.path for name, settings in self.settings.items()}
        mask = f'mask of {self.target}'  # an input may be named mask
        if self.mask is not None:
            patterns[mask] = self.mask.path
        data_list, files = [], []
        kind = type(self).__name__
        for source, name, names in list_samples(patterns, self.data_root, self.ann_file, kind, self.backend_args):
            paths = {key: fileio.join_path(self.data_root or '', file) for key, file in names.items()}
            files += [(path, source) for path in paths.values()]
            sample = dict(sample_name=name, modality_paths={key: paths[key] for key in self.inputs})
            if self.target is not None:
                sample.update(target=self.target, target_path=paths[self.target])
            if self.mask is not None:
                sample['mask_path'] = paths[mask]
            data_list.append(sample)
        if not data_list:
            raise ValueError(f'{self.ann_file} is empty: write one sample per line.')
        self.check_files(files)
        return data_list

    def get_data_info(self, idx: int) -> dict:
        """Returns the paths of a sample and the settings that the transforms need."""
        return dict(super().get_data_info(idx), modality_settings=self.settings, mask_settings=self.mask)
