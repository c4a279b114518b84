"""Computes HHA (horizontal disparity, height above ground, angle with gravity) from depth images.

python tools/dataset_converters/hha.py data/nyudv2/depth data/nyudv2/hha --camera 518.8579 519.4696 325.5824 253.7362

The input is 16-bit PNG files with --depth-scale units per meter, 0 for missing depth. The output is 8-bit RGB PNG
files with the same names:
  R  horizontal disparity: 31000 / max(z, 100 cm)
  G  height above the lowest point in cm; if no point is 90 cm below the camera, the floor is assumed 130 cm below it
  B  angle between gravity and the normal, in degrees, plus 38. Normals point away from the camera: floors have 38,
     walls 128, ceilings 218. Pixels without a normal have 218
Values are rounded and limited to 255. The definition is from Gupta et al., "Learning Rich Features from RGB-D Images
for Object Detection and Segmentation" (ECCV 2014). A pixel with missing depth is a point at the camera, so in-painted
depth is better. With --raw, only pixels with raw depth contribute to normals; all else is from the in-painted depth.

The camera is FX FY CX CY in pixels; the center of the upper left pixel is (1, 1). The default is NYUDv2's color
camera. If the depth files were cropped, subtract the columns and rows that were cut from CX and CY. For nyudv2.py:
  --crop none    --camera 518.8579 519.4696 325.5824 253.7362
  --crop border  --camera 518.8579 519.4696 318.5824 247.7362  (7 columns, 6 rows)
  --crop valid   --camera 518.8579 519.4696 285.5824 209.7362  (40 columns, 44 rows)
For files resized by the factor s, give FX * s, FY * s, (CX - 0.5) * s + 0.5 and (CY - 0.5) * s + 0.5.
If each image has its own camera, give a file with a line `NAME FX FY CX CY` for each, as sunrgbd.py writes it:
  python tools/dataset_converters/hha.py data/sunrgbd/depth data/sunrgbd/hha --cameras data/sunrgbd/cameras.txt
The command is resumable.
"""

import argparse
import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Optional, Sequence

import cv2
import numpy as np
from preparation import convert_all, record_settings, run, save

from cen_mm.datasets.nyudv2 import DEPTH_SCALE

NYU_CAMERA = (518.8579, 519.4696, 325.5824, 253.7362)  # FX, FY, CX, CY of the color camera, pixels from 1


def fit_normals(depth: np.ndarray, valid: np.ndarray, radius: int, camera: Sequence[float]) -> np.ndarray:
    """Fits a plane to the square window around each pixel, by least squares.

    A plane n * point = 1 means n * ray = 1 / z, so inverse depth is fitted by a linear function of pixel coordinates.
    These are integers: their sums are exact in float64, and the determinant of a window without a plane is exactly 0.

    Args:
        depth: z, ``(H, W)``.
        valid: pixels to use, ``(H, W)`` bool.
        radius: half of the window, without its center; pixels outside of the image do not count.
        camera: FX, FY, CX, CY.

    Returns:
        Unit normals that point away from the camera, ``(3, H, W)``; NaN where no three valid pixels span a plane.
    """
    fx, fy, cx, cy = camera
    y, x = np.indices(depth.shape, np.float64) + 1
    inverse = np.divide(1, depth, out=np.zeros_like(depth), where=valid)

    def window_sum(values: np.ndarray) -> np.ndarray:
        size = (2 * radius + 1, 2 * radius + 1)
        return cv2.boxFilter(values * valid, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT)

    count, sum_x, sum_y, sum_inverse = map(window_sum, (np.ones_like(x), x, y, inverse))
    xx = count * window_sum(x * x) - sum_x * sum_x
    xy = count * window_sum(x * y) - sum_x * sum_y
    yy = count * window_sum(y * y) - sum_y * sum_y
    xi = count * window_sum(x * inverse) - sum_x * sum_inverse
    yi = count * window_sum(y * inverse) - sum_y * sum_inverse
    determinant = xx * yy - xy * xy
    determinant[determinant == 0] = np.nan
    slope_x = (yy * xi - xy * yi) / determinant
    slope_y = (xx * yi - xy * xi) / determinant
    origin = (sum_inverse - slope_x * sum_x - slope_y * sum_y) / count  # at pixel (0, 0)

    normals = np.stack([fx * slope_x, fy * slope_y, origin + cx * slope_x + cy * slope_y])
    return normals * np.copysign(1 / np.linalg.norm(normals, axis=0), origin + x * slope_x + y * slope_y)


def find_gravity(normals: np.ndarray) -> np.ndarray:
    """Finds the direction that is parallel to the normals of floors and perpendicular to those of walls.

    Args:
        normals: unit normals, ``(3, H, W)``; NaN is ignored.

    Returns:
        Unit vector, ``(3,)``, x to the right, y down and z forward. It starts as (0, 1, 0).
    """
    normals = normals[:, ~np.isnan(normals[0])]
    gravity = np.array([0.0, 1.0, 0.0])
    for threshold in np.deg2rad([45] * 5 + [15] * 5):
        cosine = np.abs(gravity @ normals)
        weight = (cosine < np.sin(threshold)).astype(np.float64) - (cosine > np.cos(threshold))  # 1 wall, -1 floor
        # The current direction counts as one pixel of floor, which decides if the view does not, as for a single wall.
        scatter = (weight * normals) @ normals.T - np.outer(gravity, gravity)
        direction = np.linalg.eigh(scatter)[1][:, 0]  # of the smallest eigenvalue
        gravity = np.copysign(1, direction @ gravity) * direction
    return gravity


def compute_hha(depth: np.ndarray, measured: np.ndarray, camera: Sequence[float]) -> np.ndarray:
    """Computes disparity, height and angle, ``(H, W, 3)`` uint8.

    Args:
        depth: in-painted depth in meters, ``(H, W)`` float64, 0 for missing depth.
        measured: pixels that the normals are computed from, ``(H, W)`` bool.
        camera: FX, FY, CX, CY.
    """
    fx, fy, cx, cy = camera
    valid = measured & (depth > 0)
    gravity = find_gravity(fit_normals(depth, valid, 10, camera))
    cosine = np.tensordot(gravity, fit_normals(depth, valid, 3, camera), 1)
    angle = np.nan_to_num(np.rad2deg(np.arccos(cosine.clip(-1, 1))), nan=180)

    y, x = np.indices(depth.shape) + 1
    z = 100 * depth  # cm
    height = -z * (gravity[0] * (x - cx) / fx + gravity[1] * (y - cy) / fy + gravity[2])
    lowest = height.min() if height.min() <= -90 else -130
    return np.rint(np.dstack([31000 / np.maximum(z, 100), height - lowest, angle + 38])).clip(0, 255).astype(np.uint8)


def read_depth(path: Path, depth_scale: float) -> np.ndarray:
    """Reads depth in meters, ``(H, W)`` float64."""
    if not path.is_file():
        raise ValueError(f'{path} does not exist: give the raw depth of every image, or remove --raw.')
    depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if depth is None:
        raise ValueError(f'{path} cannot be decoded: replace it by a 16-bit PNG file with one channel.')
    if depth.dtype != np.uint16 or depth.ndim != 2:
        raise ValueError(
            f'{path} is {depth.dtype} {depth.shape}, but depth must be a 16-bit PNG file with one channel: save depth '
            f'in meters times {depth_scale:g} as 16-bit.'
        )
    return depth / depth_scale


def read_cameras(path: Path) -> dict[str, list[float]]:
    """Reads FX, FY, CX, CY of each image, by its name without suffix."""
    if not path.is_file():
        raise ValueError(f'{path} does not exist: run sunrgbd.py, which writes it, or give another file.')
    cameras = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            name, fx, fy, cx, cy = line.split()
            cameras[name] = [float(value) for value in (fx, fy, cx, cy)]
            if not min(cameras[name][:2]) > 0:
                raise ValueError
        except ValueError:
            raise ValueError(
                f'{path}, line {number} is {line!r}: write NAME FX FY CX CY, with FX and FY above 0.'
            ) from None
    return cameras


def convert_image(
    path: Path, hha: Path, raw: Optional[Path], depth_scale: float, cameras: dict[str, Sequence[float]]
) -> bool:
    """Writes the HHA image of a depth file, unless it exists and is complete. Returns whether it existed."""
    depth, out = read_depth(path, depth_scale), hha / path.name
    measured = depth if raw is None else read_depth(raw / path.name, depth_scale)
    if measured.shape != depth.shape:
        (height, width), (raw_height, raw_width) = depth.shape, measured.shape
        raise ValueError(
            f'{raw / path.name} is {raw_width}x{raw_height}, but {path} is {width}x{height}: give raw and in-painted '
            'depth of the same images, cropped and resized in the same way.'
        )
    if out.exists():
        image = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)  # None if the file is truncated
        if image is not None and image.dtype == np.uint8 and image.shape == (*depth.shape, 3):
            return True
    save(out, compute_hha(depth, measured > 0, cameras[path.stem])[..., ::-1])
    return False


def convert(
    depth: Path,
    hha: Path,
    depth_scale: float,
    camera: Sequence[float],
    cameras: Optional[Path],
    raw: Optional[Path],
    workers: int,
) -> None:
    """Computes the HHA images of all depth files in a folder.

    Args:
        depth: folder of the 16-bit depth files.
        hha: folder to write to.
        depth_scale: depth units per meter.
        camera: FX, FY, CX, CY of all images.
        cameras: file with FX, FY, CX, CY of each image, instead of ``camera``.
        raw: folder of the depth files before in-painting, with the same names.
        workers: number of processes.

    Raises:
        ValueError: if an option is out of range, or a file is missing or has unexpected content.
    """
    for name, value in (('--depth-scale', depth_scale), ('FX', camera[0]), ('FY', camera[1])):
        if not value > 0:
            raise ValueError(f'{name} is {value:g}: give a number above 0.')
    paths = sorted(depth.glob('*.png'))
    if not paths:
        raise ValueError(f'{depth} contains no .png files: give the folder of the depth files.')
    by_name = read_cameras(cameras) if cameras else {path.stem: camera for path in paths}
    if missing := [path.name for path in paths if path.stem not in by_name]:
        raise ValueError(f'{cameras} has no camera for {missing[0]}: add a line NAME FX FY CX CY.')
    used = hashlib.sha256(cameras.read_bytes()).hexdigest() if cameras else list(camera)
    # Relative, so that a data set which was moved as a whole keeps its settings.
    folders = [folder and os.path.relpath(folder, hha) for folder in (depth, raw)]
    settings = dict(data_set='HHA', depth_scale=depth_scale, camera=used, folders=folders)
    record_settings(hha, settings, (hha / path.name for path in paths))
    write = partial(convert_image, hha=hha, raw=raw, depth_scale=depth_scale, cameras=by_name)
    reused = convert_all(write, paths, workers)
    print(f'{len(paths)} images in {hha}, {reused} of them existed before.')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('depth', type=Path, metavar='DEPTH_FOLDER', help='folder of the (in-painted) depth files')
    parser.add_argument('hha', type=Path, metavar='HHA_FOLDER', help='folder to write to')
    parser.add_argument('--depth-scale', type=float, default=DEPTH_SCALE, help='depth units per meter (default: 5000)')
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument(
        '--camera', type=float, nargs=4, default=NYU_CAMERA, metavar=('FX', 'FY', 'CX', 'CY'), help='see above'
    )
    camera.add_argument('--cameras', type=Path, metavar='FILE', help='file with the camera of each image, see above')
    parser.add_argument('--raw', type=Path, metavar='RAW_DEPTH_FOLDER', help='folder of the depth before in-painting')
    parser.add_argument('--workers', type=int, default=2, help='number of processes (default: 2)')
    run(parser, convert)


if __name__ == '__main__':
    main()
