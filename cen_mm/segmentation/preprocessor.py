"""From raw, packed modalities to the network's input."""

from itertools import chain
from typing import Sequence

import torch
from mmseg.models import SegDataPreProcessor

from ..exchange.ensemble import check_modalities
from ..registry import MODELS


@MODELS.register_module()
class MultimodalDataPreProcessor(SegDataPreProcessor):
    """mmseg's preprocessor with settings of its own for each modality: ``(3M, H, W)`` images to ``(B, 3M, H, W)``.

    Its ``modalities`` name the modalities of the model and their order. They are picked from those that the pipeline
    packs, so one pipeline serves models of fewer modalities.

    Args:
        modalities: for each name a dict of ``mean`` and ``std``, lists in the modality's raw unit (8-bit steps,
            metres) in the order that the network sees; ``bgr_to_rgb`` (False): swap the first and third channel; and
            ``pad_val`` (0): a number or a list in the raw unit, for images smaller than the batch.
        **kwargs: of mmseg's SegDataPreProcessor: ``size``, ``size_divisor``, ``seg_pad_val``, ``test_cfg``.
    """

    def __init__(self, modalities: dict[str, dict], **kwargs):
        check_modalities(list(modalities))
        for name, settings in modalities.items():
            unknown = set(settings) - {'mean', 'std', 'bgr_to_rgb', 'pad_val'}
            if unknown or 'mean' not in settings or 'std' not in settings:
                raise ValueError(
                    f'data_preprocessor.modalities.{name} has {sorted(settings)}: '
                    'give mean and std, and if needed bgr_to_rgb and pad_val, and nothing else.'
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
        self.register_buffer('normalised_pad', (torch.tensor(pad_val).view(-1, 1, 1) - self.mean) / self.std, False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Moves, picks, reorders, normalises, pads and stacks one batch.

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
            image[:, height:] = self.normalised_pad
            image[:, :, width:] = self.normalised_pad
        return data

    def _order_in(self, packed: Sequence[str]) -> list[int]:
        """Channels of the packed modalities, three each, in the order of the model's."""
        missing = [name for name in self.modalities if name not in packed]
        if missing:
            raise ValueError(
                f'The pipeline packs {list(packed)}, but data_preprocessor.modalities also names {missing}: '
                'load and pack them, or take them out.'
            )
        places = [3 * packed.index(name) for name in self.modalities]
        return [places[i // 3] + i % 3 for i in self.order]
