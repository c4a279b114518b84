"""Transform that loads the images of a translation data set given by path patterns."""

from typing import Optional

import numpy as np
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS
from ..files import BadFileError
from .alignment import match_size, reference


@TRANSFORMS.register_module()
class LoadPairedImages(BaseTransform):
    """Reads the images of all inputs, of the target, and the mask, if given, with the settings of the data set.

    Required keys: ``modality_paths``, ``modality_settings``. Optional keys: ``target`` and ``target_path``,
    ``mask_path`` and ``mask_settings``. Added keys: ``images``, ``missing``, ``ignored``, ``ori_shape``,
    ``img_shape`` (see ``transforms/translation.py``).

    Args:
        backend_args: arguments of mmengine's file backend.

    Raises:
        BadFileError: if a file cannot be decoded or differs from its settings, the images differ in size, or the mask
            has several channels.
    """

    def __init__(self, backend_args: Optional[dict] = None):
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        paths, all_settings = dict(results['modality_paths']), results['modality_settings']
        if 'target_path' in results:
            paths[results['target']] = results['target_path']
        first, shape = reference(paths, all_settings), None
        images, all_missing = dict.fromkeys(paths), {}
        for name, path in sorted(paths.items(), key=lambda item: item[0] != first):
            settings = all_settings[name]
            image, missing = settings.load_image(path, name, self.backend_args)
            shape = shape or image.shape[:2]
            images[name] = match_size(image, shape, name, first, paths, settings)
            if missing.any():
                # Pixels interpolated from any missing pixel become missing, too; bicubic has negative weights.
                missing = match_size(missing.astype(np.float32), shape, name, first, paths, settings) != 0
                all_missing[name] = missing * np.uint8(255)
                images[name][missing] = 0
        ignored = self._read_mask(results, shape, first, paths) if 'mask_path' in results else {}
        return dict(results, images=images, missing=all_missing, ignored=ignored, ori_shape=shape, img_shape=shape)

    def _read_mask(self, results: dict, shape: tuple[int, int], first: str, paths: dict) -> dict[str, np.ndarray]:
        """Returns {target: ``(H, W)`` uint8, 255 where the mask is 0, and 0 elsewhere}."""
        path, settings, name = results['mask_path'], results['mask_settings'], 'mask'
        mask = settings.load(path, name, backend_args=self.backend_args)
        if mask.ndim != 2:
            text = 'but a mask has one: select it with channels=[0] for mask in the data set.'
            raise BadFileError(path, 'channels', f'has {mask.shape[2]} channels, {text}')
        mask = match_size(mask, shape, name, first, {**paths, name: path}, settings)
        return {results['target']: (mask == 0) * np.uint8(255)}
