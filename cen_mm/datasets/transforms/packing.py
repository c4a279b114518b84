"""Transforms that pack the modalities: the last step of every pipeline."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement, PixelData
from mmseg.datasets import PackSegInputs

from ...registry import TRANSFORMS


class ModalityInputs(dict):
    """One image per modality. Code that expects a tensor, such as mmseg's browse_dataset.py, gets a clear error."""

    def __getattr__(self, name: str):
        raise AttributeError(
            f'inputs has no {name!r}, because it is a dict with one image per modality: run the command of cen_mm '
            "with the same name instead of mmseg's."
        )


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
        packed['inputs'] = ModalityInputs(
            {name: _to_tensor(results['img' if name == 'rgb' else name]) for name in modalities}
        )
        if 'gt_seg_map' in results:
            packed['data_samples'].gt_sem_seg = PixelData(data=_to_tensor(results['gt_seg_map']))
        return packed


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """Converts ``(H, W)`` or ``(H, W, C)`` to ``(C, H, W)``; a copy, as a crop's tensor would hold the whole image."""
    return torch.from_numpy(np.array(np.atleast_3d(image).transpose(2, 0, 1), order='C'))


@TRANSFORMS.register_module()
class PackTranslation(BaseTransform):
    """Concatenates the M input modalities along the channels, and packs the target.

    ``inputs`` is ``(3M, H, W)`` float32 in [-1, 1]; images with one channel are tiled to three. If there is a target,
    ``data_samples`` contains ``gt_img`` ``(3, H, W)`` float32 in [-1, 1] and ``mask`` ``(1, H, W)`` float32, 1 where
    the target counts, 0 where it is missing or ignored. ``data_samples`` is a BaseDataElement of mmengine, so that the
    data sets do not depend on mmagic; ``DataSample().update(sample)`` converts it to mmagic's class.

    Required keys: ``images``, ``missing``, ``modality_paths``. Optional keys: ``ignored``, ``target``,
    ``target_path``, ``sample_name``, ``sample_idx``.
    """

    META_KEYS = ('modality_paths', 'target', 'target_path', 'sample_name', 'sample_idx', 'ori_shape', 'img_shape')

    def transform(self, results: dict) -> dict:
        modalities = tuple(results['modality_paths'])
        meta = {key: results[key] for key in self.META_KEYS if key in results}
        sample = BaseDataElement(metainfo=dict(meta, modalities=modalities))
        if 'target_path' in results:
            target = results['target']
            sample.gt_img = _to_rgb(results['images'][target])
            counts = np.ones(results['img_shape'], bool)
            for pixels in (results['missing'], results.get('ignored', {})):
                counts &= pixels.get(target, 0) == 0
            sample.mask = torch.from_numpy(counts)[None].float()
        return dict(inputs=torch.cat([_to_rgb(results['images'][m]) for m in modalities]), data_samples=sample)


def _to_rgb(image: np.ndarray) -> torch.Tensor:
    """Converts ``(H, W)`` or ``(H, W, 3)`` with values from 0 to 255 to ``(3, H, W)`` in [-1, 1]."""
    image = np.stack([image] * 3) if image.ndim == 2 else image.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(image)).float() / 127.5 - 1
