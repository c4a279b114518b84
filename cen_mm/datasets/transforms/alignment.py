"""Comparing the sizes of the images of a sample."""

from typing import Iterable, Optional

import mmcv
import numpy as np

from ..files import BadFileError
from ..modality import Modality


def reference(paths: Iterable[str], settings: dict[str, Modality]) -> str:
    """Returns the name of the image whose size counts: the first one that is not resized, or the first one."""
    names = list(paths)
    return next((name for name in names if not settings[name].resize), names[0])


def match_size(
    image: np.ndarray, shape: tuple[int, int], name: str, first: str, paths: dict, settings: Optional[Modality] = None
) -> np.ndarray:
    """Checks that an image has the size of the first modality's image, or resizes it.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``.
        shape: (height, width) of the first modality's image.
        name: name of the image.
        first: name of the first modality.
        paths: {name: path}, for errors.
        settings: settings of the image. It is resized if its ``resize`` is True.

    Raises:
        BadFileError: if the sizes differ and ``resize`` is False, or there are no settings.
    """
    if image.shape[:2] == shape:
        return image
    if settings is not None and settings.resize:
        return mmcv.imresize(image, shape[::-1], interpolation=settings.interpolation)
    hint = f', or set resize=True for {name} in the data set if they are aligned' if settings is not None else ''
    raise BadFileError(
        paths[name],
        'size',
        f'is {image.shape[1]}x{image.shape[0]}, but {paths[first]} is {shape[1]}x{shape[0]}: align {name} with '
        f'{first} and save both in the same size{hint}.',
    )
