"""Transforms that load the modalities and the labels, and check them."""

import io
from typing import Optional

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from ...registry import TRANSFORMS
from ..files import BadFileError
from ..modality import FORMATS, Modality, check_size, decoding, image_size, read_bounded
from .alignment import match_size, reference


@TRANSFORMS.register_module()
class LoadModalities(BaseTransform):
    """Reads the files of all modalities, with the settings in the data set's ``modalities``.

    RGB becomes ``img``, in BGR order as mmseg's transforms expect it. Without RGB, ``img`` is black and only has the
    right size: that of the first modality without ``resize``, or of the label if all are resized. All other modalities
    are in ``modality_fields``, which the geometric transforms of cen_mm move with the image.

    Required keys: ``modality_paths``, ``modality_settings``. Added keys: ``img`` ``(H, W, 3)``, the name of each other
    modality, ``(H, W)`` or ``(H, W, C)``, ``modality_fields``, ``img_shape``, ``ori_shape``.

    Args:
        backend_args: arguments of mmengine's file backend.

    Raises:
        BadFileError: if a file cannot be read or decoded, differs from its settings, or differs in size from the first
            one.
    """

    def __init__(self, backend_args: Optional[dict] = None):
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        paths, settings = results['modality_paths'], results['modality_settings']
        first = 'rgb' if 'rgb' in paths else reference(paths, settings)
        shape = None
        if settings[first].resize and first != 'rgb' and 'seg_map_path' in results:
            label = results.get('label_settings') or Modality()
            content = read_bounded(results['seg_map_path'], self.backend_args, label.max_pixels)
            with decoding(results['seg_map_path']):
                shape = image_size(content)[::-1]
        for name in (first, *(name for name in paths if name != first)):
            image = settings[name].load(paths[name], name, name == 'rgb', self.backend_args)
            shape = shape or image.shape[:2]
            if name == 'rgb' and settings[name].channels is None and image.shape[2:] not in ((), (3,)):
                raise BadFileError(
                    paths[name],
                    'channels',
                    f'has {image.shape[2]} channels, but rgb has 3: save it without the others, or set '
                    'channels=[0, 1, 2] for rgb in the data set to ignore them.',
                )
            results[name] = match_size(image, shape, name, first, paths, settings[name])
        results['modality_fields'] = {name: settings[name] for name in paths if name != 'rgb'}
        image = results.pop('rgb', None)
        if image is None:
            image = np.zeros((*shape, 3), np.uint8)
        results['img'] = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        results['img_shape'] = results['ori_shape'] = shape
        return results


@TRANSFORMS.register_module()
class LoadLabels(BaseTransform):
    """Reads the label map, checks its classes and maps them to the selected classes.

    Unlabeled pixels become 255, whatever the data set's ``ignore_index``. With ``reduce_zero_label``, class 0 becomes
    unlabeled and all other classes are reduced by 1, before classes are selected. Must come after LoadModalities. Does
    nothing if the data set has no labels and ``augment`` is False.

    Required keys: ``seg_map_path``, ``num_classes``, ``seg_fields``. Optional keys: ``label_map``, ``ignore_index``,
    ``file_label_map``, ``reduce_zero_label``, ``label_settings``. Added key: ``gt_seg_map``, ``(H, W)`` uint8.

    Args:
        augment: whether to resize and flip the label, too. Must be False at test time, where predictions are resized
            and flipped back to match the label.
        crop_to_label: whether the label may cover only the center of the image. All modalities are then cropped to it,
            as in the authors' code. False: the label must have the size of the image.
        backend_args: arguments of mmengine's file backend.

    Raises:
        ValueError: if there is no label for training, or the images have been resized or flipped before.
        BadFileError: if the file cannot be read or decoded, is not an 8-bit one-channel image, contains a class that
            the data set does not have, or differs from the image in size.
    """

    def __init__(self, augment: bool = True, crop_to_label: bool = False, backend_args: Optional[dict] = None):
        self.augment = augment
        self.crop_to_label = crop_to_label
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        if 'seg_map_path' not in results:
            if self.augment:
                raise ValueError('The data set has no labels, but training needs them: set label in the data set.')
            return results
        if results['img_shape'] != results['ori_shape'] or 'flip' in results:
            raise ValueError('The images move before their label is loaded: put LoadLabels after LoadModalities.')
        path = results['seg_map_path']
        label = self.map_classes(path, self.read(results), results)
        self._align(path, label.shape, results)
        results['gt_seg_map'] = label
        if self.augment:
            results['seg_fields'].append('gt_seg_map')
        return results

    def read(self, results: dict) -> np.ndarray:
        """Reads the label file, ``(H, W)`` uint8, with the values of the file."""
        path, settings = results['seg_map_path'], results.get('label_settings') or Modality()
        content = read_bounded(path, self.backend_args, settings.max_pixels)
        with decoding(path):
            check_size(path, *image_size(content), max_pixels=settings.max_pixels)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                image.verify()  # PNG to its end, also if a package has set LOAD_TRUNCATED_IMAGES
            # Pillow, because OpenCV replaces the class indices of palette images by colors.
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                label, lossy = np.array(image), image.format == 'JPEG'
        if lossy:
            raise BadFileError(path, 'type', 'is a JPEG file, which changes classes: save labels as 8-bit PNG.')
        if label.ndim == 3 and settings.channels and settings.channels[0] < label.shape[2]:
            label = label[..., settings.channels[0]]
        if label.dtype != np.uint8 or label.ndim != 2:
            select = ", or select one with label=dict(path='..', channels=[0]) in the data set" * (label.ndim == 3)
            text = f'is {label.dtype} {label.shape}: save labels as 8-bit PNG with one channel{select}.'
            raise BadFileError(path, 'type', text)
        return label

    @staticmethod
    def map_classes(path: str, label: np.ndarray, results: dict) -> np.ndarray:
        """Converts the values of the file to classes, and 255 for unlabeled pixels."""
        if results.get('file_label_map') is not None:
            table = np.full(256, 255, np.uint8)
            for value, index in results['file_label_map'].items():
                table[value] = index
            label = table[label]
        label = np.where(label == results.get('ignore_index', 255), np.uint8(255), label)
        if results.get('reduce_zero_label'):
            label = np.where(label == 255, label, label - np.uint8(1))  # 0 wraps around to 255
        label_map = results.get('label_map')
        num_raw_classes = len(label_map) if label_map else results['num_classes']
        highest = label[label != 255].max(initial=0)
        if highest >= num_raw_classes:
            raise BadFileError(
                path,
                'label',
                f'contains label {highest}, but the classes are 0 to {num_raw_classes - 1} and 255 is unlabeled: '
                'convert the labels, or list all classes of the data set in its METAINFO.',
            )
        if label_map:
            table = np.full(256, 255, np.uint8)
            table[list(label_map)] = list(label_map.values())
            label = table[label]
        return label

    def _align(self, path: str, size: tuple[int, int], results: dict) -> None:
        """Crops the modalities to the label, or raises ValueError if it has another size."""
        shape = results['img_shape']
        top, left = ((have - want) // 2 for have, want in zip(shape, size))
        if (top < 0 or left < 0) or (size != shape and not self.crop_to_label):
            fix = 'save it in the size of the image' + (' or of its center region.' if self.crop_to_label else '.')
            image = f'its image {results["img_path"]} is {shape[1]}x{shape[0]}'
            raise BadFileError(path, 'size', f'is {size[1]}x{size[0]}, but {image}: {fix}')
        if size != shape:
            for key in ('img', *results['modality_fields']):
                results[key] = results[key][top : top + size[0], left : left + size[1]]
            results['img_shape'] = results['ori_shape'] = size
