"""Transform that packs the modalities: the last step of every segmentation pipeline."""

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.datasets import PackSegInputs

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackModalities(PackSegInputs):
    """Packs the modalities as ``inputs`` {name: ``(C, H, W)``} and the rest as ``data_samples``.

    Each modality keeps its own data type and number of channels, and the label is packed as uint8: RGB and depth then
    have 8 bytes per pixel, 5 to 32 in mmseg's types. The preprocessor converts them on the model's device.

    Required keys: ``modality_paths``, ``img`` for ``rgb``, and the name of each other modality.
    """

    def __init__(self):
        super().__init__(
            meta_keys=(
                'img_path', 'modality_paths', 'modalities', 'seg_map_path', 'ori_shape', 'img_shape', 'pad_shape',
                'scale_factor', 'flip', 'flip_direction', 'reduce_zero_label',
            )
        )  # fmt: skip

    def transform(self, results: dict) -> dict:
        modalities = tuple(results['modality_paths'])
        rest = {key: value for key, value in results.items() if key not in ('img', 'gt_seg_map')}
        packed = super().transform(dict(rest, modalities=modalities))
        packed['inputs'] = {name: _to_tensor(results['img' if name == 'rgb' else name]) for name in modalities}
        if 'gt_seg_map' in results:
            packed['data_samples'].gt_sem_seg = PixelData(data=_to_tensor(results['gt_seg_map']))
        return packed


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """Converts ``(H, W)`` or ``(H, W, C)`` to ``(C, H, W)``; a copy, as a crop's tensor would hold the whole image."""
    return torch.from_numpy(np.array(np.atleast_3d(image).transpose(2, 0, 1), order='C'))
