"""Geometric transforms of mmseg and mmcv that move all modalities with the image and the label.

``cen_mm.RandomRotate`` has the arguments of ``RandomRotate``, and so on. The modalities move with the same random
parameters, and each has its own interpolation and padding value
(:class:`~cen_mm.datasets.modality.Modality`).
"""

from contextlib import contextmanager
from dataclasses import replace
from typing import Iterable, Iterator

import numpy as np
from mmcv.transforms import BaseTransform, CenterCrop, Pad, RandomChoiceResize, RandomResize
from mmcv.transforms.utils import cache_random_params
from mmseg.datasets.transforms import (
    RandomCrop,
    RandomCutOut,
    RandomFlip,
    RandomRotate,
    Resize,
    ResizeShortestEdge,
    ResizeToMultiple,
)

from ...registry import TRANSFORMS
from ..modality import Modality

# Transforms that mmseg undoes on the predictions of tests
UNDONE = (RandomChoiceResize, RandomFlip, RandomResize, Resize, ResizeShortestEdge, ResizeToMultiple)
INTERPOLATING = (RandomChoiceResize, RandomResize, RandomRotate, Resize, ResizeShortestEdge, ResizeToMultiple)
# Transforms that move no pixels, or only contain other transforms.
PIXELS_STAY = {
    'AdjustGamma', 'CLAHE', 'Compose', 'GenerateEdge', 'PhotoMetricDistortion', 'RGB2Gray', 'RandomApply',
    'RandomChoice', 'RandomGrayscale', 'Rerange', 'TestTimeAug',
}  # fmt: skip

# What replaces the transforms of mmseg that read and pack one image.
OURS = dict(LoadImageFromFile='LoadModalities', LoadAnnotations='LoadLabels', PackSegInputs='PackModalities')


@contextmanager
def _settings_of(transform: BaseTransform, modality: Modality, pad_val: float) -> Iterator[None]:
    """Makes a transform use the interpolation and padding value of a modality while the context is active."""
    resize = getattr(transform, 'resize', transform)  # of RandomResize and RandomChoiceResize
    # 'pal_val' is mmseg's spelling in RandomRotate.
    new = [(transform, name, pad_val) for name in ('seg_pad_val', 'seg_fill_in', 'pal_val')]
    new.append((resize, 'interpolation', modality.interpolation))
    new.append((transform, 'swap_seg_labels', None))  # of RandomFlip: classes, not values of a modality
    if isinstance(transform, Pad):
        new.append((transform, 'pad_val', {**transform.pad_val, 'seg': pad_val}))
    if isinstance(transform, CenterCrop):  # it builds a Pad
        new.append((transform, 'pad_cfg', {**transform.pad_cfg, 'pad_val': dict(seg=pad_val)}))
    old = [(owner, name, getattr(owner, name)) for owner, name, _ in new if hasattr(owner, name)]
    try:
        for owner, name, value in new:
            if hasattr(owner, name):
                setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in old:
            setattr(owner, name, value)


def _move(base: type, self: BaseTransform, inputs: dict, image: np.ndarray, modality: Modality) -> np.ndarray:
    """Applies a transform to a modality, one channel at a time: mmcv's padding fills only the first of several."""
    if image.ndim == 3:
        channels = np.moveaxis(image, -1, 0)
        values = np.broadcast_to(modality.pad_val, len(channels))
        moved = [
            _move(base, self, inputs, channel, replace(modality, pad_val=float(value)))
            for channel, value in zip(channels, values)
        ]
        return np.stack(moved, axis=-1)
    # Labels move by nearest neighbor, images by the transform's interpolation.
    smooth = modality.interpolation != 'nearest' and base in INTERPOLATING
    image = np.ascontiguousarray(image)
    key, fields = ('img', dict(seg_fields=[])) if smooth else ('gt_seg_map', dict(seg_fields=['gt_seg_map']))
    with _settings_of(self, modality, modality.pad_val):
        return base.transform(self, {**inputs, key: image.copy(), **fields})[key]


def _with_modalities(base: type) -> type:
    """Derives a transform that also moves the modalities."""

    def transform(self: BaseTransform, results: dict) -> dict:
        label = None
        if 'gt_seg_map' not in results.get('seg_fields', ()):  # LoadLabels(augment=False), for tests
            label = results.pop('gt_seg_map', None)
            if label is not None and not issubclass(base, UNDONE):
                raise ValueError(
                    f'cen_mm.{base.__name__} would move the images, but not their labels, and predictions are not '
                    'moved back: remove it from the pipelines for validation and test. To pad, set test_cfg=dict('
                    'size_divisor=..) in model.data_preprocessor.'
                )
        inputs = dict(results)
        with cache_random_params(self):
            results = base.transform(self, results)
            for name, modality in results.get('modality_fields', {}).items():
                moved = _move(base, self, inputs, inputs[name], modality)
                if modality.vectors:
                    rotate, degrees = self.generate_degree() if isinstance(self, RandomRotate) else (False, 0.0)
                    direction = results['flip_direction'] if isinstance(self, RandomFlip) and results['flip'] else ''
                    moved = turn_vectors(moved, modality, direction, degrees if rotate else 0.0)
                results[name] = moved
        # What mmcv leaves cannot be pickled, for workers that are spawned.
        for name in ('transform', *getattr(self, '_methods_with_randomness', ())):
            vars(self).pop(name, None)
        return results if label is None else {**results, 'gt_seg_map': label}

    doc = f'{base.__name__} of {base.__module__.partition(".")[0]} that also moves the modalities.'
    return TRANSFORMS.register_module(
        module=type(base.__name__, (base,), dict(transform=transform, __doc__=doc, __module__=__name__))
    )


def turn_vectors(image: np.ndarray, modality: Modality, flip: str, degrees: float) -> np.ndarray:
    """Turns the values of a vector image, such as surface normals, as a flip or rotation has turned its pixels.

    Args:
        image: vectors, ``(H, W, C)``; the first two channels are x (right) and y. 8-bit values are
            ``127.5 * (1 + v)``.
        modality: settings with ``vectors`` ``'y_up'`` or ``'y_down'``. Pixels with its ``pad_val`` do not change.
        flip: ``'horizontal'``, ``'vertical'``, ``'diagonal'`` (both) or empty.
        degrees: clockwise rotation.

    Returns:
        An image of the same shape and type.
    """
    sign_x = -1 if flip in ('horizontal', 'diagonal') else 1
    sign_y = -1 if flip in ('vertical', 'diagonal') else 1
    if sign_x == sign_y == 1 and not degrees:
        return image
    missing = (image == np.asarray(modality.pad_val)).all(axis=-1)
    vectors = image / 127.5 - 1 if image.dtype == np.uint8 else image.copy()
    x, y = sign_x * vectors[..., 0], sign_y * vectors[..., 1]
    angle = np.deg2rad(degrees if modality.vectors == 'y_down' else -degrees)
    vectors[..., 0] = np.cos(angle) * x - np.sin(angle) * y
    vectors[..., 1] = np.sin(angle) * x + np.cos(angle) * y
    if image.dtype == np.uint8:
        vectors = np.rint(np.clip(127.5 * (1 + vectors), 0, 255)).astype(np.uint8)
    return np.where(missing[..., None], image, vectors)


for _base in (
    CenterCrop,
    Pad,
    RandomChoiceResize,
    RandomCrop,
    RandomCutOut,
    RandomFlip,
    RandomResize,
    RandomRotate,
    Resize,
    ResizeShortestEdge,
    ResizeToMultiple,
):
    globals()[_base.__name__] = _with_modalities(_base)  # under this name, data loader workers can unpickle it


def check_pipeline(transforms: Iterable[BaseTransform]) -> None:
    """Checks that every transform moves all modalities, or none.

    A transform of your own passes if its class has the attribute ``moves_modalities = True``. It must move the fields
    in ``results['modality_fields']`` like the image.

    Raises:
        ValueError: for a transform that would move the image, but not the modalities.
    """
    for transform in transforms:
        kind = type(transform)
        # Albu keeps the configs of its own transforms.
        check_pipeline(each for each in getattr(transform, 'transforms', ()) if not isinstance(each, dict))
        check_pipeline(getattr(transform, 'subroutines', ()))  # of TestTimeAug
        ours = kind.__module__.startswith('cen_mm.') or getattr(kind, 'moves_modalities', False)
        if not ours and kind.__name__ not in PIXELS_STAY:
            if kind.__name__ in OURS:
                raise ValueError(
                    f'The pipeline contains {kind.__name__}, which reads or packs one image: use '
                    f"type='cen_mm.{OURS[kind.__name__]}'."
                )
            known = (
                f"type='cen_mm.{kind.__name__}'" if kind.__name__ in TRANSFORMS.module_dict else 'another transform'
            )
            raise ValueError(
                f'The pipeline contains {kind.__name__}, which is not known to move other modalities with the '
                f'image: use {known}, or set {kind.__name__}.moves_modalities = True if it moves modality_fields.'
            )
