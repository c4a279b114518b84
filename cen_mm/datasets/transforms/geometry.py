"""The authors' geometry, where mmseg's differs. Every transform moves all modalities and the label alike."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class AlignToLabel(BaseTransform):
    """Crops all modalities to the label's size, at the centre: labels may cover the inner region alone.

    Required keys: ``img``, ``modality_paths``, one named as each modality but ``rgb``, ``gt_seg_map``. Modified keys:
    ``img``, the modalities', ``img_shape``, ``ori_shape``.

    Raises:
        ValueError: if the label is larger than the image.
    """

    def transform(self, results: dict) -> dict:
        height, width = results['gt_seg_map'].shape
        top, left = ((have - want) // 2 for have, want in zip(results['img'].shape[:2], (height, width)))
        if top < 0 or left < 0:
            raise ValueError(
                f'{results["seg_map_path"]} is {width}x{height}, larger than its image '
                f'{results["img_path"]}: save the label in the size of the image or of its centre.'
            )
        for key in {'img', *results['modality_paths']} & results.keys():
            results[key] = results[key][top : top + height, left : left + width]
        results['img_shape'] = results['ori_shape'] = (height, width)
        return results


@TRANSFORMS.register_module()
class RandomScale(BaseTransform):
    """Scales by a random factor: the image cubic, everything in ``seg_fields`` nearest (the authors' choice).

    Required keys: ``img``, ``seg_fields``. Modified keys: ``img``, those in ``seg_fields``, ``img_shape``. Added key:
    ``scale_factor``.

    Args:
        low: smallest factor.
        high: largest factor.
        min_side: pixels that the shorter side keeps at least, whatever the factor.
    """

    def __init__(self, low: float, high: float, min_side: int):
        self.low = low
        self.high = high
        self.min_side = min_side

    @cache_randomness
    def _factor(self) -> float:
        return np.random.uniform(self.low, self.high)

    def transform(self, results: dict) -> dict:
        factor = max(self._factor(), self.min_side / min(results['img'].shape[:2]))
        for key, interpolation in [('img', cv2.INTER_CUBIC), *((k, cv2.INTER_NEAREST) for k in results['seg_fields'])]:
            # By factor, not by size: OpenCV samples at other places when it is given the rounded size.
            results[key] = cv2.resize(results[key], None, fx=factor, fy=factor, interpolation=interpolation)
        results['img_shape'] = results['img'].shape[:2]
        results['scale_factor'] = (factor, factor)
        return results


@TRANSFORMS.register_module()
class CenterPad(BaseTransform):
    """Pads to a size at least, half of what is missing, rounded up, on each side (so an odd gap ends one larger).

    Required keys: ``img``, ``seg_fields``. Modified keys: ``img``, those in ``seg_fields``, ``img_shape``. Added key:
    ``pad_shape``.

    Args:
        size: (height, width).
        pad_val: value for each key, 0 if not given, 255 for the label; three values give depth its three channels
            here.
    """

    def __init__(self, size: tuple[int, int], pad_val: dict):
        self.size = size
        self.pad_val = {'gt_seg_map': 255, **pad_val}

    def transform(self, results: dict) -> dict:
        vertical, horizontal = (
            max(want - have + 1, 0) // 2 for want, have in zip(self.size, results['img'].shape[:2])
        )
        for key in ('img', *results['seg_fields']):
            value = self.pad_val.get(key, 0)
            image = results[key]
            if image.ndim == 2 and isinstance(value, (list, tuple)):
                image = cv2.merge([image] * len(value))
            borders = (vertical, vertical, horizontal, horizontal)
            results[key] = cv2.copyMakeBorder(image, *borders, cv2.BORDER_CONSTANT, value=value)
        results['img_shape'] = results['pad_shape'] = results['img'].shape[:2]
        return results
