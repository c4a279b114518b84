"""Settings of one modality's files, and reading such a file."""

import io
from dataclasses import dataclass
from typing import Any, Optional, Sequence, Union

import cv2
import mmcv
import numpy as np
from mmcv.image.geometric import cv2_interp_codes
from mmengine import fileio


@dataclass(frozen=True)
class Modality:
    """How the files of a modality are stored, and how transforms treat its values.

    Args:
        path: path of the files relative to ``data_root``, with ``{}`` in place of the sample's name: ``'rgb/{}.jpg'``.
            PNG, JPEG, TIFF and other formats of OpenCV, ``.npy`` or ``.npz`` with one array ``(H, W)`` or
            ``(H, W, C)``.
        dtype: data type of the files: ``'uint8'``, ``'uint16'``, ``'float32'``, ...
        channels: indices of the channels to take from the file, in the order of the file: red, green, blue, alpha.
            None: all.
        scale: number that the values are divided by; 5000 for depth with 5000 units per meter.
        invalid: value in the file of pixels without a measurement. NaN and infinity are always invalid.
        pad_val: value, after scaling, of invalid pixels and of new pixels outside the image.
        interpolation: interpolation of the geometric transforms: ``'nearest'`` for values whose mean is wrong (depth,
            normals), ``'bilinear'`` or ``'bicubic'`` for smooth values (thermal images).
        resize: whether files of another size are resized to the size of the first modality.
        vectors: whether flips and rotations also turn the values, which are vectors (x right, y, z):
            ``'y_up'`` or ``'y_down'`` is the direction of their second component. 8-bit files store
            ``127.5 * (1 + v)``. None: values stay, as in the authors' code.

    Raises:
        ValueError: if a setting has an invalid value.
    """

    path: str = ''
    dtype: str = 'uint8'
    channels: Optional[Sequence[int]] = None
    scale: Optional[float] = None
    invalid: Optional[float] = None
    pad_val: Union[float, Sequence[float]] = 0
    interpolation: str = 'nearest'
    resize: bool = False
    vectors: Optional[str] = None

    def __post_init__(self):
        if self.interpolation not in cv2_interp_codes:
            raise ValueError(f'interpolation={self.interpolation!r}: choose one of {", ".join(cv2_interp_codes)}.')
        if self.vectors not in (None, 'y_up', 'y_down'):
            raise ValueError(f"vectors={self.vectors!r}: choose 'y_up', 'y_down' or None.")
        if self.scale is not None and not 0 < self.scale < np.inf:
            raise ValueError(f'scale={self.scale}: give a positive number of stored units per unit, or None.')
        if not isinstance(self.invalid, (int, float, type(None))):
            raise ValueError(f'invalid={self.invalid!r}: give the number that marks pixels without a measurement.')
        try:
            np.dtype(self.dtype)
        except TypeError:
            raise ValueError(f"dtype={self.dtype!r}: give a data type of numpy, such as 'uint16'.") from None

    @classmethod
    def from_config(cls, name: str, settings: Union[str, dict, 'Modality'], owner: str) -> 'Modality':
        """Converts a path or a dict of settings; errors name the key ``owner.name``."""
        if isinstance(settings, cls):
            return settings
        settings = dict(path=settings) if isinstance(settings, str) else settings
        known = cls.__dataclass_fields__
        if unknown := sorted(set(settings) - set(known)):
            raise ValueError(f'{owner}.{name} has the unknown settings {unknown}: use {", ".join(known)}.')
        try:
            return cls(**settings)
        except ValueError as error:
            raise ValueError(f'{owner}.{name}: {error}') from None

    def load(self, path: str, name: str, bgr: bool = False, backend_args: Optional[dict] = None) -> np.ndarray:
        """Reads a file.

        Args:
            path: path of the file.
            name: name of the modality, for errors.
            bgr: whether to return three channels in reversed order, as mmseg's transforms expect the image.
            backend_args: arguments of mmengine's file backend.

        Returns:
            ``(H, W)`` or ``(H, W, C)``, channels in the order of the file; uint8 for 8-bit files without ``scale``,
            otherwise float32.

        Raises:
            ValueError: if the file cannot be decoded, or differs from the settings.
        """
        reverse = bgr and self.channels is None
        image = read_image(path, backend_args, bgr=reverse)
        if image.dtype != np.dtype(self.dtype):
            raise ValueError(
                f"{path} is {image.dtype}, but {name} is {self.dtype}: set dtype='{image.dtype}' for {name} in the "
                'data set, and scale, mean and std to match, or convert the file.'
            )
        if self.channels is not None:
            image = np.atleast_3d(image)
            if max(self.channels) >= image.shape[2]:
                raise ValueError(
                    f'{path} has {image.shape[2]} channel(s), but {name} takes channels {list(self.channels)}: '
                    'correct channels in the data set, counted from 0.'
                )
            image = image[..., list(self.channels)[::-1] if bgr else list(self.channels)]
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[..., 0]
        if image.dtype == np.uint8 and self.scale is None and self.invalid is None:
            return np.ascontiguousarray(image)
        valid = np.isfinite(image) if image.dtype.kind == 'f' else True
        if self.invalid is not None and (self.invalid, self.pad_val) != (0, 0):  # 0 stays 0
            valid = valid & (image != self.invalid)
        if self.scale is not None:
            image = image.astype(np.float32) / np.float32(self.scale)
        elif image.dtype != np.uint8:
            image = image.astype(np.float32)
        if not np.all(valid):
            image = np.where(valid, image, np.asarray(self.pad_val, image.dtype))
        return np.ascontiguousarray(image)


def read_image(path: str, backend_args: Optional[dict] = None, bgr: bool = False) -> np.ndarray:
    """Reads an image or an array with its data type unchanged.

    EXIF orientation is ignored: it would turn a JPEG file, but not the other modalities.

    Returns:
        ``(H, W)`` or ``(H, W, C)``, channels in the order of the file (red, green, blue, alpha), or blue, green, red
        (, alpha) with ``bgr``.

    Raises:
        ValueError: if the file cannot be decoded.
    """
    content = fileio.get(path, backend_args=backend_args)
    image: Any = None
    if str(path).endswith(('.npy', '.npz')):
        try:
            image = np.load(io.BytesIO(content))
            image = image if isinstance(image, np.ndarray) else image[image.files[0]]
        except (ValueError, OSError, EOFError, IndexError) as error:
            raise ValueError(f'{path} cannot be read by numpy ({error}): save one array (H, W[, C]).') from None
    elif content:
        image = mmcv.imfrombytes(content, flag='unchanged')
    if image is None or image.ndim not in (2, 3):
        shape = '' if image is None else f' as an image: its shape is {image.shape}'
        raise ValueError(f'{path} cannot be decoded{shape}: replace the file.')
    # OpenCV decodes to BGR, numpy to the order of the file.
    if image.ndim == 3 and image.shape[2] in (3, 4) and bgr == str(path).endswith(('.npy', '.npz')):
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return image
