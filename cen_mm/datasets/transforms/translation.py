"""Transforms for image translation on Taskonomy, from loading to packing, as in the authors' code.

Between loading and packing, a sample contains ``images`` and ``missing``. ``images`` is {modality: ``(H, W)`` or
``(H, W, 3)`` uint8, RGB} and includes the target. ``missing`` is {modality: ``(H, W)`` uint8, 255 where depth is
missing, 0 elsewhere} and only includes depth modalities with missing pixels.
"""

from functools import cache
from typing import Callable

import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmengine import fileio
from mmengine.structures import BaseDataElement

from ...registry import TRANSFORMS
from ..taskonomy import DEPTH_MISSING, EDGE_MAX

SIXTEEN_BIT = ('depth_euclidean', 'depth_zbuffer', *EDGE_MAX)  # modalities stored as 16-bit, one-channel images


@cache
def to_8_bit_table(modality: str) -> np.ndarray:
    """Computes the 8-bit value of each 16-bit value, ``(65536,)`` uint8, in the authors' ranges and rounded down.

    Missing depth becomes 0. The nearest valid depth, 1/512 m, becomes 15 and the farthest 254, so that 0 only means
    missing depth. The authors' code gives 0 for missing depth as well: 1 + 65535 overflows to 0, and log(0) is cast to
    0, but the result of that cast is not defined on every platform.
    """
    if modality in EDGE_MAX:
        values = np.arange(DEPTH_MISSING + 1) / EDGE_MAX[modality] * 255
        return np.minimum(values, 255).astype(np.uint8)  # above the range, the authors' values would wrap around to 0
    values = np.log(np.arange(1, DEPTH_MISSING + 2, dtype=np.float32)) / 11.1 * 255
    values[DEPTH_MISSING] = 0
    return values.astype(np.uint8)


def _apply(results: dict, function: Callable) -> dict:
    for key in ('images', 'missing'):
        results[key] = {name: function(image) for name, image in results[key].items()}
    results['img_shape'] = next(iter(results['images'].values())).shape[:2]
    return results


@TRANSFORMS.register_module()
class LoadTaskonomyImages(BaseTransform):
    """Reads the images of all input modalities and of the target, if given, in the authors' value ranges.

    Required key: ``modality_paths``. Optional keys: ``target`` and ``target_path``. Added keys: ``images``,
    ``missing``, ``ori_shape``, ``img_shape``.

    Raises:
        ValueError: if a file cannot be decoded or does not have the bit depth of its modality, or if the images differ
            in size.
    """

    def transform(self, results: dict) -> dict:
        paths = dict(results['modality_paths'])
        if 'target_path' in results:
            paths[results['target']] = results['target_path']
        results['images'], results['missing'] = {}, {}
        for name, path in paths.items():
            content = fileio.get(path)
            image = mmcv.imfrombytes(content, flag='unchanged') if content else None
            if image is None:
                raise ValueError(f'{path} cannot be decoded: replace it with a PNG file.')
            if name in SIXTEEN_BIT:
                if image.dtype != np.uint16 or image.ndim != 2:
                    raise ValueError(f'{path} is {image.dtype} {image.shape}: save {name} as 16-bit with one channel.')
                if name not in EDGE_MAX and (image == DEPTH_MISSING).any():
                    results['missing'][name] = np.where(image == DEPTH_MISSING, np.uint8(255), np.uint8(0))
                image = to_8_bit_table(name)[image]
            elif image.dtype != np.uint8:
                raise ValueError(f'{path} is {image.dtype}: save {name} as 8-bit.')
            results['images'][name] = image if image.ndim == 2 else image[..., 2::-1]
            first = next(iter(paths))
            shape, first_shape = image.shape[:2], results['images'][first].shape[:2]
            if shape != first_shape:
                raise ValueError(
                    f'{path} is {shape[1]}x{shape[0]}, but {paths[first]} is {first_shape[1]}x{first_shape[0]}: align '
                    'the modalities and save them in the same size.'
                )
        results['ori_shape'] = results['img_shape'] = shape
        return results


@TRANSFORMS.register_module()
class ResizeImages(BaseTransform):
    """Resizes all modalities by bilinear interpolation.

    A pixel interpolated from any missing depth becomes missing, too. As in the authors' code, Pillow resizes: it
    averages when it downsamples, while OpenCV does not.

    Required keys: ``images``, ``missing``. Modified keys: ``images``, ``missing``, ``img_shape``.

    Args:
        size: (height, width) after resizing.
    """

    def __init__(self, size: tuple[int, int]):
        self.size = size

    def transform(self, results: dict) -> dict:
        results = _apply(results, lambda image: mmcv.imresize(image, tuple(self.size)[::-1], backend='pillow'))
        for name, missing in results['missing'].items():
            missing[missing > 0] = 255
            results['images'][name][missing > 0] = 0
        return results


@TRANSFORMS.register_module()
class CropImages(BaseTransform):
    """Crops all modalities at the same random position.

    The crop is always inside the image, while the authors' crop may exceed the border by one pixel.

    Required keys: ``images``, ``missing``. Modified keys: ``images``, ``missing``, ``img_shape``.

    Args:
        size: (height, width) of the crop.

    Raises:
        ValueError: if the crop is larger than the images.
    """

    def __init__(self, size: tuple[int, int]):
        self.size = size

    @cache_randomness
    def _top_left(self, margin: tuple[int, int]) -> tuple[int, int]:
        return np.random.randint(margin[0] + 1), np.random.randint(margin[1] + 1)

    def transform(self, results: dict) -> dict:
        height, width = self.size
        margin = (results['img_shape'][0] - height, results['img_shape'][1] - width)
        if min(margin) < 0:
            raise ValueError(
                f'CropImages.size is {tuple(self.size)}, but the images are {results["img_shape"]}: resize them to at '
                'least the crop size.'
            )
        top, left = self._top_left(margin)
        return _apply(results, lambda image: image[top : top + height, left : left + width])


@TRANSFORMS.register_module()
class FlipImages(BaseTransform):
    """Randomly flips all modalities horizontally.

    Required keys: ``images``, ``missing``. Modified keys: ``images``, ``missing``.

    Args:
        prob: probability of the flip.
    """

    def __init__(self, prob: float):
        self.prob = prob

    @cache_randomness
    def _flip(self) -> bool:
        return np.random.rand() < self.prob

    def transform(self, results: dict) -> dict:
        return _apply(results, lambda image: image[:, ::-1]) if self._flip() else results


@TRANSFORMS.register_module()
class PackTranslation(BaseTransform):
    """Concatenates the M input modalities along the channels, and packs the target.

    ``inputs`` is ``(3M, H, W)`` float32 in [-1, 1]; images with one channel are tiled to three. If there is a target,
    ``data_samples`` contains ``gt_img`` ``(3, H, W)`` float32 in [-1, 1] and ``mask`` ``(1, H, W)`` float32, 1 where
    the target is valid, 0 where its depth is missing. ``data_samples`` is a BaseDataElement of mmengine, so that the
    data sets do not depend on mmagic; ``DataSample().update(sample)`` converts it to mmagic's class.

    Required keys: ``images``, ``missing``, ``modality_paths``. Optional keys: ``target``, ``target_path``,
    ``sample_idx``.
    """

    META_KEYS = ('modality_paths', 'target', 'target_path', 'sample_idx', 'ori_shape', 'img_shape')

    def transform(self, results: dict) -> dict:
        modalities = tuple(results['modality_paths'])
        meta = {key: results[key] for key in self.META_KEYS if key in results}
        sample = BaseDataElement(metainfo=dict(meta, modalities=modalities))
        if 'target_path' in results:
            target = results['target']
            sample.gt_img = self._to_tensor(results['images'][target])
            missing = results['missing'].get(target, np.zeros(results['img_shape'], np.uint8))
            sample.mask = torch.from_numpy(missing == 0)[None].float()
        return dict(inputs=torch.cat([self._to_tensor(results['images'][m]) for m in modalities]), data_samples=sample)

    @staticmethod
    def _to_tensor(image: np.ndarray) -> torch.Tensor:
        image = np.stack([image] * 3) if image.ndim == 2 else image.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(image)).float() / 127.5 - 1
