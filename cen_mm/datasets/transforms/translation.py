"""Transforms for image translation between loading and packing, as in the authors' code.

Between loading and packing, a sample contains these dicts, whose arrays all have the same height and width:

- ``images``: {name: ``(H, W)`` or ``(H, W, 3)``, RGB} of the inputs and the target, uint8 or float32 in [0, 255].
- ``missing``: {name: ``(H, W)`` uint8, 255 where there is no measurement, and 0 elsewhere}, only for images with such
  pixels, which are 0 in the image.
- ``ignored``, optional: {target: ``(H, W)`` uint8, 0 where the target counts}. The image keeps its values there.
"""

from typing import Callable

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from ...registry import TRANSFORMS


def _apply(results: dict, function: Callable) -> dict:
    for key in ('images', 'missing', 'ignored'):
        results[key] = {name: function(image) for name, image in results.get(key, {}).items()}
    results['img_shape'] = next(iter(results['images'].values())).shape[:2]
    return results


@TRANSFORMS.register_module()
class ResizeImages(BaseTransform):
    """Resizes all images by bilinear interpolation.

    A pixel interpolated from any missing or ignored pixel becomes missing or ignored, too. As in the authors' code,
    Pillow resizes: it averages when it downsamples, while OpenCV does not.

    Required keys: ``images``, ``missing``. Optional key: ``ignored``. Modified keys: these, and ``img_shape``.

    Args:
        size: (height, width) after resizing.
    """

    def __init__(self, size: tuple[int, int]):
        self.size = size

    def transform(self, results: dict) -> dict:
        results = _apply(results, self._resize)
        for name, missing in results['missing'].items():
            missing[missing > 0] = 255
            results['images'][name][missing > 0] = 0
        return results

    def _resize(self, image: np.ndarray) -> np.ndarray:
        size = tuple(self.size)[::-1]
        if image.dtype == np.uint8:
            return mmcv.imresize(image, size, backend='pillow')
        # Pillow resizes float32 one channel at a time.
        channels = np.atleast_3d(image).transpose(2, 0, 1)
        resized = [Image.fromarray(channel).resize(size, Image.BILINEAR) for channel in channels]
        return np.stack(resized, axis=-1) if image.ndim == 3 else np.array(resized[0])


@TRANSFORMS.register_module()
class CropImages(BaseTransform):
    """Crops all images at the same random position.

    The crop is always inside the image, while the authors' crop may exceed the border by one pixel.

    Required keys: ``images``, ``missing``. Optional key: ``ignored``. Modified keys: these, and ``img_shape``.

    Args:
        size: (height, width) of the crop.

    Raises:
        ValueError: if the crop is larger than the images.
    """

    def __init__(self, size: tuple[int, int]):
        self.size = size

    def transform(self, results: dict) -> dict:
        height, width = self.size
        margin = (results['img_shape'][0] - height, results['img_shape'][1] - width)
        if min(margin) < 0:
            raise ValueError(
                f'CropImages.size is {tuple(self.size)}, but the images are {results["img_shape"]}: resize them to at '
                'least the crop size.'
            )
        top, left = (np.random.randint(size + 1) for size in margin)
        return _apply(results, lambda image: image[top : top + height, left : left + width])


@TRANSFORMS.register_module()
class FlipImages(BaseTransform):
    """Randomly flips all images horizontally.

    If the settings of an image have ``vectors``, their first component, x, changes its sign.

    Required keys: ``images``, ``missing``. Optional keys: ``ignored``, ``modality_settings``. Modified keys:
    ``images``, ``missing``, ``ignored``.

    Args:
        prob: probability of the flip.
    """

    def __init__(self, prob: float):
        self.prob = prob

    def transform(self, results: dict) -> dict:
        if np.random.rand() >= self.prob:
            return results
        results = _apply(results, lambda image: image[:, ::-1])
        for name, settings in results.get('modality_settings', {}).items():
            if settings.vectors and name in results['images']:
                image = results['images'][name] = results['images'][name].copy()
                image[..., 0] = 255 - image[..., 0]
                image[results['missing'].get(name, np.zeros(image.shape[:2])) > 0] = 0
        return results
