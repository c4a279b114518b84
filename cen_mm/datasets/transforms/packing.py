"""The end of every pipeline."""

from functools import reduce

import numpy as np
import torch
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
            image = np.atleast_3d(results[key])
            if min(image.strides) < 0:  # a mirrored view, which torch cannot read
                image = image.copy()
            images.append(torch.from_numpy(image).permute(2, 0, 1))
        # Cast and moved to its place in (3M, H, W) at once: six times as fast by torch as by numpy.
        dtype = reduce(torch.promote_types, (image.dtype for image in images))
        packed = torch.empty(len(images), 3, *images[0].shape[1:], dtype=dtype)
        for place, image in zip(packed, images):
            place.copy_(image)
        packed = packed.flatten(0, 1).permute(1, 2, 0).numpy()  # mmseg finds a tensor's transpose and copies no more
        return super().transform(dict(results, img=packed, modalities=modalities))
