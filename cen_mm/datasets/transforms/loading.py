"""Reading what mmseg's LoadImageFromFile does not: depth, other modalities, and labels that are checked."""

from typing import Optional

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio

from ...registry import TRANSFORMS


def _read(results: dict, name: str, backend_args: Optional[dict]) -> np.ndarray:
    """The file of a modality as it is, RGB or grey.

    Raises:
        ValueError: if it cannot be decoded, or is not of the image's size.
    """
    path = results['modality_paths'][name]
    content = fileio.get(path, backend_args=backend_args)
    image = mmcv.imfrombytes(content, flag='unchanged') if content else None
    if image is None:
        raise ValueError(f'{path} cannot be decoded: replace it by a PNG.')
    if image.shape[:2] != results['img'].shape[:2]:
        (height, width), (want_height, want_width) = image.shape[:2], results['img'].shape[:2]
        raise ValueError(
            f'{path} is {width}x{height}, but {results["img_path"]} is {want_width}x{want_height}: '
            f'align {name} with the image and save both in one size.'
        )
    return image if image.ndim == 2 else image[..., ::-1]


@TRANSFORMS.register_module()
class LoadDepth(BaseTransform):
    """Reads a 16-bit depth PNG and turns its steps into metres. Missing depth, 0, stays 0.

    It follows LoadImageFromFile, and does nothing where the data set's modalities do not include depth. Listed in
    ``seg_fields``, depth then moves with the label through mmseg's transforms, by nearest neighbour: a mean of two
    depths would be a surface that is not there.

    Required keys: ``modality_paths``, ``img``, ``seg_fields``. Added key: ``depth``, ``(H, W)`` float32, metres.

    Args:
        scale: steps of the file a metre. The authors' files have 5000, Kinect's millimetres are 1000.
        backend_args: of mmengine's file backend.

    Raises:
        ValueError: if the file is no 16-bit one-channel image, or not of the image's size.
    """

    def __init__(self, scale: float, backend_args: Optional[dict] = None):
        self.scale = scale
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        if 'depth' not in results['modality_paths']:
            return results
        path, depth = results['modality_paths']['depth'], _read(results, 'depth', self.backend_args)
        if depth.dtype != np.uint16 or depth.ndim != 2:
            channels = 1 if depth.ndim == 2 else depth.shape[2]
            raise ValueError(
                f'{path} is {8 * depth.itemsize}-bit with {channels} channel(s), but depth is read from 16-bit PNG '
                f'with one: write depth in metres times {self.scale:g} as 16-bit.'
            )
        results['depth'] = depth.astype(np.float32) / np.float32(self.scale)
        results['seg_fields'].append('depth')
        return results


@TRANSFORMS.register_module()
class LoadModality(BaseTransform):
    """Reads another modality, such as surface normals, from an 8-bit image of one channel or three.

    It follows LoadImageFromFile, and does nothing where the data set's modalities do not include it. Listed in
    ``seg_fields``, it then moves with the label, by nearest neighbour: a mean of two normals is no normal. A mirror
    moves the pixels and leaves the values, as the authors' translation does with normals.

    Required keys: ``modality_paths``, ``img``, ``seg_fields``. Added key: the modality's name, ``(H, W)`` or
    ``(H, W, 3)`` in RGB order, uint8.

    Args:
        key: name of the modality.
        backend_args: of mmengine's file backend.

    Raises:
        ValueError: if the file is no 8-bit image of one or three channels, or not of the image's size.
    """

    def __init__(self, key: str, backend_args: Optional[dict] = None):
        self.key = key
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        if self.key not in results['modality_paths']:
            return results
        image = _read(results, self.key, self.backend_args)
        if image.dtype != np.uint8 or image.shape[2:] not in ((), (3,)):
            raise ValueError(
                f'{results["modality_paths"][self.key]} is {image.dtype} {image.shape}: '
                f'save {self.key} as 8-bit PNG with one channel or three.'
            )
        results[self.key] = np.ascontiguousarray(image)
        results['seg_fields'].append(self.key)
        return results


@TRANSFORMS.register_module()
class LoadLabels(BaseTransform):
    """Reads the label map, checks its classes and maps them to those chosen.

    Required keys: ``seg_map_path``, ``label_map``, ``num_classes``, ``seg_fields``. Added key: ``gt_seg_map``,
    ``(H, W)`` uint8.

    Args:
        augment: whether resizes and flips move the label too. At test time they must not: predictions are brought
            back to the label.
        backend_args: of mmengine's file backend.

    Raises:
        ValueError: if the file is no 8-bit one-channel image, or holds a class that the data set has not.
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
        label_map = results['label_map']
        num_raw_classes = len(label_map) if label_map else results['num_classes']
        highest = label[label != 255].max(initial=0)
        if highest >= num_raw_classes:
            raise ValueError(
                f'{path} holds label {highest}, but the classes are 0 to {num_raw_classes - 1}, 255 is '
                'unlabelled: convert the labels, or name all classes of the data set.'
            )
        if label_map:
            table = np.full(256, 255, np.uint8)
            table[list(label_map)] = list(label_map.values())
            label = table[label]
        results['gt_seg_map'] = label
        if self.augment:
            results['seg_fields'].append('gt_seg_map')
        return results
