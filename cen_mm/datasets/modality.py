"""Settings of one modality's files, and reading such a file."""

import io
import math
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Iterator, Optional, Sequence, Union

import cv2
import mmcv
import numpy as np
from mmcv.image.geometric import cv2_interp_codes
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from .files import BackendArgs, BadFileError, read_file

FORMATS = ('PNG', 'JPEG', 'TIFF', 'WEBP', 'BMP', 'PPM', 'JPEG2000')  # others may run code: Ghostscript for EPS
MAX_PIXELS = 8192 * 8192


@dataclass(frozen=True)
class ArrayInput:
    """An image in memory, in place of a path. It is read like an ``.npy`` file with the same content.

    Args:
        array: ``(H, W)`` or ``(H, W, C)``, in the data type and the units of the files; color in the order red, green,
            blue.
        name: name of the modality, for errors.
    """

    array: np.ndarray
    name: str

    def __str__(self) -> str:
        return f'array of {self.name}'


@dataclass(frozen=True)
class Modality:
    """How the files of a modality are stored, and how transforms treat its values.

    Args:
        path: path of the files relative to ``data_root``, with ``{}`` in place of the sample's name: ``'rgb/{}.jpg'``.
            PNG, JPEG, TIFF, WebP, BMP, PNM or JPEG 2000, or ``.npy`` or ``.npz`` with one array ``(H, W)`` or
            ``(H, W, C)``.
        dtype: data type of the files: ``'uint8'``, ``'uint16'``, ``'float32'``, ...
        channels: indices of the channels to take from the file, in the order of the file: red, green, blue, alpha.
            None: all.
        scale: number that the values are divided by; 5000 for depth with 5000 units per meter.
        invalid: value in the file of pixels without a measurement. NaN and infinity are always invalid.
        pad_val: value, after scaling, of invalid pixels and of new pixels outside the image.
        interpolation: interpolation of the geometric transforms: ``'nearest'`` for values whose mean is wrong (depth,
            normals), ``'bilinear'`` or ``'bicubic'`` for smooth values (thermal images).
        resize: whether files of another size are resized: to RGB or, without it, to the first modality that is not
            resized, or to the label.
        vectors: whether flips and rotations also turn the values, which are vectors (x right, y, z):
            ``'y_up'`` or ``'y_down'`` is the direction of their second component. 8-bit files store
            ``127.5 * (1 + v)``. None: values stay, as in the authors' code.
        max_pixels: largest number of pixels of an image, or of values of an array. Larger files are refused before
            they are decoded. Pillow's own limit for labels, 178 million pixels, also applies.

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
    max_pixels: int = MAX_PIXELS

    def __post_init__(self):
        if self.interpolation not in cv2_interp_codes:
            raise ValueError(f'interpolation={self.interpolation!r}: choose one of {", ".join(cv2_interp_codes)}.')
        if self.vectors not in (None, 'y_up', 'y_down'):
            raise ValueError(f"vectors={self.vectors!r}: choose 'y_up', 'y_down' or None.")
        if self.scale is not None and not (isinstance(self.scale, (int, float)) and 0 < self.scale < np.inf):
            raise ValueError(f'scale={self.scale!r}: give a positive number of stored units per unit, or None.')
        if not isinstance(self.invalid, (int, float, type(None))):
            raise ValueError(f'invalid={self.invalid!r}: give the number that marks pixels without a measurement.')
        try:
            np.dtype(self.dtype)
        except TypeError:
            raise ValueError(f"dtype={self.dtype!r}: give a data type of numpy, such as 'uint16'.") from None
        pad_val = np.asarray(self.pad_val)
        if pad_val.dtype.kind not in 'iuf' or not np.isfinite(pad_val).all():
            raise ValueError(f'pad_val={self.pad_val!r}: give a finite number, or one per channel.')
        if self.dtype == 'uint8' and self.scale is None and not ((pad_val >= 0) & (pad_val <= 255)).all():
            raise ValueError(f'pad_val={self.pad_val!r}: 8-bit images have values from 0 to 255.')
        channels = self.channels
        if channels is not None and not (
            np.ndim(channels) == 1 and all(isinstance(c, int) and c >= 0 for c in channels)
        ):
            raise ValueError(f'channels={channels!r}: give a list of indices, counted from 0, such as [0].')

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

    def load(
        self, path: Union[str, ArrayInput], name: str, bgr: bool = False, backend_args: Optional[dict] = None
    ) -> np.ndarray:
        """Reads a file and converts its values.

        Args:
            path: path of the file, or an array in its place.
            name: name of the modality, for errors.
            bgr: whether to return three channels in reversed order, as mmseg's transforms expect the image.
            backend_args: arguments of mmengine's file backend.

        Returns:
            ``(H, W)`` or ``(H, W, C)``, channels in the order of the file; uint8 for 8-bit files without ``scale``,
            otherwise float32.

        Raises:
            BadFileError: if the file cannot be read or decoded, or differs from the settings.
        """
        stored = image = self.load_stored(path, name, bgr, backend_args)
        if image.dtype == np.uint8 and self.scale is None and self.invalid is None:
            return image
        if self.scale is not None or image.dtype != np.uint8:
            image = to_float32(image)
            if self.scale is not None:
                image /= np.float32(self.scale)
        valid = np.isfinite(image) if stored.dtype.kind == 'f' else True
        if self.invalid is not None and (self.invalid, self.pad_val) != (0, 0):  # 0 stays 0
            invalid = stored == self.invalid
            valid = valid & ~(invalid.all(axis=-1, keepdims=True) if invalid.ndim == 3 else invalid)
        if not np.all(valid):
            pad_val = np.rint(self.pad_val) if image.dtype == np.uint8 else self.pad_val  # as OpenCV does
            image = np.where(valid, image, np.asarray(pad_val, image.dtype))
        return image

    def load_stored(
        self, path: Union[str, ArrayInput], name: str, bgr: bool = False, backend_args: Optional[dict] = None
    ) -> np.ndarray:
        """Reads the selected channels of a file with its values and data type; see :meth:`load`."""
        reverse = bgr and self.channels is None
        image = read_image(path, backend_args, bgr=reverse, max_pixels=self.max_pixels)
        if image.dtype.newbyteorder('=') != np.dtype(self.dtype).newbyteorder('='):
            raise BadFileError(
                path,
                'type',
                f"is {image.dtype}, but {name} is {self.dtype}: set dtype='{image.dtype}' for {name} in the data set, "
                'and scale, mean and std to match, or convert the file.',
            )
        if self.channels is not None:
            image = np.atleast_3d(image)
            if max(self.channels) >= image.shape[2]:
                raise BadFileError(
                    path,
                    'channels',
                    f'has {image.shape[2]} channel(s), but {name} takes channels {list(self.channels)}: correct '
                    'channels in the data set, counted from 0.',
                )
            image = image[..., list(self.channels)[::-1] if bgr else list(self.channels)]
        image = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
        if self.vectors and image.ndim == 2:
            text = f'has one channel, but {name} has vectors: remove vectors in the data set.'
            raise BadFileError(path, 'channels', text)
        return np.ascontiguousarray(image)


def to_float32(image: np.ndarray) -> np.ndarray:
    """Converts an image; values of float64 above the range of float32 become infinite, that is, invalid."""
    with np.errstate(over='ignore'):
        return image.astype(np.float32)


def read_image(
    path: Union[str, ArrayInput], backend_args: BackendArgs = None, bgr: bool = False, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Reads an image or an array with its data type unchanged.

    EXIF orientation is ignored, except in TIFF files: it would turn a JPEG file, but not the other modalities.

    Args:
        path: path of the file, or an array in its place.
        backend_args: arguments of mmengine's file backend.
        bgr: whether to return blue, green, red (, alpha) instead of the order of the file.
        max_pixels: largest number of pixels of an image, or of values of an array.

    Returns:
        ``(H, W)`` or ``(H, W, C)``, channels in the order of the file (red, green, blue, alpha) unless ``bgr``.

    Raises:
        BadFileError: if the file cannot be read or decoded, or is too large.
    """
    in_file_order = isinstance(path, ArrayInput) or str(path).lower().endswith(('.npy', '.npz'))
    with decoding(path):
        if isinstance(path, ArrayInput):
            image = path.array
        elif in_file_order:
            image = _decode_array(path, read_bounded(path, backend_args, max_pixels), max_pixels)
        else:
            content = read_bounded(path, backend_args, max_pixels)
            check_size(path, *image_size(content), max_pixels=max_pixels)
            image = mmcv.imfrombytes(content, flag='unchanged')
        if image is None:  # what OpenCV returns
            raise ValueError('the file is cut off or damaged')
        if image.ndim not in (2, 3) or not image.size:
            raise ValueError(f'its shape is {image.shape}')
    # OpenCV decodes to BGR, numpy to the order of the file.
    if image.ndim == 3 and image.shape[2] in (3, 4) and bgr == in_file_order:
        if image.dtype.name not in ('uint8', 'uint16', 'float32'):  # those that OpenCV converts
            return image[..., [2, 1, 0, 3][: image.shape[2]]]
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return image


def read_bounded(path: str, backend_args: BackendArgs, max_pixels: int) -> bytes:
    """Reads a file that is not larger than an uncompressed image of ``max_pixels``: 4 float64 values per pixel."""
    content = read_file(path, backend_args, max_bytes=32 * max_pixels + 2**20)  # 1 MB for metadata
    if not content:
        raise BadFileError(path, 'decoding', 'cannot be decoded (it is empty): replace the file.')
    return content


@contextmanager
def decoding(path: Union[str, ArrayInput]) -> Iterator[None]:
    """Turns all errors of decoders, which have many types, into BadFileError."""
    try:
        yield
    except BadFileError:
        raise
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__  # OpenCV's errors have several lines
        kind = 'too large' if isinstance(error, Image.DecompressionBombError) else 'decoding'
        raise BadFileError(path, kind, f'cannot be decoded ({reason}): replace the file.') from None


def check_size(path: str, *shape: int, max_pixels: int) -> None:
    """Raises BadFileError if an image or array has more than ``max_pixels`` pixels or values."""
    if (number := math.prod(shape)) > max_pixels:
        raise BadFileError(
            path,
            'too large',
            f'has {" x ".join(map(str, shape))} = {number} pixels or values, more than {max_pixels}: replace the '
            'file, or increase max_pixels of its modality in the data set.',
        )


def image_size(content: bytes) -> tuple[int, int]:
    """Returns width and height in the header of an image, which is not decoded."""
    stream = io.BytesIO(content)
    try:
        with Image.open(stream, formats=FORMATS) as image:
            return image.size
    except UnidentifiedImageError:
        if content[:4] not in (b'II*\0', b'MM\0*'):
            raise ValueError(f'the formats are {", ".join(FORMATS)}') from None
    tags = ImageFileDirectory_v2(content[:8])  # TIFF of a type that Pillow lacks, such as three channels of float32
    stream.seek(tags.next)
    tags.load(stream)
    return tags[256], tags[257]


def _decode_array(path: str, content: bytes, max_values: int) -> np.ndarray:
    """Decodes a ``.npy`` file, or a ``.npz`` file with one array, whose header gives a valid size."""
    stream: BinaryIO = io.BytesIO(content)
    if str(path).lower().endswith('.npz'):
        archive = zipfile.ZipFile(stream)
        if len(names := archive.namelist()) != 1:
            raise ValueError(f'it has {len(names)} arrays, {", ".join(names)}, instead of one')
        stream = archive.open(names[0])
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, _ = read_header(stream)
    check_size(path, *shape, max_pixels=max_values)
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)
