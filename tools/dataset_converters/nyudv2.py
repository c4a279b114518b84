"""Prepares NYUDv2 from nyu_depth_v2_labeled.mat, in the authors' layout.

python tools/dataset_converters/nyudv2.py nyu_depth_v2_labeled.mat data/nyudv2 --meta nyudv2-meta --crop border

OUT gets rgb/, masks/ and depth/NNNNNN.png, where NNNNNN is the image's number in the .mat from 1 on, and train.txt and
val.txt. Masks hold classes 0 to 39, and 255 where unlabelled; depth is 16-bit, 5000 steps a metre, in-painted. A run
that was killed goes on where it was.

--crop cuts image, label and depth alike, so that they stay aligned (AlignToLabel, which takes the centre of an image
whose label is smaller, then has nothing to do):
  none    the whole 640x480
  border  625x468, the centre: without the white border, as the data that the authors use
  valid   561x427, rows 45 to 471 and columns 41 to 601 (from 1 on): where the projected depth is measured, by the
          toolbox's get_projection_mask.m. It is not the centre, but lies
          18 rows lower
"""

import argparse
from pathlib import Path

import numpy as np

from cen_mm.datasets.nyudv2 import CLASSES
from cen_mm.datasets.preparation import DEPTH_SCALE, Sample, open_hdf5, prepare, read_mat

CROPS = {
    'none': (slice(None), slice(None)),
    'border': (slice(6, 474), slice(7, 632)),
    'valid': (slice(44, 471), slice(40, 601)),
}


def read_mapping(path: Path) -> np.ndarray:
    """The class of each raw label from 0, which is unlabelled, on: ``(895,)`` uint8, 0 to 39 and 255."""
    mapping = np.atleast_1d(read_mat(path, 'mapClass')[0])
    if sorted(set(mapping.tolist())) != list(range(1, len(CLASSES) + 1)):
        raise ValueError(f'{path} does not map to the 40 classes of NYUDv2: give the official classMapping40.mat.')
    return np.concatenate([[255], mapping.astype(np.int64) - 1]).astype(np.uint8)


def read_splits(path: Path, num_images: int) -> dict[int, str]:
    """The list, `train` or `val`, of each image number from 1 on."""
    train, val = (np.atleast_1d(numbers).tolist() for numbers in read_mat(path, 'trainNdxs', 'testNdxs'))
    if sorted(train + val) != list(range(1, num_images + 1)):
        raise ValueError(
            f'{path} splits {len(train)} + {len(val)} images, which are not the numbers 1 to {num_images} of the .mat '
            'file, each once: give the splits.mat and the .mat file of one data set.'
        )
    return {number: split for split, numbers in (('train', train), ('val', val)) for number in numbers}


def convert(mat: Path, out: Path, meta: Path, crop: str) -> None:
    """Writes the data set.

    Raises:
        ValueError: for a file that is missing or not what it has to be.
    """
    classes = read_mapping(meta / 'classMapping40.mat')
    with open_hdf5(mat, 'images', 'depths', 'labels') as file:
        # MATLAB's arrays come transposed: (N, 3, W, H) and (N, W, H).
        images, depths, labels = (file[name] for name in ('images', 'depths', 'labels'))
        size = images.shape[2:]
        if images.shape[1:2] != (3,) or not depths.shape == labels.shape == (len(images), *size):
            raise ValueError(
                f'{mat} holds images {images.shape}, depths {depths.shape} and labels {labels.shape}, not (N, 3, W, '
                'H) and twice (N, W, H): give nyu_depth_v2_labeled.mat.'
            )
        if crop != 'none' and size != (640, 480):
            raise ValueError(f'{mat} holds images of {size[0]}x{size[1]}, but --crop {crop} is for 640x480: drop it.')
        splits = read_splits(meta / 'splits.mat', len(images))

        def read(index: int) -> list[np.ndarray]:
            label, depth = labels[index].T, depths[index].T.astype(np.float64)
            if label.max() >= len(classes):
                raise ValueError(
                    f'{mat} holds label {label.max()} in image {index + 1}, but classMapping40.mat maps 1 to '
                    f'{len(classes) - 1}: give the two files of one data set.'
                )
            if not ((depth >= 0) & (depth * DEPTH_SCALE <= 65535)).all():  # False for NaN, too
                raise ValueError(
                    f'{mat} holds depth of {depth.min():g} to {depth.max():g} m in image {index + 1}, but 16 bit hold '
                    f'0 to {65535 / DEPTH_SCALE:g} m: give nyu_depth_v2_labeled.mat, whose depths are metres.'
                )
            rgb = images[index].transpose(2, 1, 0)
            steps = np.rint(depth * DEPTH_SCALE).astype(np.uint16)
            return [np.ascontiguousarray(image[CROPS[crop]]) for image in (rgb[..., ::-1], classes[label], steps)]

        samples = [
            Sample(*(f'{folder}/{number:06d}.png' for folder in ('rgb', 'masks', 'depth')), split=splits[number])
            for number in range(1, len(images) + 1)
        ]
        prepare(out, dict(data_set='NYUDv2', crop=crop), samples, read, CLASSES, dict(train=795, val=654))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('mat', type=Path, help='nyu_depth_v2_labeled.mat')
    parser.add_argument('out', type=Path, help='folder to write to')
    parser.add_argument('--meta', type=Path, required=True, help='folder of splits.mat and classMapping40.mat')
    parser.add_argument('--crop', choices=CROPS, default='none', help='see above')
    args = parser.parse_args()
    try:
        convert(args.mat, args.out, args.meta, args.crop)
    except (ValueError, OSError) as error:
        raise SystemExit(f'nyudv2.py: {error}') from None


if __name__ == '__main__':
    main()
