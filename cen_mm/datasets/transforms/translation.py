"""Pictures of Taskonomy's modalities, from the file to the network in the authors' way.

On the way a sample holds ``images``, {modality: (H, W) or (H, W, 3) uint8, RGB}, the target among them, and
``missing``, {modality: (H, W) uint8, 255 where the sensor saw nothing, 0 elsewhere}, for depths that lack something.
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

EDGE_MAX = {'edge_occlusion': 11584, 'edge_texture': 11355}
MISSING = 65535  # Taskonomy's mark for no depth
WIDE = ('depth_euclidean', 'depth_zbuffer', *EDGE_MAX)  # modalities of 16 bits and one channel


@cache
def byte_of(modality: str) -> np.ndarray:
    """What each 16-bit value becomes in 8 bits, (65536,) uint8: the authors' ranges, rounded down as they do.

    Missing depth becomes 0. The nearest real one, one step of 1/512 m, is 15, the farthest 254, so that 0 says "no
    depth" and nothing else. The authors' 1 + 65535 overflows, and their log(0) is cast to 0 as well, where that cast
    has an answer at all.
    """
    if modality in EDGE_MAX:
        values = np.arange(MISSING + 1) / EDGE_MAX[modality] * 255
        return np.minimum(values, 255).astype(np.uint8)  # beyond the range theirs would start again at black
    values = np.log(np.arange(1, MISSING + 2, dtype=np.float32)) / 11.1 * 255
    values[MISSING] = 0
    return values.astype(np.uint8)


def _move(results: dict, how: Callable) -> dict:
    for key in ('images', 'missing'):
        results[key] = {name: how(image) for name, image in results[key].items()}
    results['img_shape'] = next(iter(results['images'].values())).shape[:2]
    return results


@TRANSFORMS.register_module()
class LoadTaskonomyImages(BaseTransform):
    """Reads the pictures of all inputs and of the target, if there is one, in the authors' ranges.

    Required key: ``modality_paths``. Optional keys: ``target`` and ``target_path``. Added keys: ``images``,
    ``missing``, ``ori_shape``, ``img_shape``.

    Raises:
        ValueError: if a file is no picture of the bits that its modality has, or the pictures differ in size.
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
                raise ValueError(f'{path} cannot be decoded: replace it by a PNG.')
            if name in WIDE:
                if image.dtype != np.uint16 or image.ndim != 2:
                    raise ValueError(f'{path} is {image.dtype} {image.shape}: save {name} as 16-bit with one channel.')
                if name not in EDGE_MAX and (image == MISSING).any():
                    results['missing'][name] = np.where(image == MISSING, np.uint8(255), np.uint8(0))
                image = byte_of(name)[image]
            elif image.dtype != np.uint8:
                raise ValueError(f'{path} is {image.dtype}: save {name} as 8-bit.')
            results['images'][name] = image if image.ndim == 2 else image[..., 2::-1]
            first = next(iter(paths))
            shape, other = image.shape[:2], results['images'][first].shape[:2]
            if shape != other:
                raise ValueError(
                    f'{path} is {shape[1]}x{shape[0]}, but {paths[first]} is {other[1]}x{other[0]}: align the '
                    'modalities and save them in one size.'
                )
        results['ori_shape'] = results['img_shape'] = shape
        return results


@TRANSFORMS.register_module()
class ResizeImages(BaseTransform):
    """Resizes all modalities, bilinear. A pixel that some missing depth would flow into is missing, too.

    Pillow's resize it is, as for the authors: it averages when it shrinks, which OpenCV's does not.

    Required keys: ``images``, ``missing``. Modified keys: these and ``img_shape``.

    Args:
        size: (height, width).
    """

    def __init__(self, size: tuple[int, int]):
        self.size = size

    def transform(self, results: dict) -> dict:
        results = _move(results, lambda image: mmcv.imresize(image, tuple(self.size)[::-1], backend='pillow'))
        for name, missing in results['missing'].items():
            missing[missing > 0] = 255
            results['images'][name][missing > 0] = 0
        return results


@TRANSFORMS.register_module()
class CropImages(BaseTransform):
    """Crops all modalities at one random place, which is always inside (the authors' may pass the border by a pixel).

    Required keys: ``images``, ``missing``. Modified keys: these and ``img_shape``.

    Args:
        size: (height, width).

    Raises:
        ValueError: if the crop is larger than the images.
    """

    def __init__(self, size: tuple[int, int]):
        self.size = size

    @cache_randomness
    def _corner(self, room: tuple[int, int]) -> tuple[int, int]:
        return np.random.randint(room[0] + 1), np.random.randint(room[1] + 1)

    def transform(self, results: dict) -> dict:
        height, width = self.size
        room = (results['img_shape'][0] - height, results['img_shape'][1] - width)
        if min(room) < 0:
            raise ValueError(
                f'CropImages.size is {tuple(self.size)}, but the images are {results["img_shape"]}: resize them to at '
                'least the size of the crop.'
            )
        top, left = self._corner(room)
        return _move(results, lambda image: image[top : top + height, left : left + width])


@TRANSFORMS.register_module()
class FlipImages(BaseTransform):
    """Mirrors all modalities, left to right, or none.

    Required keys: ``images``, ``missing``. Modified keys: the same.

    Args:
        prob: how often.
    """

    def __init__(self, prob: float):
        self.prob = prob

    @cache_randomness
    def _flip(self) -> bool:
        return np.random.rand() < self.prob

    def transform(self, results: dict) -> dict:
        return _move(results, lambda image: image[:, ::-1]) if self._flip() else results


@TRANSFORMS.register_module()
class PackTranslation(BaseTransform):
    """Packs the inputs side by side on the channels, in [-1, 1]; an image of one channel is tiled to three.

    ``inputs`` is ``(3M, H, W)`` float32. ``data_samples`` holds, if there is a target, ``gt_img`` ``(3, H, W)``
    float32 in [-1, 1] and ``mask`` ``(1, H, W)`` float32, 1 where the target is known, 0 where its depth is missing.
    Its class is mmengine's BaseDataElement, since mmagic stays out of the data sets; ``DataSample().update(sample)``
    makes it mmagic's.

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
            sample.gt_img = self._tensor(results['images'][target])
            missing = results['missing'].get(target, np.zeros(results['img_shape'], np.uint8))
            sample.mask = torch.from_numpy(missing == 0)[None].float()
        return dict(inputs=torch.cat([self._tensor(results['images'][m]) for m in modalities]), data_samples=sample)

    @staticmethod
    def _tensor(image: np.ndarray) -> torch.Tensor:
        image = np.stack([image] * 3) if image.ndim == 2 else image.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(image)).float() / 127.5 - 1
