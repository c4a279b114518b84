"""Reading some training samples, and checks of their images and labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .explain import describe

NUM_SAMPLES = 16
UNLABELED = 255  # after LoadLabels


@dataclass
class Images:
    """The images of one modality, or of the target of translation, in the samples that were read.

    Attributes:
        values: pixels that have a measurement, as the network gets them, ``(C, N)``.
        invalid: share of pixels that have none, or that are outside of the image.
        settings: settings of the files in the data set (:class:`~cen_mm.datasets.modality.Modality`), or None.
    """

    values: Tensor
    invalid: float
    settings: Any


def read_samples(dataset: Any, key: str, num_samples: int = NUM_SAMPLES) -> list[tuple[dict, dict]]:
    """Runs the pipeline on samples that are spread over a data set.

    Returns:
        For each sample the packed sample, and the results of the pipeline before it was packed. Samples for which the
        data set draws another one are left out.

    Raises:
        ValueError: if a sample cannot be read, or every image is smaller than the crop.
    """
    samples, crops = [], []
    for i in np.linspace(0, len(dataset) - 1, min(num_samples, len(dataset))).astype(int):
        before, results = {}, dataset.get_data_info(i)
        for transform in dataset.pipeline.transforms:
            kind = type(transform).__name__
            if kind == 'RandomCrop':
                crops.append((transform.crop_size, results['img_shape']))
            try:
                before, results = results, transform(dict(results))
            except Exception as error:
                skips = getattr(dataset, 'skip_bad_files', False) and not dataset.test_mode
                if not skips or not hasattr(error, 'path'):  # of BadFileError
                    raise ValueError(f'{key}, {kind} on sample {i}: {describe(error)}') from error
                results = None
            if results is None:
                break
        else:
            samples.append((results, before))
    if not samples:
        raise ValueError(f'{key}: no sample can be read, or the pipeline returns None for all of them.')
    if crops and all(height > shape[0] or width > shape[1] for (height, width), shape in crops):
        largest = max(shape for _, shape in crops)
        raise ValueError(
            f'{key}: RandomCrop.crop_size={crops[0][0]} is larger than every image, such as {largest}, both in '
            '(height, width): reduce crop_size.'
        )
    return samples


def normalize(samples: list[tuple[dict, dict]], dataset: Any, preprocessor: Any, collate: Any) -> dict[str, Images]:
    """Normalizes samples as the model does; returns the images by modality, and those of the target of translation."""
    settings = getattr(dataset, 'settings', getattr(dataset, 'modalities', {}))
    values: dict[str, list[Tensor]] = {}
    num_pixels = 0
    for packed, before in samples:
        raw, data = packed['inputs'], preprocessor(collate([packed]), True)
        sample = data['data_samples'][0]
        height, width = sample.img_shape[:2]
        sizes = getattr(preprocessor, 'channels', dict.fromkeys(sample.modalities, 3))
        parts = dict(zip(sample.modalities, data['inputs'][0].split([sizes[name] for name in sample.modalities])))
        if 'gt_img' in sample:
            parts[sample.target] = sample.gt_img
        for name, part in parts.items():
            valid = torch.ones(height, width, dtype=torch.bool)
            if name in before.get('missing', {}):
                valid = torch.from_numpy(before['missing'][name] == 0)
            elif isinstance(raw, dict) and _has_invalid(settings[name]):
                valid = (raw[name] != torch.as_tensor(settings[name].pad_val).view(-1, 1, 1)).any(0)
            values.setdefault(name, []).append(part[:, :height, :width].cpu()[:, valid])
        num_pixels += height * width
    joined = {name: torch.cat(parts, 1) for name, parts in values.items()}
    return {name: Images(x, 1 - x.shape[1] / num_pixels, settings.get(name)) for name, x in joined.items()}


def _has_invalid(settings: Any) -> bool:
    return settings.invalid is not None or np.dtype(settings.dtype).kind == 'f'


def count_labels(samples: list[tuple[dict, dict]]) -> Tensor:
    """Counts the pixels of each label, ``(256,)``; all zero if there are no labels."""
    maps = [packed['data_samples'].gt_sem_seg.data for packed, _ in samples if 'gt_sem_seg' in packed['data_samples']]
    return sum((torch.bincount(x.flatten(), minlength=256) for x in maps), torch.zeros(256, dtype=torch.long))


def check_labels(counts: Tensor, key: str) -> None:
    """Raises ValueError if no pixel of the samples has a class."""
    if counts.sum() > 0 and counts[:UNLABELED].sum() == 0:
        raise ValueError(
            f'{key}: all {counts.sum()} pixels of the samples are unlabeled. Correct ignore_index, reduce_zero_label, '
            'label_map or classes of the data set.'
        )


def check_images(images: dict[str, Images], preprocessor: Any) -> list[str]:
    """Checks the images of each modality, and whether the mean and standard deviation in the config fit.

    Returns:
        Warnings about what is doubtful.

    Raises:
        ValueError: if the values have another unit than the mean and standard deviation, or another sign.
    """
    constants = {}
    if hasattr(preprocessor, 'channels'):
        sizes = list(preprocessor.channels.values())
        parts = [getattr(preprocessor, key).flatten().cpu().split(sizes) for key in ('mean', 'std')]
        constants = dict(zip(preprocessor.channels, zip(*parts)))
    warnings = []
    for name, each in images.items():
        if each.values.numel() == 0:
            warnings.append(f'{name} has no valid pixel in the samples: correct its files, or `invalid`.')
        elif name in constants:
            warnings += check_normalization(name, each, *constants[name])
        elif each.values.std() < 0.02:
            warnings.append(
                f'{name} is almost constant in [-1, 1]: correct its `range` in the data set, or its files.'
            )
    return warnings


def check_normalization(name: str, images: Images, mean: Tensor, std: Tensor) -> list[str]:
    """Checks the images of one modality against the mean and standard deviation in the config.

    Args:
        name: name of the modality.
        images: its images.
        mean: mean that was subtracted, ``(C,)``.
        std: standard deviation that the images were divided by, ``(C,)``.

    Returns:
        Warnings about what is doubtful.

    Raises:
        ValueError: if the images have another unit, or another sign.
    """
    x, scale = images.values, images.settings.scale
    raw = x * std[:, None] + mean[:, None]
    says = f'model.data_preprocessor.modalities.{name} has mean={_numbers(mean)} and std={_numbers(std)}'
    facts = f'the images have {_numbers(raw.mean(1))} and {_numbers(raw.std(1))}'
    tool = 'tools/dataset_converters/modality_statistics.py CONFIG prints both'
    offset, spread = x.mean(1).abs().max(), x.std(1).max()
    as_it_is = bool((mean == 0).all() and (std == 1).all())  # on purpose, such as depth in meters
    if mean.min() < 0 <= raw.min():
        raise ValueError(f'{says}, but no value of the images is negative: remove the minus sign.')
    if not as_it_is and (offset > 10 or spread > 10 or 0 < spread < 0.02):
        scale = '' if scale is None else f', or correct scale={scale} in the data set'
        raise ValueError(f'{says}, but {facts}: give them in the unit of the images ({tool}){scale}.')
    fits = offset < 1.5 and 0.2 < spread < 3
    median = raw.median()
    if 'depth' in name and np.dtype(images.settings.dtype) != np.uint8 and not fits and not 0.3 < median < 10:
        return [f'The median of {name} is {median:.3g}, implausible in meters: correct scale={scale} in the data set.']
    if not fits and not (as_it_is and offset < 20):
        return [f'{says}, but {facts}: use these, unless it is intended ({tool}).']
    return []


def _numbers(values: Tensor) -> str:
    return f'[{", ".join(f"{value:.4g}" for value in values.tolist())}]'
