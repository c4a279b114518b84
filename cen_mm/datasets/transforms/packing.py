"""The end of every pipeline."""

import numpy as np
from mmseg.datasets import PackSegInputs

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackModalities(PackSegInputs):
    """Packs the data set's modalities side by side on the channels: ``inputs`` ``(3M, H, W)`` and ``data_samples``.

    A modality of one channel is tiled to three, so that the modalities can share the network's first convolution.

    Required keys: ``modality_paths``, ``img``, which is ``rgb``, and one named as each other modality.

    Raises:
        KeyError: for a modality that the pipeline has not loaded.
    """

    def __init__(self):
        super().__init__(
            meta_keys=(
                'img_path', 'modality_paths', 'modalities', 'seg_map_path', 'ori_shape', 'img_shape', 'pad_shape',
                'scale_factor', 'flip', 'flip_direction', 'reduce_zero_label',
            )
        )  # fmt: skip

    def transform(self, results: dict) -> dict:
        modalities, images = tuple(results['modality_paths']), []
        for name in modalities:
            key = 'img' if name == 'rgb' else name
            if key not in results:
                raise KeyError(
                    f"The data set's modalities name {name!r}, which was not loaded: mend the name, or add "
                    f"dict(type='cen_mm.LoadModality', key='{name}') to the pipeline."
                )
            image = results[key]
            images.append(image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2))
        return super().transform(dict(results, img=np.concatenate(images, axis=2), modalities=modalities))
