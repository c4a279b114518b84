"""Converts SUN RGB-D from the unpacked SUNRGBD.zip and SUNRGBDtoolbox.zip to NYUDv2's layout.

python tools/dataset_converters/sunrgbd.py SUNRGBD data/sunrgbd --meta SUNRGBDtoolbox

It reads three files of the toolbox: SUNRGBDMeta.mat (the files and the camera of image i), SUNRGBD2Dseg.mat (the label
of image i, `seglabel`: 0 for unlabeled, classes 1 to 37) and allsplit.mat (folders of the 5285 training and 5050 test
images).

The output folder contains rgb/NNNNNN.jpg (copies of the JPEG files), masks/NNNNNN.png, depth/NNNNNN.png, train.txt,
val.txt (the test images), and cameras.txt for hha.py (`NNNNNN FX FY CX CY` in pixels). NNNNNN is the number of the
image in SUNRGBDMeta.mat, starting at 1. Masks contain classes 0 to 36, and 255 for unlabeled pixels. Depth is 16-bit,
with 5000 depth units per meter as in NYUDv2. Like read3dPoints.m of the toolbox, the converter rotates the bits of the
source by three, which gives millimeters, and limits depth to 8 m. The command is resumable.
"""

import argparse
import posixpath
from pathlib import Path

import cv2
import numpy as np
from preparation import Sample, open_hdf5, prepare, read_mat, run, save

from cen_mm.datasets.nyudv2 import DEPTH_SCALE
from cen_mm.datasets.sunrgbd import CLASSES

MAX_DEPTH = 8000  # millimeters


def find(meta: Path, name: str) -> Path:
    """Finds a file of the toolbox in any subfolder, because archives are unpacked in different ways."""
    return min(meta.rglob(name), default=meta / name)


def relative(path: str) -> str:
    """Returns the part of an official path after `/SUNRGBD/`, without the slashes in which the lists differ.

    For example, `kv1/NYUdata/NYU0001` for `/n/fs/sun3d/data/SUNRGBD/kv1/NYUdata/NYU0001/`.
    """
    return posixpath.normpath(path).partition('/SUNRGBD/')[2]


def read_folders(meta: Path) -> tuple[list[str], list[str], list[str], list[np.ndarray], list[str]]:
    """Reads folder, color file name, depth file name, camera and split ('train' or 'val') of all images.

    They are in the order of the labels. A camera is the matrix ((FX, 0, CX), (0, FY, CY), (0, 0, 1)).
    """
    path = find(meta, 'SUNRGBDMeta.mat')
    images = np.atleast_1d(read_mat(path, 'SUNRGBDMeta')[0])
    for field in ('rgbpath', 'rgbname', 'depthname', 'K'):
        if not hasattr(images[0], field):
            raise ValueError(f'{path} has no field {field} in SUNRGBDMeta: give the official SUNRGBDMeta.mat.')
    folders = [posixpath.dirname(posixpath.dirname(relative(image.rgbpath))) for image in images]

    path = find(meta, 'allsplit.mat')
    lists = [sorted(map(relative, np.atleast_1d(names))) for names in read_mat(path, 'alltrain', 'alltest')]
    if sorted(lists[0] + lists[1]) != sorted(folders) or len(set(folders)) != len(folders):
        raise ValueError(
            f'{path} lists {len(lists[0])} training and {len(lists[1])} test folders, but must list each of the '
            f'{len(folders)} folders of SUNRGBDMeta.mat exactly once: give files of the same SUNRGBDtoolbox.zip.'
        )
    train = set(lists[0])
    splits = ['train' if folder in train else 'val' for folder in folders]
    rgb_names, depth_names, cameras = ([getattr(image, f) for image in images] for f in ('rgbname', 'depthname', 'K'))
    return folders, rgb_names, depth_names, cameras, splits


def read_depth(path: Path) -> np.ndarray:
    """Reads depth as ``(H, W)`` uint16 with 5000 depth units per meter; 0 means missing."""
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype != np.uint16 or raw.ndim != 2:
        raise ValueError(f'{path} is not a 16-bit PNG with one channel: unpack SUNRGBD.zip again.')
    return np.minimum((raw >> 3) | (raw << 13), MAX_DEPTH) * np.uint16(DEPTH_SCALE // 1000)


def convert(root: Path, out: Path, meta: Path, depth: str) -> None:
    """Converts the data set.

    Args:
        root: folder SUNRGBD.
        out: folder to write to.
        meta: folder SUNRGBDtoolbox.
        depth: folder of the depth files to read, ``depth_bfx`` or ``depth``.

    Raises:
        ValueError: if a file is missing or has unexpected content.
    """
    folders, rgb_names, depth_names, cameras, splits = read_folders(meta)
    rgb_files = [root / folder / 'image' / name for folder, name in zip(folders, rgb_names)]
    depth_files = [root / folder / depth / name for folder, name in zip(folders, depth_names)]
    for path in (*rgb_files, *depth_files):
        if not path.is_file():
            raise ValueError(f'{path} does not exist: give the complete folder with kv1, kv2, realsense and xtion.')
    path = find(meta, 'SUNRGBD2Dseg.mat')
    with open_hdf5(path, 'SUNRGBD2Dseg/seglabel') as file:
        labels = file['SUNRGBD2Dseg/seglabel'][:].ravel()  # one reference per image
        if len(labels) != len(folders):
            raise ValueError(
                f'{path} contains {len(labels)} labels, but SUNRGBDMeta.mat lists {len(folders)} images: give '
                'files of the same SUNRGBDtoolbox.zip.'
            )

        def read(index: int) -> list:
            label = file[labels[index]][:].T  # h5py reads MATLAB arrays transposed
            if not np.isin(label, np.arange(len(CLASSES) + 1)).all():
                raise ValueError(
                    f'{path} contains label {label.max():g} for {folders[index]}, but its classes are 1 to '
                    f'{len(CLASSES)}: give the official SUNRGBD2Dseg.mat.'
                )
            mask = label.astype(np.uint8) - np.uint8(1)  # 0 (unlabeled) wraps around to 255
            return [rgb_files[index].read_bytes(), np.ascontiguousarray(mask), read_depth(depth_files[index])]

        samples = [
            Sample(f'rgb/{number:06d}.jpg', f'masks/{number:06d}.png', f'depth/{number:06d}.png', split)
            for number, split in enumerate(splits, start=1)
        ]
        prepare(out, dict(data_set='SUN RGB-D', depth=depth), samples, read, CLASSES, dict(train=5285, val=5050))
        lines = [
            f'{number:06d} {fx} {fy} {cx} {cy}\n'
            for number, ((fx, _, cx), (_, fy, cy), _) in enumerate(cameras, start=1)
        ]
        save(out / 'cameras.txt', ''.join(lines).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, help='folder SUNRGBD with kv1, kv2, realsense and xtion')
    parser.add_argument('out', type=Path, help='folder to write to')
    parser.add_argument('--meta', type=Path, required=True, help='folder SUNRGBDtoolbox')
    parser.add_argument(
        '--depth',
        choices=('depth_bfx', 'depth'),
        default='depth_bfx',
        help='in-painted depth as in NYUDv2, or depth as measured (default: depth_bfx)',
    )
    run(parser, convert)


if __name__ == '__main__':
    main()
