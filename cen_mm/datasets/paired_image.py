"""Settings of the images of a translation data set, whose values become [-1, 1]."""

from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np

from .files import BadFileError
from .modality import Modality, to_float32


@dataclass(frozen=True)
class PairedImage(Modality):
    """How the files of an image are stored, and which of their values become -1 and 1.

    The settings are those of :class:`~cen_mm.datasets.modality.Modality`, without ``pad_val``, and ``range``.
    ``interpolation`` is that of ``resize``; ``ResizeImages`` is bilinear. ``vectors`` need three channels and a
    symmetric ``range``.

    Args:
        range: ``(low, high)``: values, after division by ``scale``, that become -1 and 1. Values outside are clipped.
            None: 0 and 255, for 8-bit files only; other types have no usual range, so it must be given. Pixels that
            are ``invalid`` in all channels, or NaN or infinite in any, become -1 and do not count in a target.

    Raises:
        ValueError: if a setting has an invalid value, or ``range`` is missing.
    """

    range: Optional[Sequence[float]] = None

    def __post_init__(self):
        super().__post_init__()
        if self.pad_val != 0:
            raise ValueError('pad_val is not used for translation: remove it, invalid pixels become -1.')
        if self.range is None:
            if np.dtype(self.dtype) != np.uint8 or self.scale is not None:
                divided = '' if self.scale is None else f' divided by {self.scale}'
                raise ValueError(
                    f'{self.dtype} values{divided} have no usual range: give range=(low, high), which become -1 and 1.'
                )
        elif np.shape(self.range) != (2,) or not -np.inf < self.range[0] < self.range[1] < np.inf:
            raise ValueError(f'range={self.range}: give two numbers (low, high) with low < high, both finite.')
        elif self.vectors and self.range[0] != -self.range[1]:
            raise ValueError(f'range={self.range}: vectors need a symmetric range, such as (-1, 1).')

    def load_image(self, path: str, name: str, backend_args: Optional[dict] = None) -> tuple[np.ndarray, np.ndarray]:
        """Reads a file.

        Args:
            path: path of the file.
            name: name of the image, for errors.
            backend_args: arguments of mmengine's file backend.

        Returns:
            The image, ``(H, W)`` or ``(H, W, 3)``, uint8 or, with ``range``, float32 in [0, 255], 0 at missing pixels;
            and whether each pixel is missing, ``(H, W)`` bool.

        Raises:
            BadFileError: if the file cannot be read or decoded, differs from the settings, or does not have 1 or 3
                channels.
        """
        image = self.load_stored(path, name, backend_args=backend_args)
        if image.ndim == 3 and image.shape[2] != 3:
            raise BadFileError(
                path,
                'channels',
                f'has {image.shape[2]} channels, but an image to translate has 1 or 3: select them with '
                f'channels=[0, 1, 2] for {name} in the data set.',
            )
        image = image.copy() if image.dtype == np.uint8 else to_float32(image)  # an array of the user stays unchanged
        channels = np.atleast_3d(image)
        missing = ~np.isfinite(channels).all(axis=2)
        if self.invalid is not None:
            missing |= (channels == self.invalid).all(axis=2)
        if self.range is not None:
            low, high = np.float32(self.range[0]), np.float32(self.range[1])
            image = image.astype(np.float32) / np.float32(self.scale or 1)
            image = np.clip((image - low) / (high - low), 0, 1) * np.float32(255)
        image[missing] = 0
        return image, missing
