"""Computes depth files for Cityscapes, from its disparity and camera files.

python tools/dataset_converters/cityscapes.py data/cityscapes

The folder contains the unpacked leftImg8bit, gtFine, disparity and camera. For every disparity file, the command
writes depth/SPLIT/CITY/NAME_depth.png: 16-bit, 200 depth units per meter, 0 for missing depth.
  disparity = (value - 1) / 256 pixels; value 0 is missing
  depth = baseline * fx / disparity; depth over 300 m is missing, as in ESANet
The command is resumable.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from preparation import convert_all, record_settings, run, save

DEPTH_SCALE = 200  # depth units per meter
MAX_DEPTH = 300  # meters


def read_focal_baseline(path: Path) -> float:
    """Reads the product of baseline and focal length, in meters times pixels."""
    try:
        camera = json.loads(path.read_text())
        return camera['extrinsic']['baseline'] * camera['intrinsic']['fx']
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f'{path} cannot be read ({type(error).__name__}: {error}): unpack camera_trainvaltest.zip into the folder.'
        ) from None


def convert_image(name: str, root: Path) -> bool:
    """Writes the depth file of an image, unless it exists. Returns whether it existed."""
    out = root / f'depth/{name}_depth.png'
    if out.exists():
        return True
    path = root / f'disparity/{name}_disparity.png'
    value = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if value is None or value.dtype != np.uint16 or value.ndim != 2:
        raise ValueError(f'{path} is not a 16-bit PNG with one channel: unpack disparity_trainvaltest.zip again.')
    disparity = (value.astype(np.float64) - 1) / 256
    focal_baseline = read_focal_baseline(root / f'camera/{name}_camera.json')
    depth = np.divide(focal_baseline, disparity, out=np.zeros_like(disparity), where=disparity > 0)
    depth[depth > MAX_DEPTH] = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    save(out, np.rint(depth * DEPTH_SCALE).astype(np.uint16))
    return False


def convert(root: Path, workers: int) -> None:
    """Computes all depth files.

    Args:
        root: folder that contains disparity/ and camera/.
        workers: number of processes.

    Raises:
        ValueError: if a file is missing or has unexpected content.
    """
    ending = '_disparity.png'
    files = sorted(path.relative_to(root / 'disparity').as_posix() for path in root.glob(f'disparity/*/*/*{ending}'))
    if not files:
        raise ValueError(f'{root} contains no disparity/SPLIT/CITY/*{ending}: unpack disparity_trainvaltest.zip.')
    settings = dict(data_set='Cityscapes', depth_scale=DEPTH_SCALE, max_depth=MAX_DEPTH)
    record_settings(root / 'depth', settings, (root / f'depth/{split}' for split in ('train', 'val', 'test')))
    reused = convert_all(partial(convert_image, root=root), [file[: -len(ending)] for file in files], workers)
    print(f'{len(files)} depth files in {root / "depth"}, {reused} of them existed before.')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, help='folder that contains disparity/ and camera/')
    parser.add_argument('--workers', type=int, default=2, help='number of processes (default: 2)')
    run(parser, convert)


if __name__ == '__main__':
    main()
