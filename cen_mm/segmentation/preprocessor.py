"""Normalizing and padding each modality."""

import copy
from itertools import chain
from typing import Sequence

import numpy as np
import torch
from mmseg.models import SegDataPreProcessor
from torch import Tensor

from ..exchange.ensemble import check_modalities
from ..registry import MODELS

KEYS = ('mean', 'std', 'channels', 'bgr_to_rgb', 'pad_val')


@MODELS.register_module()
class MultimodalDataPreProcessor(SegDataPreProcessor):
    """mmseg's preprocessor with separate settings per modality.

    The keys of ``modalities`` are the modalities of the model. Their order is RGB first, then by name: configs that
    mmengine writes have sorted keys, so the order of the keys must not matter. The pipeline may pack more modalities:
    the preprocessor selects those of the model, so one pipeline serves several models.

    Args:
        modalities: for each name a dict with the keys ``mean`` and ``std``: one value per channel, in the unit of the
            packed images (0 to 255 for 8-bit images, meters for depth), in the channel order of the network;
            ``channels`` (default 3): number of channels, other than 3 if the segmentor converts them with a 1x1
            convolution (images with one channel are tiled to three); ``bgr_to_rgb`` (default False): whether to
            reverse the order of the channels; ``pad_val``: the padding value in the same unit, a number or a list of
            one per channel (default: the mean).
        **kwargs: arguments of mmseg's SegDataPreProcessor: ``size``, ``size_divisor``, ``seg_pad_val``, ``test_cfg``.

    Raises:
        ValueError: for invalid modality names, or a modality with missing, unknown or invalid keys.
    """

    def __init__(self, modalities: dict[str, dict], **kwargs):
        check_modalities(list(modalities))
        modalities = in_order(modalities)
        for name, settings in modalities.items():
            _check(name, settings)
        super().__init__(**kwargs)
        for key in ('mean', 'std'):  # registered here, because onedl-mmengine refuses more than three channels
            values = list(chain.from_iterable(settings[key] for settings in modalities.values()))
            self.register_buffer(key, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1), False)
        self._enable_normalize = True
        self._non_blocking = True  # copies from pinned memory run beside the computation
        self.modalities = tuple(modalities)
        self.channels = num_channels(modalities)
        self.reversed = {name for name, settings in modalities.items() if settings.get('bgr_to_rgb')}
        pad_val = []
        for settings in modalities.values():
            value = settings.get('pad_val', settings['mean'])
            pad_val += value if isinstance(value, (list, tuple)) else [value] * len(settings['mean'])
        self.register_buffer('normalized_pad', (torch.tensor(pad_val).view(-1, 1, 1) - self.mean) / self.std, False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Selects, converts, normalizes, pads and stacks the images of one batch, on the model's device.

        Args:
            data: ``inputs``, for each modality B images ``(C, H, W)``; ``data_samples``, B samples or None.
            training: whether labels are padded too.

        Returns:
            ``inputs``, ``(B, 3M, H, W)`` float32 (C instead of 3 for modalities with ``channels``; float16 after
            ``model.half()``), and ``data_samples``.

        Raises:
            ValueError: if a modality of the model is not in ``inputs``, or has another number of channels, or images
                that are tested together differ in size.
        """
        if not isinstance(data['inputs'], dict):
            raise ValueError(
                f'inputs is a {type(data["inputs"]).__name__}, but must be a dict of images per modality: end the '
                "pipeline with cen_mm.PackModalities, and run cen_mm's get_flops.py instead of mmseg's."
            )
        data = self.cast_data(data)  # to the device: the packed types are smaller than float32
        packed = data['inputs']
        if missing := [name for name in self.modalities if name not in packed]:
            raise ValueError(
                f'The pipeline packs {list(packed)}, but model.data_preprocessor.modalities also has '
                f"{missing}: add them to the data set's modalities, or remove them from the preprocessor."
            )
        batch = zip(*(packed[name] for name in self.modalities))
        inputs = [torch.cat([self._convert(*pair) for pair in zip(self.modalities, images)]) for images in batch]
        for sample in data.get('data_samples') or []:
            sample.set_metainfo(dict(modalities=self.modalities))
            if 'gt_sem_seg' in sample:
                sample.gt_sem_seg.data = sample.gt_sem_seg.data.long()
        sizes = [tuple(image.shape[1:]) for image in inputs]
        if not training and len(set(sizes)) > 1:
            raise ValueError(
                f'The images of a batch have the sizes {sorted(set(sizes))}: set batch_size=1 for validation and test.'
            )
        data = super().forward({**data, 'inputs': inputs}, training)
        for image, (height, width) in zip(data['inputs'], sizes):
            image[:, height:] = self.normalized_pad
            image[:, :, width:] = self.normalized_pad
        data['inputs'] = data['inputs'].to(self.mean.dtype)
        return data

    def subset(self, names: Sequence[str]) -> 'MultimodalDataPreProcessor':
        """Returns a preprocessor for some of the modalities, in the order of this one, with the same settings."""
        part = copy.copy(self)
        part._buffers = dict(self._buffers)  # copy.copy shares it
        for key in ('mean', 'std', 'normalized_pad'):
            values = dict(zip(self.channels, getattr(self, key).split(list(self.channels.values()))))
            part._buffers[key] = torch.cat([values[name] for name in self.channels if name in names])
        part.modalities = tuple(name for name in self.modalities if name in names)
        part.channels = {name: self.channels[name] for name in part.modalities}
        return part

    def _convert(self, name: str, image: Tensor) -> Tensor:
        """Converts a packed image ``(C, H, W)`` of any type to float32, in the network's channel order, tiled."""
        want = self.channels[name]
        image = image.float()
        if len(image) == 1 and want == 3:
            return image.expand(3, -1, -1)
        if len(image) != want:
            raise ValueError(
                f'The images of {name} have {len(image)} channels, but model.data_preprocessor.modalities.{name} is '
                f'for {want}: set channels={len(image)} with as many values in mean and std, or select channels in '
                'the data set.'
            )
        return image.flip(0) if name in self.reversed else image


def in_order(modalities: dict[str, dict]) -> dict[str, dict]:
    """Returns the settings of the modalities in the order in which they are stacked: RGB first, then by name."""
    return dict(sorted(modalities.items(), key=lambda item: (item[0] != 'rgb', item[0])))


def num_channels(modalities: dict[str, dict]) -> dict[str, int]:
    """Returns the number of channels per modality, from the settings in ``data_preprocessor.modalities``."""
    return {name: settings.get('channels', 3) for name, settings in modalities.items()}


def _check(name: str, settings: dict) -> None:
    """Raises ValueError unless the settings of a modality are complete and match each other."""
    key = f'model.data_preprocessor.modalities.{name}'
    if set(settings) - set(KEYS) or 'mean' not in settings or 'std' not in settings:
        raise ValueError(
            f'{key} has the keys {sorted(settings)}: mean and std are required, channels, bgr_to_rgb and pad_val are '
            'optional, other keys are not allowed.'
        )
    channels = settings.get('channels', 3)
    values: dict[str, Sequence] = {'mean': settings['mean'], 'std': settings['std']}
    if isinstance(settings.get('pad_val'), (list, tuple)):
        values['pad_val'] = settings['pad_val']
    for part, value in values.items():
        numbers = isinstance(value, (list, tuple)) and all(isinstance(number, (int, float)) for number in value)
        if not numbers or len(value) != channels or not np.isfinite(value).all():
            raise ValueError(
                f'{key}.{part} is {value}: give a list of {channels} values, finite numbers, one per channel'
                + (' (images with one channel are tiled to three).' if channels == 3 else '.')
            )
    if not min(settings['std']) > 0:
        raise ValueError(f'{key}.std is {settings["std"]}: standard deviations must be positive.')
