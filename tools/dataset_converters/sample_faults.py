"""Finds what is wrong with the files of one sample, for check_dataset.py."""

import io
from typing import Callable, Iterator

import numpy as np
from PIL import Image

from cen_mm.datasets import LoadLabels, TaskonomyDataset
from cen_mm.datasets.base import FileDataset
from cen_mm.datasets.files import BadFileError, Fault, read_file
from cen_mm.datasets.modality import FORMATS, Modality, read_image
from cen_mm.datasets.taskonomy import DEPTH_MISSING
from cen_mm.engine.samples import SINGLE_FILES, files_of

DOUBTFUL = ('channels differ', 'EXIF orientation', 'interpolated labels', 'NaN')  # kinds that may be intended
SATURATED_SHARE = 0.01  # of the pixels, from which 65535 is not taken for a measurement
BETWEEN_SHARE = 0.1  # of label borders; see interpolated


def check_sample(
    dataset: FileDataset, index: int, known: set[str], begin: Callable[[str], None]
) -> tuple[list[Fault], dict[str, tuple[str, int]]]:
    """Checks each file of a sample alone, and then all of them together with the data set's pipeline.

    Args:
        dataset: data set whose pipeline only loads.
        index: index of the sample.
        known: paths that are not read.
        begin: is called with the path before a file is read.

    Returns:
        The faults, and {image: (path, number of channels)}.
    """
    info = dataset.get_data_info(index)
    faults: list[Fault] = []
    channels = {}
    bad = set(known)

    def failed(error: BadFileError) -> None:
        faults.append(Fault(error.path, error.kind, str(error)))
        bad.add(error.path)

    for name, path, settings in _images(dataset, info):
        if path not in bad:
            begin(path)
            try:
                image = read_image(path, dataset.backend_args, max_pixels=settings.max_pixels)
            except BadFileError as error:
                failed(error)
                continue
            image = np.atleast_3d(image)
            channels[name] = path, image.shape[2]
            if settings.channels is not None and max(settings.channels) < image.shape[2]:
                image = image[..., list(settings.channels)]
            faults += check_values(path, image, settings)
            faults += check_orientation(path, read_file(path, dataset.backend_args))
    for step in dataset.pipeline.transforms:
        path = info.get('seg_map_path', '')
        if isinstance(step, LoadLabels) and path and path not in bad:
            begin(path)
            try:
                values = step.read(info)
                faults += check_labels(path, values, step.map_classes(path, values, info))
            except BadFileError as error:
                failed(error)
    begin(' and '.join(files_of(info)))
    while True:
        usable = _without(dataset.get_data_info(index), bad)
        try:
            dataset.pipeline(usable)
        except BadFileError as error:
            if error.path in bad:
                break  # a transform of the user reads it in another way
            failed(error)
        except Exception as error:  # of a transform of the user, or because a file above is left out
            if not bad.intersection(files_of(info)):
                path = files_of(info)[0]
                text = f'{path} and the other files of its sample cannot be loaded ({type(error).__name__}: {error}).'
                faults.append(Fault(path, 'error', text))
            break
        else:
            break
    return faults, channels


def _images(dataset: FileDataset, info: dict) -> Iterator[tuple[str, str, Modality]]:
    """Yields name, path and settings of each input and of the target."""
    settings = info.get('modality_settings', {})
    paths = dict(info['modality_paths'])
    if 'target_path' in info:
        paths[info['target']] = info['target_path']
    for name, path in paths.items():
        depth = isinstance(dataset, TaskonomyDataset) and name.startswith('depth')
        yield name, path, settings.get(name) or Modality(invalid=DEPTH_MISSING if depth else None)


def _without(info: dict, bad: set[str]) -> dict:
    """Leaves out the bad files of a sample."""
    paths = {name: path for name, path in info['modality_paths'].items() if path not in bad}
    return {k: v for k, v in info.items() if k not in SINGLE_FILES or v not in bad} | dict(modality_paths=paths)


def check_values(path: str, image: np.ndarray, settings: Modality) -> Iterator[Fault]:
    """Finds images that are constant, without a measurement, or saturated, and NaN.

    Args:
        path: path of the file.
        image: selected channels of the file, ``(H, W, C)``.
        settings: settings of the modality; only ``invalid`` is used.
    """
    pixels = image.reshape(-1, image.shape[2])
    valid = np.isfinite(pixels).all(axis=1) if image.dtype.kind == 'f' else np.ones(len(pixels), bool)
    if not valid.all():
        number = len(pixels) - valid.sum()
        if settings.invalid is None:
            yield Fault(path, 'NaN', f'{path} has {number} pixels with NaN or infinity, which count as invalid.')
        else:
            text = f'besides invalid={settings.invalid}: find out why, or store one value for missing pixels.'
            yield Fault(path, 'NaN besides invalid', f'{path} has {number} pixels with NaN or infinity {text}')
    if settings.invalid is not None:
        valid &= (pixels != settings.invalid).any(axis=1)
    measured = pixels[valid]
    if not len(measured):
        yield Fault(path, 'empty', f'{path} has no valid pixel: remove the sample.')
    elif len(measured) > 1 and (measured == measured[0]).all():
        yield Fault(path, 'constant', f'{path} has the value {measured[0].tolist()} everywhere: remove the sample.')
    share = (measured == 65535).mean() if image.dtype == np.uint16 and len(measured) else 0
    if share > SATURATED_SHARE:
        text = f'is 65535 in {share:.0%} of the pixels, which is seldom a measurement: set invalid=65535, or use 0.'
        yield Fault(path, 'saturated', f'{path} {text}')


def check_orientation(path: str, content: bytes) -> Iterator[Fault]:
    """Finds images whose EXIF orientation would turn them."""
    if path.lower().endswith(('.npy', '.npz')):
        return
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            # Pillow decodes the whole PNG to find EXIF data behind the pixels.
            stored = image.format != 'PNG' or 'exif' in image.info
            orientation = image.getexif().get(0x0112, 1) if stored else 1
            turns = image.format == 'TIFF'  # OpenCV applies it there
    except Exception:  # TIFF of a type that Pillow lacks, or damaged EXIF data, which nothing uses
        return
    if orientation != 1:
        kind = 'turns the image' if turns else 'is ignored'
        text = f'{kind}, and the other files of the sample may have none: turn the pixels, and remove the tag.'
        yield Fault(path, 'EXIF orientation', f'{path} has EXIF orientation {orientation}, which {text}')


def check_labels(path: str, values: np.ndarray, label: np.ndarray) -> Iterator[Fault]:
    """Finds labels without any labeled pixel, and interpolated ones.

    Args:
        path: path of the file.
        values: content of the file, ``(H, W)``.
        label: classes, 255 where unlabeled.
    """
    if (label == 255).all():
        yield Fault(path, 'unlabeled', f'{path} has no labeled pixel: remove the sample, or correct label_map.')
    if (share := interpolated(values)) > BETWEEN_SHARE:
        text = f'has a value between those of both sides at {share:.0%} of the borders: do not interpolate labels.'
        yield Fault(path, 'interpolated labels', f'{path} {text}')


def interpolated(values: np.ndarray) -> float:
    """Returns the share of borders between classes at which a value lies between those of both sides.

    Of each three adjacent pixels in a row or column whose outer values differ by at least 2, the middle one is counted
    if it is strictly between them. Real labels have sharp borders, and the number of a class says nothing about its
    neighbors: the share is at most 0.01 in 372 label maps of NYUDv2, and at most 0.09 after reducing them by nearest
    neighbor to an eighth. Interpolated (bilinear, bicubic, mean of areas, JPEG; 1/2 to 3 times), it is at least 0.14.
    0 is returned for fewer than 200 borders, and always for labels of two adjacent classes.
    """
    between = borders = 0
    for lines in (values.astype(np.int16), values.astype(np.int16).T):
        left, middle, right = lines[:, :-2], lines[:, 1:-1], lines[:, 2:]
        border = abs(left - right) >= 2
        borders += border.sum()
        between += (border & (np.minimum(left, right) < middle) & (middle < np.maximum(left, right))).sum()
    return between / borders if borders >= 200 else 0.0
