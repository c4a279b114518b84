"""Prepares SUN RGB-D from SUNRGBD.zip and SUNRGBDtoolbox.zip, both unpacked, in NYUDv2's layout.

python tools/dataset_converters/sunrgbd.py SUNRGBD data/sunrgbd --meta SUNRGBDtoolbox

Of the toolbox it reads SUNRGBDMeta.mat (which files belong to image i), SUNRGBD2Dseg.mat (label i, `seglabel`: 0
unlabelled, 1 to 37) and allsplit.mat (folders of the 5285 images for training and the 5050 for testing).

OUT gets rgb/NNNNNN.jpg, the JPEG as it is, masks/ and depth/NNNNNN.png, where NNNNNN is the image's number in
SUNRGBDMeta.mat from 1 on, and train.txt and val.txt, the test images. Masks hold classes 0 to 36, and 255 where
unlabelled. Depth is 16-bit, 5000 steps a metre as NYUDv2's: the toolbox's read3dPoints.m rotates the source's bits by
three, which gives millimetres, and sets what is beyond 8 m to 8 m; so does this. A run that was killed goes on where
it was.
"""

import argparse
import posixpath
from pathlib import Path

import cv2
import numpy as np

from cen_mm.datasets.preparation import DEPTH_SCALE, Sample, open_hdf5, prepare, read_mat
from cen_mm.datasets.sunrgbd import CLASSES

FARTHEST = 8000  # millimetres


def find(meta: Path, name: str) -> Path:
    """A file of the toolbox, wherever in the folder it lies: archives are unpacked in many ways."""
    return min(meta.rglob(name), default=meta / name)


def relative(path: str) -> str:
    """`kv1/NYUdata/NYU0001` of `/n/fs/sun3d/data/SUNRGBD/kv1/NYUdata/NYU0001/`: the lists differ in their slashes."""
    return posixpath.normpath(path).partition('/SUNRGBD/')[2]


def read_folders(meta: Path) -> tuple[list[str], list[str], list[str], list[str]]:
    """Of each image in the order of the labels: folder, colour file, depth file and list, `train` or `val`."""
    path = find(meta, 'SUNRGBDMeta.mat')
    images = np.atleast_1d(read_mat(path, 'SUNRGBDMeta')[0])
    for field in ('rgbpath', 'rgbname', 'depthname'):
        if not hasattr(images[0], field):
            raise ValueError(f'{path} has no field {field} in SUNRGBDMeta: give the official SUNRGBDMeta.mat.')
    folders = [posixpath.dirname(posixpath.dirname(relative(image.rgbpath))) for image in images]

    path = find(meta, 'allsplit.mat')
    lists = [sorted(map(relative, np.atleast_1d(names))) for names in read_mat(path, 'alltrain', 'alltest')]
    if sorted(lists[0] + lists[1]) != sorted(folders) or len(set(folders)) != len(folders):
        raise ValueError(
            f'{path} lists {len(lists[0])} + {len(lists[1])} folders, which are not the {len(folders)} of '
            'SUNRGBDMeta.mat, each once: give the files of one SUNRGBDtoolbox.zip.'
        )
    train = set(lists[0])
    splits = ['train' if folder in train else 'val' for folder in folders]
    return folders, [image.rgbname for image in images], [image.depthname for image in images], splits


def read_depth(path: Path) -> np.ndarray:
    """``(H, W)`` uint16 in steps of 1 / 5000 m; 0 is missing."""
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype != np.uint16 or raw.ndim != 2:
        raise ValueError(f'{path} is no 16-bit PNG with one channel: unpack SUNRGBD.zip again.')
    return np.minimum((raw >> 3) | (raw << 13), FARTHEST) * np.uint16(DEPTH_SCALE // 1000)


def convert(root: Path, out: Path, meta: Path, depth: str) -> None:
    """Writes the data set.

    Raises:
        ValueError: for a file that is missing or not what it has to be.
    """
    folders, rgb_names, depth_names, splits = read_folders(meta)
    rgb_files = [root / folder / 'image' / name for folder, name in zip(folders, rgb_names)]
    depth_files = [root / folder / depth / name for folder, name in zip(folders, depth_names)]
    for path in (*rgb_files, *depth_files):
        if not path.is_file():
            raise ValueError(f'{path} does not exist: give the folder of kv1, kv2, realsense and xtion, whole.')
    path = find(meta, 'SUNRGBD2Dseg.mat')
    with open_hdf5(path, 'SUNRGBD2Dseg/seglabel') as file:
        labels = file['SUNRGBD2Dseg/seglabel'][:].ravel()  # references, one an image
        if len(labels) != len(folders):
            raise ValueError(
                f'{path} holds {len(labels)} labels, but SUNRGBDMeta.mat {len(folders)} images: give the files of '
                'one SUNRGBDtoolbox.zip.'
            )

        def read(index: int) -> list:
            label = file[labels[index]][:].T  # transposed by MATLAB
            if not np.isin(label, np.arange(len(CLASSES) + 1)).all():
                raise ValueError(
                    f'{path} holds label {label.max():g} for {folders[index]}, but its classes are 1 to '
                    f'{len(CLASSES)}: give the official SUNRGBD2Dseg.mat.'
                )
            mask = label.astype(np.uint8) - np.uint8(1)  # 0, unlabelled, wraps to 255
            return [rgb_files[index].read_bytes(), np.ascontiguousarray(mask), read_depth(depth_files[index])]

        samples = [
            Sample(f'rgb/{number:06d}.jpg', f'masks/{number:06d}.png', f'depth/{number:06d}.png', split)
            for number, split in enumerate(splits, start=1)
        ]
        prepare(out, dict(data_set='SUN RGB-D', depth=depth), samples, read, CLASSES, dict(train=5285, val=5050))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, help='folder SUNRGBD, of kv1, kv2, realsense and xtion')
    parser.add_argument('out', type=Path, help='folder to write to')
    parser.add_argument('--meta', type=Path, required=True, help='folder SUNRGBDtoolbox')
    parser.add_argument(
        '--depth', choices=('depth_bfx', 'depth'), default='depth_bfx', help='in-painted as in NYUDv2, or as sensed'
    )
    args = parser.parse_args()
    try:
        convert(args.root, args.out, args.meta, args.depth)
    except (ValueError, OSError) as error:
        raise SystemExit(f'sunrgbd.py: {error}') from None


if __name__ == '__main__':
    main()
