"""Geometric transforms of mmseg and mmcv that move all modalities with the image and the label.

``cen_mm.RandomRotate`` has the arguments of ``RandomRotate``, and so on. The modalities move with the same random
parameters, by nearest neighbor, and pixels outside the image become 0, which is missing depth.
"""

from contextlib import contextmanager
from typing import Iterable, Iterator

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

# Transforms that move no pixels, or only contain other transforms.
PIXELS_STAY = {
    'AdjustGamma', 'CLAHE', 'Compose', 'GenerateEdge', 'LoadAnnotations', 'LoadImageFromFile', 'LoadImageFromNDArray',
    'PackSegInputs', 'PhotoMetricDistortion', 'RGB2Gray', 'RandomApply', 'RandomChoice', 'RandomGrayscale', 'Rerange',
    'TestTimeAug',
}  # fmt: skip


@contextmanager
def _fill_with_zeros(transform: BaseTransform) -> Iterator[None]:
    """Makes a transform fill new pixels of the label with 0 while the context is active."""
    new = {'seg_pad_val': 0, 'seg_fill_in': 0}
    if isinstance(transform, Pad):
        new['pad_val'] = {**transform.pad_val, 'seg': 0}
    old = {name: getattr(transform, name) for name in new if hasattr(transform, name)}
    try:
        vars(transform).update({name: new[name] for name in old})
        yield
    finally:
        vars(transform).update(old)


def _with_modalities(base: type) -> type:
    """Derives a transform that also moves the modalities, each in the place of the label."""

    def transform(self: BaseTransform, results: dict) -> dict:
        inputs = dict(results)
        with cache_random_params(self):
            results = base.transform(self, results)
            with _fill_with_zeros(self):
                for name in results.get('modality_fields', ()):
                    moved = dict(inputs, gt_seg_map=inputs[name].copy(), seg_fields=['gt_seg_map'])
                    results[name] = base.transform(self, moved)['gt_seg_map']
        return results

    doc = f'{base.__name__} of {base.__module__.partition(".")[0]} that also moves the modalities.'
    return TRANSFORMS.register_module(
        module=type(base.__name__, (base,), dict(transform=transform, __doc__=doc, __module__=__name__))
    )


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
        check_pipeline(getattr(transform, 'transforms', ()))
        check_pipeline(getattr(transform, 'subroutines', ()))  # of TestTimeAug
        ours = kind.__module__.startswith('cen_mm.') or getattr(kind, 'moves_modalities', False)
        if not ours and kind.__name__ not in PIXELS_STAY:
            known = (
                f"type='cen_mm.{kind.__name__}'" if kind.__name__ in TRANSFORMS.module_dict else 'another transform'
            )
            raise ValueError(
                f'The pipeline contains {kind.__name__}, which is not known to move other modalities with the '
                f'image: use {known}, or set {kind.__name__}.moves_modalities = True if it moves modality_fields.'
            )
