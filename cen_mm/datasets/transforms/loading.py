"""Transforms that load depth, other modalities and labels, and check them."""

from typing import Optional

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio

from ...registry import TRANSFORMS


def _read_modality(results: dict, name: str, backend_args: Optional[dict]) -> np.ndarray:
    """Reads the file of a modality with its data type unchanged, ``(H, W)`` or ``(H, W, 3)`` in RGB order.

    Raises:
        ValueError: if the file cannot be decoded, or its size differs from the image's.
    """
    path = results['modality_paths'][name]
    content = fileio.get(path, backend_args=backend_args)
    image = mmcv.imfrombytes(content, flag='unchanged') if content else None
    if image is None:
        raise ValueError(f'{path} cannot be decoded: replace it with a PNG file.')
    if image.shape[:2] != results['img'].shape[:2]:
        (height, width), (image_height, image_width) = image.shape[:2], results['img'].shape[:2]
        raise ValueError(
            f'{path} is {width}x{height}, but {results["img_path"]} is {image_width}x{image_height}: '
            f'align {name} with the image and save both in the same size.'
        )
    return image if image.ndim == 2 else image[..., ::-1]


@TRANSFORMS.register_module()
class LoadDepth(BaseTransform):
    """Reads a 16-bit depth PNG and converts it to meters. Missing depth, 0, stays 0.

    Must come after LoadImageFromFile. Does nothing if the data set's modalities do not include depth. Depth is added
    to ``modality_fields``: the geometric transforms of cen_mm move these with the image, by nearest neighbor, because
    the mean of two depths would be a surface that does not exist.

    Required keys: ``modality_paths``, ``img``. Added key: ``depth``, ``(H, W)`` float32, meters.

    Args:
        depth_scale: depth units per meter in the file: 5000 in the authors' files, 1000 for Kinect's millimeters.
        backend_args: arguments of mmengine's file backend.

    Raises:
        ValueError: if the file is not a 16-bit one-channel image, or its size differs from the image's.
    """

    def __init__(self, depth_scale: float, backend_args: Optional[dict] = None):
        self.depth_scale = depth_scale
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        if 'depth' not in results['modality_paths']:
            return results
        path, depth = results['modality_paths']['depth'], _read_modality(results, 'depth', self.backend_args)
        if depth.dtype != np.uint16 or depth.ndim != 2:
            channels = 1 if depth.ndim == 2 else depth.shape[2]
            raise ValueError(
                f'{path} is {8 * depth.itemsize}-bit with {channels} channel(s), but depth must be a 16-bit PNG with '
                f'one channel: save depth in meters times {self.depth_scale:g} as 16-bit.'
            )
        results['depth'] = depth.astype(np.float32) / np.float32(self.depth_scale)
        results.setdefault('modality_fields', []).append('depth')
        return results


@TRANSFORMS.register_module()
class LoadModality(BaseTransform):
    """Reads another modality, such as surface normals, from an 8-bit image with one or three channels.

    Must come after LoadImageFromFile. Does nothing if the data set's modalities do not include this one. The modality
    is added to ``modality_fields``: the geometric transforms of cen_mm move these with the image, by nearest neighbor,
    because the mean of two normals is not a normal. A horizontal flip moves the pixels and keeps their values, as in
    the authors' image translation.

    Required keys: ``modality_paths``, ``img``. Added key: the modality's name, ``(H, W)`` or
    ``(H, W, 3)`` in RGB order, uint8.

    Args:
        key: name of the modality.
        backend_args: arguments of mmengine's file backend.

    Raises:
        ValueError: if the file is not an 8-bit image with one or three channels, or its size differs from the image's.
    """

    def __init__(self, key: str, backend_args: Optional[dict] = None):
        self.key = key
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        if self.key not in results['modality_paths']:
            return results
        image = _read_modality(results, self.key, self.backend_args)
        if image.dtype != np.uint8 or image.shape[2:] not in ((), (3,)):
            raise ValueError(
                f'{results["modality_paths"][self.key]} is {image.dtype} {image.shape}: '
                f'save {self.key} as 8-bit PNG with one or three channels.'
            )
        results[self.key] = np.ascontiguousarray(image)
        results.setdefault('modality_fields', []).append(self.key)
        return results


@TRANSFORMS.register_module()
class LoadLabels(BaseTransform):
    """Reads the label map, checks its classes and maps them to the selected classes.

    Unlabeled pixels become 255, whatever the data set's ``ignore_index``. With ``reduce_zero_label``, class 0 becomes
    unlabeled and all other classes are reduced by 1, before classes are selected.

    Required keys: ``seg_map_path``, ``label_map``, ``num_classes``, ``seg_fields``. Optional keys: ``ignore_index``,
    ``reduce_zero_label``. Added key: ``gt_seg_map``, ``(H, W)`` uint8.

    Args:
        augment: whether to resize and flip the label, too. Must be False at test time, where predictions are resized
            and flipped back to match the label.
        backend_args: arguments of mmengine's file backend.

    Raises:
        ValueError: if the file is not an 8-bit one-channel image, or contains a class that the data set does not have.
    """

    def __init__(self, augment: bool = True, backend_args: Optional[dict] = None):
        self.augment = augment
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        path = results['seg_map_path']
        content = fileio.get(path, backend_args=self.backend_args)
        label = mmcv.imfrombytes(content, flag='unchanged', backend='pillow')
        if label.dtype != np.uint8 or label.ndim != 2:
            raise ValueError(f'{path} is {label.dtype} {label.shape}: save labels as 8-bit PNG with one channel.')
        label = np.where(label == results.get('ignore_index', 255), np.uint8(255), label)
        if results.get('reduce_zero_label'):
            label = np.where(label == 255, label, label - np.uint8(1))  # 0 wraps around to 255
        label_map = results['label_map']
        num_raw_classes = len(label_map) if label_map else results['num_classes']
        highest = label[label != 255].max(initial=0)
        if highest >= num_raw_classes:
            raise ValueError(
                f'{path} contains label {highest}, but the classes are 0 to {num_raw_classes - 1} and 255 is '
                'unlabeled: convert the labels, or list all classes of the data set in its METAINFO.'
            )
        if label_map:
            table = np.full(256, 255, np.uint8)
            table[list(label_map)] = list(label_map.values())
            label = table[label]
        results['gt_seg_map'] = label
        if self.augment:
            results['seg_fields'].append('gt_seg_map')
        return results
