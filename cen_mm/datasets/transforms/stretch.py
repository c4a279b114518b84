"""Stretching the values of a modality for each image."""

import numpy as np
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class StretchModality(BaseTransform):
    """Stretches the values of each image of a modality to 0 to 255: ``(d - min) * 255 / (max - min)``.

    The authors treat the depth of SUN RGB-D so, as the last step before packing: minimum and maximum are those of the
    cropped and padded image, with its missing and padded pixels, over all channels. A constant image becomes 0. A
    sample of RGB only, such as in a test with a missing modality, stays as it is.

    Required and modified key: the name of the modality, float32 ``(H, W)`` or ``(H, W, C)``.

    Args:
        modality: name of the modality, other than ``rgb``.

    Raises:
        ValueError: if other modalities are loaded, but not this one.
    """

    def __init__(self, modality: str):
        self.modality = modality

    def transform(self, results: dict) -> dict:
        if not results['modality_fields']:
            return results
        if self.modality not in results['modality_fields']:
            raise ValueError(
                f'StretchModality.modality is {self.modality!r}, but the modalities other than rgb are '
                f'{list(results["modality_fields"])}: use one of these names.'
            )
        image = results[self.modality].astype(np.float32)
        low, high = image.min(), image.max()
        results[self.modality] = (image - low) * np.float32(255) / max(high - low, np.float32(1e-12))
        return results
