"""Geometric transforms of the authors that differ from mmseg's. Each treats all modalities and the label alike."""

from typing import Optional

import cv2
import numpy as np
from mmcv.image.geometric import cv2_interp_codes
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS


def moved_fields(results: dict) -> tuple[str, ...]:
    """Keys of the image, of all other modalities, and of the label if it is augmented."""
    return ('img', *results.get('modality_fields', ()), *results['seg_fields'])


@TRANSFORMS.register_module()
class RandomScale(BaseTransform):
    """Scales all modalities and the label by a random factor.

    As in the authors' code, the image is interpolated cubically and the label by nearest neighbor; each other modality
    has its own ``interpolation`` (depth: nearest neighbor).

    Required keys: ``img``, ``seg_fields``. Modified keys: those of :func:`moved_fields`, ``img_shape``. Added
    key: ``scale_factor``.

    Args:
        low: smallest scale factor.
        high: largest scale factor.
        min_side: minimum length of the shorter side after scaling, in pixels. Smaller factors are raised to reach it.
    """

    def __init__(self, low: float, high: float, min_side: int):
        self.low = low
        self.high = high
        self.min_side = min_side

    def transform(self, results: dict) -> dict:
        factor = max(np.random.uniform(self.low, self.high), self.min_side / min(results['img'].shape[:2]))
        names = {name: modality.interpolation for name, modality in results.get('modality_fields', {}).items()}
        for key in moved_fields(results):
            interpolation = cv2_interp_codes[{'img': 'bicubic', **names}.get(key, 'nearest')]
            # By factor, not by size: OpenCV samples at different positions if it is given the rounded size.
            results[key] = cv2.resize(results[key], None, fx=factor, fy=factor, interpolation=interpolation)
        results['img_shape'] = results['img'].shape[:2]
        results['scale_factor'] = (factor, factor)
        return results


@TRANSFORMS.register_module()
class CenterPad(BaseTransform):
    """Pads all modalities and the label on all sides to at least a given size.

    Each side gets half of the missing pixels, rounded up: if their number is odd, the result is one pixel larger than
    ``size``.

    Required keys: ``img``, ``seg_fields``. Modified keys: those of :func:`moved_fields`, ``img_shape``. Added
    key: ``pad_shape``.

    Args:
        size: minimum (height, width) after padding.
        pad_val: padding value per key. By default 255 for ``gt_seg_map``, 0 for ``img``, and ``pad_val`` of the
            modality in the data set. If a one-channel image such as depth gets three values, it is tiled to three
            channels.

    Raises:
        ValueError: if ``pad_val`` names a modality that the sample does not have.
    """

    def __init__(self, size: tuple[int, int], pad_val: Optional[dict] = None):
        self.size = size
        self.pad_val = {'gt_seg_map': 255, 'img': 0, **(pad_val or {})}

    def transform(self, results: dict) -> dict:
        known = ['img', 'gt_seg_map', *results.get('modality_fields', ())]
        if unknown := sorted(set(self.pad_val) - set(known)):
            raise ValueError(
                f'CenterPad.pad_val has the keys {unknown}, but the sample has {known}: correct the keys.'
            )
        vertical, horizontal = (
            max(target - size + 1, 0) // 2 for target, size in zip(self.size, results['img'].shape[:2])
        )
        for key in moved_fields(results):
            value = self.pad_val[key] if key in self.pad_val else results['modality_fields'][key].pad_val
            image = results[key]
            if image.ndim == 2 and isinstance(value, (list, tuple)):
                image = cv2.merge([image] * len(value))
            height, width, *channels = image.shape
            value = np.rint(value) if image.dtype.kind in 'iu' else value
            # OpenCV pads up to four channels.
            padded = np.full((height + 2 * vertical, width + 2 * horizontal, *channels), value, image.dtype)
            padded[vertical : vertical + height, horizontal : horizontal + width] = image
            results[key] = padded
        results['img_shape'] = results['pad_shape'] = results['img'].shape[:2]
        return results
