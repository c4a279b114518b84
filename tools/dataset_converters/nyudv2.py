"""Converts nyu_depth_v2_labeled.mat to NYUDv2 in the authors' layout.

python tools/dataset_converters/nyudv2.py nyu_depth_v2_labeled.mat data/nyudv2 --meta nyudv2-meta --crop border

The output folder contains rgb/NNNNNN.png, masks/NNNNNN.png, depth/NNNNNN.png, train.txt and val.txt. NNNNNN is the
number of the image in the .mat file, starting at 1. Masks contain classes 0 to 39, and 255 for unlabeled pixels.
Depth is in-painted and 16-bit, with 5000 depth units per meter. The command is resumable.

--crop cuts image, label and depth in the same way, so that they stay aligned. LoadLabels(crop_to_label=True), which
takes the center of an image whose label is smaller, then changes nothing. Its values:
  none    the whole image, 640x480
  border  the central 625x468: without the white border, like the data that the authors use
  valid   561x427, rows 45 to 471 and columns 41 to 601 (starting at 1): the region in which the projected depth is
          measured, from get_projection_mask.m of the toolbox. It is not at the center, but 18 rows lower
"""

import argparse
from pathlib import Path

import numpy as np
from preparation import Sample, open_hdf5, prepare, read_mat, run

from cen_mm.datasets.nyudv2 import CLASSES, DEPTH_SCALE

CROPS = {
    'none': (slice(None), slice(None)),
    'border': (slice(6, 474), slice(7, 632)),
    'valid': (slice(44, 471), slice(40, 601)),
}


def read_mapping(path: Path) -> np.ndarray:
    """Reads the class of each raw label: ``(895,)`` uint8, 0 to 39, and 255 for raw label 0 (unlabeled)."""
    mapping = np.atleast_1d(read_mat(path, 'mapClass')[0])
    if sorted(set(mapping.tolist())) != list(range(1, len(CLASSES) + 1)):
        raise ValueError(f'{path} does not map to the 40 classes of NYUDv2: give the official classMapping40.mat.')
    return np.concatenate([[255], mapping.astype(np.int64) - 1]).astype(np.uint8)


def read_splits(path: Path, num_images: int) -> dict[int, str]:
    """Reads the split, 'train' or 'val', of each image number, starting at 1."""
    train, val = (np.atleast_1d(numbers).tolist() for numbers in read_mat(path, 'trainNdxs', 'testNdxs'))
    if sorted(train + val) != list(range(1, num_images + 1)):
        raise ValueError(
            f'{path} lists {len(train)} training and {len(val)} test images, but must list each of the images 1 to '
            f'{num_images} of the .mat file exactly once: give two files of the same data set.'
        )
    return {number: split for split, numbers in (('train', train), ('val', val)) for number in numbers}


def convert(mat: Path, out: Path, meta: Path, crop: str) -> None:
    """Converts the data set.

    Args:
        mat: nyu_depth_v2_labeled.mat.
        out: folder to write to.
        meta: folder that contains splits.mat and classMapping40.mat.
        crop: key of ``CROPS``.

    Raises:
        ValueError: if a file is missing or has unexpected content.
    """
    classes = read_mapping(meta / 'classMapping40.mat')
    with open_hdf5(mat, 'images', 'depths', 'labels') as file:
        # h5py reads MATLAB arrays transposed: (N, 3, W, H) and (N, W, H).
        images, depths, labels = (file[name] for name in ('images', 'depths', 'labels'))
        size = images.shape[2:]
        if images.shape[1:2] != (3,) or not depths.shape == labels.shape == (len(images), *size):
            raise ValueError(
                f'{mat} contains images {images.shape}, depths {depths.shape} and labels {labels.shape}, but the '
                'shapes must be (N, 3, W, H), (N, W, H) and (N, W, H): give nyu_depth_v2_labeled.mat.'
            )
        if crop != 'none' and size != (640, 480):
            raise ValueError(
                f'{mat} contains images of {size[0]}x{size[1]}, but --crop {crop} is for 640x480: remove --crop.'
            )
        splits = read_splits(meta / 'splits.mat', len(images))

        def read(index: int) -> list[np.ndarray]:
            label, depth = labels[index].T, depths[index].T.astype(np.float64)
            if label.max() >= len(classes):
                raise ValueError(
                    f'{mat} contains label {label.max()} in image {index + 1}, but classMapping40.mat maps 1 to '
                    f'{len(classes) - 1}: give two files of the same data set.'
                )
            if not ((depth >= 0) & (depth * DEPTH_SCALE <= 65535)).all():  # also False for NaN
                raise ValueError(
                    f'{mat} contains depths of {depth.min():g} to {depth.max():g} m in image {index + 1}, but 16 bits '
                    f'store 0 to {65535 / DEPTH_SCALE:g} m: give nyu_depth_v2_labeled.mat, whose depths are in meters.'
                )
            rgb = images[index].transpose(2, 1, 0)
            units = np.rint(depth * DEPTH_SCALE).astype(np.uint16)
            return [np.ascontiguousarray(image[CROPS[crop]]) for image in (rgb[..., ::-1], classes[label], units)]

        samples = [
            Sample(*(f'{folder}/{number:06d}.png' for folder in ('rgb', 'masks', 'depth')), split=splits[number])
            for number in range(1, len(images) + 1)
        ]
        prepare(out, dict(data_set='NYUDv2', crop=crop), samples, read, CLASSES, dict(train=795, val=654))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('mat', type=Path, help='nyu_depth_v2_labeled.mat')
    parser.add_argument('out', type=Path, help='folder to write to')
    parser.add_argument('--meta', type=Path, required=True, help='folder with splits.mat and classMapping40.mat')
    parser.add_argument('--crop', choices=CROPS, default='none', help='region to keep, see above (default: none)')
    run(parser, convert)


if __name__ == '__main__':
    main()
