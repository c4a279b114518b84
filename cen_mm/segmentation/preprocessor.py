"""Normalizing and padding each modality."""

from itertools import chain
from typing import Sequence

import torch
from mmseg.models import SegDataPreProcessor

from ..exchange.ensemble import check_modalities
from ..registry import MODELS


@MODELS.register_module()
class MultimodalDataPreProcessor(SegDataPreProcessor):
    """mmseg's preprocessor with separate settings per modality.

    The keys of ``modalities`` are the modalities of the model, in their order. The pipeline may pack more of them:
    the preprocessor selects those of the model, so one pipeline serves several models.

    Args:
        modalities: for each name a dict with the keys ``mean`` and ``std``: lists of three values in the unit of the
            packed images (0 to 255 for 8-bit images, meters for depth), in the channel order of the network;
            ``bgr_to_rgb`` (default False): whether to swap the first and third channel; ``pad_val`` (default 0): the
            padding value in the same unit, a number or a list of one per channel.
        **kwargs: arguments of mmseg's SegDataPreProcessor: ``size``, ``size_divisor``, ``seg_pad_val``, ``test_cfg``.

    Raises:
        ValueError: for invalid modality names, or a modality with missing or unknown keys.
    """

    def __init__(self, modalities: dict[str, dict], **kwargs):
        check_modalities(list(modalities))
        for name, settings in modalities.items():
            unknown = set(settings) - {'mean', 'std', 'bgr_to_rgb', 'pad_val'}
            if unknown or 'mean' not in settings or 'std' not in settings:
                raise ValueError(
                    f'data_preprocessor.modalities.{name} has the keys {sorted(settings)}: '
                    'mean and std are required, bgr_to_rgb and pad_val are optional, other keys are not allowed.'
                )
        mean = list(chain.from_iterable(m['mean'] for m in modalities.values()))
        std = list(chain.from_iterable(m['std'] for m in modalities.values()))
        super().__init__(mean=mean, std=std, **kwargs)
        self.modalities = tuple(modalities)
        order, pad_val = [], []
        for settings in modalities.values():
            channels = range(len(order), len(order) + len(settings['mean']))
            order += reversed(channels) if settings.get('bgr_to_rgb') else channels
            value = settings.get('pad_val', 0)
            pad_val += value if isinstance(value, (list, tuple)) else [value] * len(channels)
        self.order = order
        self.register_buffer('normalized_pad', (torch.tensor(pad_val).view(-1, 1, 1) - self.mean) / self.std, False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Selects, reorders, normalizes, pads and stacks the images of one batch, on the model's device.

        Args:
            data: ``inputs``, B images ``(3P, H, W)`` of the P packed modalities; ``data_samples``, B samples or None.
            training: whether labels are padded too.

        Returns:
            ``inputs``, ``(B, 3M, H, W)`` float32, and ``data_samples``.

        Raises:
            ValueError: if the pipeline does not pack all modalities of the model.
        """
        samples = data.get('data_samples') or []
        order = self._order_in(samples[0].get('modalities', self.modalities)) if samples else self.order
        for sample in samples:
            sample.set_metainfo(dict(modalities=self.modalities))
        sizes = [image.shape[1:] for image in data['inputs']]
        data = super().forward({**data, 'inputs': [image[order] for image in data['inputs']]}, training)
        for image, (height, width) in zip(data['inputs'], sizes):
            image[:, height:] = self.normalized_pad
            image[:, :, width:] = self.normalized_pad
        return data

    def _order_in(self, packed: Sequence[str]) -> list[int]:
        """Returns the indices of the model's channels among the packed channels, three per modality."""
        missing = [name for name in self.modalities if name not in packed]
        if missing:
            raise ValueError(
                f'The pipeline packs {list(packed)}, but data_preprocessor.modalities also has {missing}: '
                "add them to the data set's modalities and to the pipeline, or remove them from the preprocessor."
            )
        starts = [3 * packed.index(name) for name in self.modalities]
        return [starts[i // 3] + i % 3 for i in self.order]
