"""The end of every pipeline."""

from typing import Sequence

import numpy as np
from mmseg.datasets import PackSegInputs

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackModalities(PackSegInputs):
    """Packs the modalities side by side on the channels: ``inputs`` ``(3M, H, W)`` and ``data_samples``.

    A modality of one channel is tiled to three, so that the modalities can share the network's first convolution.

    Required keys: ``img``, which is ``rgb``, and one named as each other modality.

    Args:
        modalities: names, in the order of the model's ``data_preprocessor.modalities``.

    Raises:
        KeyError: for a modality that the pipeline has not loaded.
    """

    def __init__(self, modalities: Sequence[str] = ('rgb', 'depth')):
        super().__init__(
            meta_keys=(
                'img_path', 'modality_paths', 'modalities', 'seg_map_path', 'ori_shape', 'img_shape', 'pad_shape',
                'scale_factor', 'flip', 'flip_direction', 'reduce_zero_label',
            )
        )  # fmt: skip
        self.modalities = tuple(modalities)

    def transform(self, results: dict) -> dict:
        images = []
        for name in self.modalities:
            key = 'img' if name == 'rgb' else name
            if key not in results:
                known = ', '.join(results['modality_paths'])
                raise KeyError(
                    f'PackModalities.modalities names {name!r}, which was not loaded: the data set has {known}; '
                    'mend the name, or load it before PackModalities.'
                )
            image = results[key]
            images.append(image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2))
        packed = dict(results, img=np.concatenate(images, axis=2), modalities=self.modalities)
        return super().transform(packed)
