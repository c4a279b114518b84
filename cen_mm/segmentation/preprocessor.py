"""From raw, packed modalities to the network's input."""

from itertools import chain

import torch
from mmseg.models import SegDataPreProcessor

from ..exchange.ensemble import check_modalities
from ..registry import MODELS


@MODELS.register_module()
class MultimodalDataPreProcessor(SegDataPreProcessor):
    """mmseg's preprocessor with settings of its own for each modality: ``(3M, H, W)`` images to ``(B, 3M, H, W)``.

    Its ``modalities`` name the modalities of the model and their order.

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
        """Moves, reorders, normalises, pads and stacks one batch.

        Raises:
            ValueError: if the images were packed from other modalities than these, or in another order.
        """
        for sample in data.get('data_samples') or []:
            packed = sample.get('modalities', self.modalities)
            if tuple(packed) != self.modalities:
                raise ValueError(
                    f'The pipeline packs {list(packed)}, but data_preprocessor.modalities has '
                    f'{list(self.modalities)}: name the same modalities in the same order in both.'
                )
        sizes = [image.shape[1:] for image in data['inputs']]
        data = super().forward({**data, 'inputs': [image[self.order] for image in data['inputs']]}, training)
        for image, (height, width) in zip(data['inputs'], sizes):
            image[:, height:] = self.normalised_pad
            image[:, :, width:] = self.normalised_pad
        return data
