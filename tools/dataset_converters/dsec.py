"""Converts DSEC-Semantic to aligned RGB images, voxel grids of events, and labels.

python tools/dataset_converters/dsec.py DSEC_Semantic data/dsec

The source is the layout of the authors' code (github.com/uzh-rpg/ess) with images and calibration of DSEC added:
  {train,test}/SEQUENCE/semantic/[left/]11classes/data/NNNNNN.png, semantic/timestamps.txt
  {train,test}/SEQUENCE/events/left/{events.h5,rectify_map.h5}
  {train,test}/SEQUENCE/images/left/rectified/NNNNNN.png, calibration/cam_to_cam.yaml
events.h5 is compressed with Blosc: `pip install hdf5plugin`.

The output folder contains, for each label, images/SEQUENCE/NNNNNN.png, events/SEQUENCE/NNNNNN.npz and
labels/SEQUENCE/NNNNNN.png, all 640x440 in the view of the rectified left event camera, and train.txt and test.txt.
  images  the left RGB image, warped by the rotation between the cameras, that is, for points at infinite distance
  events  voxel grid (440, 640, 5) float16 of the last 100,000 events before the label. Each event adds its polarity, 1
          or -1, to the 8 voxels around it, with trilinear weights; the bins are spread evenly over their time
  labels  copies: classes 0 to 10, 255 for unlabeled pixels
All labels are used; the authors' code leaves out every second one, and the first six of each sequence. The first label
of a sequence can have fewer events. The command is resumable.
"""

import argparse
import io
from contextlib import suppress
from functools import partial
from itertools import chain, product
from pathlib import Path
from typing import NamedTuple

import cv2
import mmengine
import numpy as np
from preparation import convert_all, open_hdf5, record_settings, run, save

NUM_EVENTS, BINS = 100_000, 5
HEIGHT, WIDTH = 480, 640  # of the event camera
LABEL_HEIGHT = 440  # the 40 bottom rows, which show the car, are cut


class Label(NamedTuple):
    """A label file, its sequence, and its time."""

    path: Path
    sequence: Path
    time: int  # microseconds


def voxel_grid(x: np.ndarray, y: np.ndarray, time: np.ndarray, polarity: np.ndarray) -> np.ndarray:
    """Sums events into voxels with trilinear weights.

    Args:
        x: rectified column of each event, ``(N,)``.
        y: rectified row, ``(N,)``.
        time: time of each event, in ascending order, ``(N,)``.
        polarity: 1 or 0, ``(N,)``.

    Returns:
        Voxel grid, ``(HEIGHT, WIDTH, BINS)`` float64.
    """
    if not len(time):
        return np.zeros((HEIGHT, WIDTH, BINS))
    time = time.astype(np.float64) - time[0]
    shape, positions = (HEIGHT, WIDTH, BINS), (y, x, (BINS - 1) * time / max(time[-1], 1))
    grid = np.zeros(HEIGHT * WIDTH * BINS)
    for corner in product((0, 1), repeat=3):
        voxel = [np.floor(position).astype(np.int64) + shift for position, shift in zip(positions, corner)]
        weight = 2.0 * polarity - 1
        inside = np.ones(len(time), bool)
        for index, position, size in zip(voxel, positions, shape):
            weight = weight * (1 - np.abs(index - position))
            inside &= (index >= 0) & (index < size)
        flat = np.ravel_multi_index([index[inside] for index in voxel], shape)
        grid += np.bincount(flat, weight[inside], len(grid))
    return grid.reshape(shape)


def read_voxel_grid(folder: Path, end: int) -> np.ndarray:
    """Reads the last events before a time, in microseconds, and returns their voxel grid."""
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  registers Blosc
    with open_hdf5(folder / 'rectify_map.h5', 'rectify_map') as file:
        rectified = file['rectify_map'][:]  # (HEIGHT, WIDTH, 2): x and y
    names = [f'events/{name}' for name in 'xytp']
    path = folder / 'events.h5'
    with open_hdf5(path, *names, 'ms_to_idx', 't_offset') as file:
        try:
            end = end - int(file['t_offset'][()])
            starts = file['ms_to_idx']  # index of the first event of each millisecond
            first = int(starts[min(max(end // 1000, 0), len(starts) - 1)])
            last = int(starts[end // 1000 + 1]) if 0 <= end // 1000 + 1 < len(starts) else None
            stop = first + int(np.searchsorted(file['events/t'][first:last], end))
            x, y, time, polarity = (file[name][max(stop - NUM_EVENTS, 0) : stop] for name in names)
        except OSError as error:
            raise ValueError(
                f'{path} cannot be read ({error}): run `pip install hdf5plugin`, or download it again.'
            ) from None
    x, y = rectified[y, x].T.astype(np.float64)
    return voxel_grid(x, y, time, polarity)


def event_to_rgb(path: Path) -> np.ndarray:
    """Returns the homography from rectified event pixels to rectified RGB pixels, at infinite distance, ``(3, 3)``."""
    if not path.is_file():
        raise ValueError(f'{path} does not exist: download the calibration of DSEC.')
    calibration = mmengine.load(path)
    cameras = []
    for name in ('camRect1', 'camRect0'):
        fx, fy, cx, cy = calibration['intrinsics'][name]['camera_matrix']
        cameras.append(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))
    rotations = [np.array(calibration['extrinsics'][name])[:3, :3] for name in ('R_rect1', 'T_10', 'R_rect0')]
    return cameras[0] @ rotations[0] @ rotations[1] @ rotations[2].T @ np.linalg.inv(cameras[1])


def convert_label(label: Label, out: Path) -> bool:
    """Writes image, events and label, unless they exist. Returns whether they existed."""
    name = f'{label.sequence.name}/{label.path.stem}'
    image_out, events_out, label_out = (
        out / file for file in (f'images/{name}.png', f'events/{name}.npz', f'labels/{name}.png')
    )
    if label_out.exists():  # it is written last
        return True
    path = label.sequence / f'images/left/rectified/{label.path.name}'
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f'{path} cannot be read: download the left images of DSEC; each label has an image.')
    homography = event_to_rgb(label.sequence / 'calibration/cam_to_cam.yaml')
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    image = cv2.warpPerspective(image, homography, (WIDTH, HEIGHT), flags=flags)
    grid = read_voxel_grid(label.sequence / 'events/left', label.time)
    packed = io.BytesIO()
    np.savez_compressed(packed, grid[:LABEL_HEIGHT].astype(np.float16))
    for file in (image_out, events_out, label_out):
        file.parent.mkdir(parents=True, exist_ok=True)
    save(image_out, np.ascontiguousarray(image[:LABEL_HEIGHT]))
    save(events_out, packed.getvalue())
    save(label_out, label.path.read_bytes())
    return False


def list_labels(sequence: Path) -> list[Label]:
    """Lists the labels of a sequence with their times."""
    paths = sorted(sequence.glob('semantic/**/11classes/data/*.png'))
    timestamps = sequence / 'semantic/timestamps.txt'
    if not timestamps.is_file():
        raise ValueError(f'{timestamps} does not exist: give the folder of DSEC-Semantic with train and test.')
    times = timestamps.read_text().split()
    if len(paths) != len(times):
        raise ValueError(
            f'{sequence} has {len(paths)} labels in semantic/11classes/data, but {timestamps} has {len(times)} times: '
            'unpack the labels again.'
        )
    return [Label(path, sequence, int(time)) for path, time in zip(paths, times)]


def convert(root: Path, out: Path, workers: int) -> None:
    """Converts the data set.

    Args:
        root: folder with train/ and test/.
        out: folder to write to.
        workers: number of processes.

    Raises:
        ValueError: if a file is missing or has unexpected content.
    """
    splits = {}
    for split in ('train', 'test'):
        sequences = sorted(path.parent for path in root.glob(f'{split}/*/semantic'))
        if not sequences:
            raise ValueError(f'{root} contains no {split}/SEQUENCE/semantic: give the folder of DSEC-Semantic.')
        splits[split] = [label for sequence in sequences for label in list_labels(sequence)]
    settings = dict(data_set='DSEC-Semantic', events=NUM_EVENTS, bins=BINS)
    record_settings(out, settings, (out / name for name in ('images', 'events', 'labels')))
    reused = convert_all(partial(convert_label, out=out), [*chain(*splits.values())], workers)
    for split, labels in splits.items():
        names = [f'{label.sequence.name}/{label.path.stem}\n' for label in labels]
        save(out / f'{split}.txt', ''.join(names).encode())
    print(f'{len(splits["train"])} training and {len(splits["test"])} test samples in {out}, {reused} existed before.')
    if [len(labels) for labels in splits.values()] != [8082, 2809]:
        print('Note: the complete data set has 8082 and 2809.')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, help='folder of DSEC-Semantic, with train/ and test/')
    parser.add_argument('out', type=Path, help='folder to write to')
    parser.add_argument('--workers', type=int, default=2, help='number of processes (default: 2)')
    run(parser, convert)


if __name__ == '__main__':
    main()
