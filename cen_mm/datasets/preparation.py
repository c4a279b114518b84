"""What the converters share: NYUDv2's layout, written so that a killed run goes on where it was, and checked."""

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Sequence, Union

import cv2
import h5py
import numpy as np
from mmengine.utils import ProgressBar
from scipy.io import loadmat

DEPTH_SCALE = 5000  # steps of the 16-bit depth PNG a metre, as in the authors' NYUDv2


class Sample(NamedTuple):
    """Three files of one image, relative to the data set's folder, and the list that names them."""

    rgb: str
    masks: str
    depth: str
    split: str  # 'train' or 'val'


def read_mat(path: Path, *fields: str) -> list:
    """Fields of a .mat file of MATLAB 5, without axes of length one.

    Raises:
        ValueError: if the file cannot be read or lacks a field.
    """
    if not path.is_file():
        raise ValueError(f'{path} does not exist: give the folder that holds {path.name}.')
    try:
        content = loadmat(path, squeeze_me=True, struct_as_record=False, variable_names=fields)
    except Exception as error:  # scipy raises many kinds
        raise ValueError(f'{path} cannot be read ({error}): fetch the official {path.name} again.') from None
    for field in fields:
        if field not in content:
            raise ValueError(f'{path} has no field {field}: give the official {path.name}.')
    return [content[field] for field in fields]


@contextmanager
def open_hdf5(path: Path, *fields: str) -> Iterator[h5py.File]:
    """A .mat file of MATLAB 7.3, open: its arrays are transposed, and are read one image at a time.

    Raises:
        ValueError: if the file cannot be read or lacks a field.
    """
    if not path.is_file():
        raise ValueError(f'{path} does not exist: give the path of the official file.')
    try:
        file = h5py.File(path, 'r')
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error}): fetch the official file again, it is HDF5.') from None
    with file:
        for field in fields:
            if field not in file:
                raise ValueError(f'{path} has no field {field}: give the official file.')
        yield file


def prepare(
    out: Path,
    settings: dict,
    samples: Sequence[Sample],
    read: Callable[[int], Sequence[Union[np.ndarray, bytes]]],
    classes: Sequence[str],
    official: dict[str, int],
) -> None:
    """Writes the images and, last, the lists; reads all of it again; prints counts.

    What is there already is checked, not written again.

    Args:
        out: folder to write to.
        settings: what the images depend on. A folder is not filled with two settings.
        samples: what to write.
        read: gives image i: colour ``(H, W, 3)`` uint8 in BGR, or the bytes of a file; label ``(H, W)`` uint8, 255
            unlabelled; depth ``(H, W)`` uint16 in steps of 1 / 5000 m.
        classes: names.
        official: images in each list of the whole data set.

    Raises:
        ValueError: if the folder holds something else, or a written file is not what it has to be.
    """
    _begin(out, settings)
    pixels = np.zeros(256, np.int64)
    missing, nearest, farthest, reused = 0, np.inf, 0, 0
    bar = ProgressBar(len(samples))
    try:
        for index, sample in enumerate(samples):
            paths = [out / name for name in sample[:3]]
            if all(path.exists() for path in paths):
                reused += 1
            else:
                for path, content in zip(paths, read(index)):
                    _save(path, content)
            label, depth = _read_again(paths, len(classes))
            pixels += np.bincount(label.ravel(), minlength=256)
            missing += (depth == 0).sum()
            nearest, farthest = min(nearest, depth[depth > 0].min(initial=65535)), max(farthest, depth.max())
            bar.update()
    finally:
        print()  # the bar leaves the line open
    counts = {}
    for split in ('train', 'val'):
        lines = ['\t'.join(sample[:3]) + '\n' for sample in samples if sample.split == split]
        _save(out / f'{split}.txt', ''.join(lines).encode())
        counts[split] = len(lines)

    print(f'{len(samples)} images in {out}, {reused} of them were there already: every file was read again.')
    print(f'train.txt {counts["train"]}, val.txt {counts["val"]}')
    if counts != official:
        print(f'Note: the whole data set has {official["train"]} and {official["val"]}.')
    found = [name for name, count in zip(classes, pixels) if count]
    print(f'{len(found)} of {len(classes)} classes: {", ".join(found)}')
    print(f'{pixels[255] / pixels.sum():.1%} of the pixels are unlabelled')
    print(
        f'depth from {nearest / DEPTH_SCALE:.2f} to {farthest / DEPTH_SCALE:.2f} m at {DEPTH_SCALE} steps a metre, '
        f'{missing / pixels.sum():.1%} missing'
    )


def _begin(out: Path, settings: dict) -> None:
    marker = out / 'prepared.json'
    if marker.exists():
        if json.loads(marker.read_text()) != settings:
            raise ValueError(f'{out} was begun with {marker.read_text()}: give the same options, or another folder.')
    elif any((out / name).exists() for name in ('rgb', 'masks', 'depth')):
        raise ValueError(f'{out} holds something that was not made here: give another folder.')
    for name in ('rgb', 'masks', 'depth'):
        (out / name).mkdir(parents=True, exist_ok=True)
    _save(marker, json.dumps(settings).encode())


def _save(path: Path, content: Union[np.ndarray, bytes]) -> None:
    """Writes a file whole or not at all: one that exists under its own name was finished."""
    if isinstance(content, np.ndarray):
        content = cv2.imencode('.png', content)[1].tobytes()
    unfinished = path.with_name(path.name + '.unfinished')
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def _read_again(paths: Sequence[Path], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Label and depth, both ``(H, W)``, of three files that are what the data set's class expects."""
    flags = (cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED, cv2.IMREAD_UNCHANGED)
    images = [cv2.imread(str(path), flag) for path, flag in zip(paths, flags)]
    size = images[0].shape[:2] if images[0] is not None else None
    for path, image, dtype, channels in zip(paths, images, ('uint8', 'uint8', 'uint16'), ((3,), (), ())):
        if image is None:
            raise ValueError(f'{path} cannot be decoded: remove it and run the command again.')
        if image.dtype != dtype or image.shape != (*size, *channels):
            raise ValueError(
                f'{path} is {image.dtype} {image.shape}, not {dtype} {(*size, *channels)} as its colour image: '
                'see that the source files are of one image and one size, remove it and run the command again.'
            )
    label = images[1]
    if label[label != 255].max(initial=0) >= num_classes:
        raise ValueError(
            f'{paths[1]} holds label {label[label != 255].max()}, but the classes are 0 to {num_classes - 1}: '
            'remove it and run the command again.'
        )
    return label, images[2]
