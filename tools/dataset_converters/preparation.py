"""Functions that the converters share: they read .mat files, and write and check a data set in NYUDv2's layout."""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, NamedTuple, Sequence, Union

import cv2
import numpy as np
from mmengine.utils import ProgressBar
from scipy.io import loadmat

from cen_mm.datasets.nyudv2 import DEPTH_SCALE, format_line

if TYPE_CHECKING:
    import h5py


class Sample(NamedTuple):
    """Three files of one image, relative to the folder of the data set, and the split of the image."""

    rgb: str
    masks: str
    depth: str
    split: str  # 'train' or 'val'


def read_mat(path: Path, *fields: str) -> list:
    """Reads fields of a MATLAB 5 .mat file, without axes of length one.

    Args:
        path: path of the file.
        *fields: names of the fields.

    Returns:
        The values of the fields, in this order.

    Raises:
        ValueError: if the file cannot be read or lacks a field.
    """
    if not path.is_file():
        raise ValueError(f'{path} does not exist: give the folder that contains {path.name}.')
    try:
        content = loadmat(path, squeeze_me=True, struct_as_record=False, variable_names=fields)
    except Exception as error:  # scipy raises many types of exceptions
        raise ValueError(f'{path} cannot be read ({error}): download the official {path.name} again.') from None
    for field in fields:
        if field not in content:
            raise ValueError(f'{path} has no field {field}: give the official {path.name}.')
    return [content[field] for field in fields]


@contextmanager
def open_hdf5(path: Path, *fields: str) -> Iterator['h5py.File']:
    """Opens a MATLAB 7.3 .mat file, which is HDF5, to read one image at a time. Its arrays are transposed.

    Args:
        path: path of the file.
        *fields: names of the fields that it must contain.

    Yields:
        The open file.

    Raises:
        ValueError: if the file cannot be read or lacks a field.
    """
    try:
        import h5py
    except ImportError:
        raise ValueError(
            f"Reading {path} needs h5py: run `pip install '.[converters]'` or `pip install h5py`."
        ) from None
    if not path.is_file():
        raise ValueError(f'{path} does not exist: give the path of the official file.')
    try:
        file = h5py.File(path, 'r')
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error}): download the official file again.') from None
    with file:
        for field in fields:
            if field not in file:
                raise ValueError(f'{path} has no field {field}: give the official file.')
        yield file


def run(parser: argparse.ArgumentParser, convert: Callable[..., None]) -> None:
    """Calls ``convert`` with the command-line arguments. Errors end the command with a message."""
    try:
        convert(**vars(parser.parse_args()))
    except (ValueError, OSError) as error:
        raise SystemExit(f'{parser.prog}: {error}') from None


def prepare(
    out: Path,
    settings: dict,
    samples: Sequence[Sample],
    read: Callable[[int], Sequence[Union[np.ndarray, bytes]]],
    classes: Sequence[str],
    official: dict[str, int],
) -> None:
    """Writes the images and then the lists, checks all files, and prints statistics.

    Existing files are checked, but not written again, so a run that was interrupted can be resumed.

    Args:
        out: folder to write to.
        settings: settings that the images depend on. All files of a folder must have the same settings.
        samples: files to write.
        read: returns the content of image i: color ``(H, W, 3)`` uint8 in BGR, or the bytes of a file; label
            ``(H, W)`` uint8, 255 for unlabeled; depth ``(H, W)`` uint16, 5000 depth units per meter.
        classes: names of the classes.
        official: number of images in each split of the complete data set.

    Raises:
        ValueError: if the folder contains other files, or a written file has unexpected content.
    """
    folders = [out / name for name in ('rgb', 'masks', 'depth')]
    record_settings(out, settings, folders)
    for folder in folders:
        folder.mkdir(exist_ok=True)
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
                    save(path, content)
            label, depth = _read_and_check(paths, len(classes))
            pixels += np.bincount(label.ravel(), minlength=256)
            missing += (depth == 0).sum()
            nearest, farthest = min(nearest, depth[depth > 0].min(initial=65535)), max(farthest, depth.max())
            bar.update()
    finally:
        print()  # ends the line of the progress bar
    counts = {}
    for split in ('train', 'val'):
        lines = [format_line(*sample[:3]) for sample in samples if sample.split == split]
        save(out / f'{split}.txt', ''.join(lines).encode())
        counts[split] = len(lines)

    print(f'{len(samples)} images in {out}, {reused} of them existed before. All files were read and checked.')
    print(f'train.txt: {counts["train"]} images, val.txt: {counts["val"]} images')
    if counts != official:
        print(f'Note: the complete data set has {official["train"]} and {official["val"]}.')
    found = [name for name, count in zip(classes, pixels) if count]
    print(f'{len(found)} of {len(classes)} classes: {", ".join(found)}')
    print(f'{pixels[255] / pixels.sum():.1%} of the pixels are unlabeled')
    print(
        f'depth from {nearest / DEPTH_SCALE:.2f} to {farthest / DEPTH_SCALE:.2f} m at {DEPTH_SCALE} units per meter, '
        f'{missing / pixels.sum():.1%} missing'
    )


def convert_all(write: Callable[[Any], bool], items: Sequence, workers: int) -> int:
    """Writes the files of each item in several processes, with a progress bar.

    Args:
        write: writes the files of an item, unless they exist. Returns whether they existed.
        items: the items, such as paths.
        workers: number of processes.

    Returns:
        Number of items whose files existed.

    Raises:
        ValueError: if ``workers`` is less than 1, or the files of an item cannot be written.
    """
    if workers < 1:
        raise ValueError(f'--workers is {workers}: give a number above 0.')
    bar, reused = ProgressBar(len(items)), 0
    try:
        # spawn, not fork: a forked child of a process with threads (of torch or OpenCV) may wait for a lock forever
        with ProcessPoolExecutor(workers, get_context('spawn'), cv2.setNumThreads, (1,)) as pool:
            for existed in (pool.map if workers > 1 else map)(write, items):
                reused += existed
                bar.update()
    finally:
        print()  # ends the line of the progress bar
    return reused


def record_settings(out: Path, settings: dict, content: Iterable[Path]) -> None:
    """Creates a folder and records the settings of its files, or compares them with those recorded by an earlier run.

    Args:
        out: folder to write to.
        settings: settings that the files depend on.
        content: paths that exist only if they were written with recorded settings.

    Raises:
        ValueError: if the folder was created with other settings, or by another command.
    """
    marker = out / 'prepared.json'
    if marker.exists():
        if json.loads(marker.read_text()) != settings:
            raise ValueError(
                f'{out} was created with the settings {marker.read_text()}: give the same options, or another folder.'
            )
    elif any(path.exists() for path in content):
        raise ValueError(f'{out} contains files that this command did not write: give another folder.')
    out.mkdir(parents=True, exist_ok=True)
    save(marker, json.dumps(settings).encode())


def save(path: Path, content: Union[np.ndarray, bytes]) -> None:
    """Writes a file under a temporary name and renames it, so that a file with the final name is complete."""
    if isinstance(content, np.ndarray):
        content = cv2.imencode('.png', content)[1].tobytes()
    unfinished = path.with_name(path.name + '.unfinished')
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def _read_and_check(paths: Sequence[Path], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads the three files of an image, checks them, and returns label and depth, both ``(H, W)``."""
    flags = (cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED, cv2.IMREAD_UNCHANGED)
    images = [cv2.imread(str(path), flag) for path, flag in zip(paths, flags)]
    size = images[0].shape[:2] if images[0] is not None else None
    for path, image, dtype, channels in zip(paths, images, ('uint8', 'uint8', 'uint16'), ((3,), (), ())):
        if image is None:
            raise ValueError(f'{path} cannot be decoded: remove it and run the command again.')
        if image.dtype != dtype or image.shape != (*size, *channels):
            raise ValueError(
                f'{path} is {image.dtype} {image.shape}, but must be {dtype} {(*size, *channels)} to match its color '
                'image: check that the source files belong to one image, remove it, and run the command again.'
            )
    label = images[1]
    if label[label != 255].max(initial=0) >= num_classes:
        raise ValueError(
            f'{paths[1]} contains label {label[label != 255].max()}, but the classes are 0 to {num_classes - 1}: '
            'remove it and run the command again.'
        )
    return label, images[2]
