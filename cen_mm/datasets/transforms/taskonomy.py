"""Transform that loads Taskonomy's images in the authors' value ranges."""

from functools import cache

import numpy as np
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS
from ..files import BadFileError
from ..modality import read_image
from ..taskonomy import DEPTH_MISSING, EDGE_MAX
from .alignment import match_size

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


@TRANSFORMS.register_module()
class LoadTaskonomyImages(BaseTransform):
    """Reads the images of all input modalities and of the target, if given, in the authors' value ranges.

    Required key: ``modality_paths``. Optional keys: ``target`` and ``target_path``. Added keys: ``images``,
    ``missing``, ``ori_shape``, ``img_shape``.

    Raises:
        BadFileError: if a file cannot be read or decoded, does not have the bit depth or the channels of its modality,
            or differs in size from the first one.
    """

    def transform(self, results: dict) -> dict:
        paths = dict(results['modality_paths'])
        if 'target_path' in results:
            paths[results['target']] = results['target_path']
        results['images'], results['missing'] = {}, {}
        first, shape = next(iter(paths)), None
        for name, path in paths.items():
            image = read_image(path)
            if name in SIXTEEN_BIT:
                if image.dtype != np.uint16 or image.ndim != 2:
                    text = f'is {image.dtype} {image.shape}: save {name} as 16-bit with one channel.'
                    raise BadFileError(path, 'type', text)
                if name not in EDGE_MAX and (image == DEPTH_MISSING).any():
                    results['missing'][name] = np.where(image == DEPTH_MISSING, np.uint8(255), np.uint8(0))
                image = to_8_bit_table(name)[image]
            elif image.dtype != np.uint8:
                raise BadFileError(path, 'type', f'is {image.dtype}: save {name} as 8-bit.')
            elif image.shape[2:] == (2,):
                raise BadFileError(path, 'channels', f'has 2 channels: save {name} with one or three.')
            shape = shape or image.shape[:2]
            image = image if image.ndim == 2 else image[..., :3]
            results['images'][name] = match_size(image, shape, name, first, paths)
        results['ori_shape'] = results['img_shape'] = shape
        return results
