"""Tests of HHA on a room whose heights and angles are known, and of the command that writes it."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import hha
import numpy as np
import pytest
from nyudv2 import CROPS

NYUDV2 = Path(os.environ.get('CEN_MM_NYUDV2', '/nowhere'))
CAMERA = (130.0, 125.0, 80.5, 60.5)  # of images with 160x120 pixels
FLOOR, WALL, CEILING, UNKNOWN = 38, 128, 218, 218
TOLERANCE = [0.501, 4, 1.5]  # rounding; cm and degrees, because gravity is estimated from windows that contain edges


def rotation(pitch: float, roll: float) -> np.ndarray:
    """Returns the rotation from the room to the camera's axes (x right, y down, z forward), angles in degrees."""
    (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in np.deg2rad([pitch, roll]))
    return np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])


def room(pitch: float = 0, roll: float = 0, floor: float = 1.4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Casts rays from the camera at the origin of a room with a box of 0.6 m height on the floor.

    Returns:
        Depth in meters; the exact HHA, not rounded, ``(H, W, 3)``; pixels whose window of radius 3 is on one plane.
    """
    fx, fy, cx, cy = CAMERA
    y, x = np.mgrid[1:121, 1:161]
    ray = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones(x.shape)], -1) @ rotation(pitch, roll)
    low, high = np.array([-0.5, floor - 0.6, 2.0]), np.array([0.6, floor, 2.7])  # of the box
    planes = [(1, floor), (1, -1.1), (2, 4.0), (0, -2.0), (0, 2.0)]  # axis and position: floor, ceiling, walls
    planes += [(1, low[1]), (2, low[2]), (0, low[0]), (0, high[0])]  # box: top, front, sides
    angles = np.array([FLOOR, CEILING, WALL, WALL, WALL, FLOOR, WALL, WALL, WALL])
    depth, hit = np.full(x.shape, np.inf), np.zeros(x.shape, np.uint8)
    for index, (axis, position) in enumerate(planes):
        z = position / np.where(ray[..., axis] == 0, 1e-9, ray[..., axis])
        point = np.delete(ray * z[..., None], axis, -1)
        on_box = ((point >= np.delete(low, axis)) & (point <= np.delete(high, axis))).all(-1)
        closer = (z > 0) & (z < depth) & (on_box | (index < 5))
        depth[closer], hit[closer] = z[closer], index
    inside = cv2.erode(hit, np.ones((7, 7))) == cv2.dilate(hit, np.ones((7, 7)))
    height = 100 * (floor - depth * ray[..., 1])
    return depth, np.dstack([31000 / np.maximum(100 * depth, 100), height, angles[hit]]), inside


def errors(result: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Returns the largest error of each channel."""
    assert result.dtype == np.uint8
    return np.abs(result - np.clip(expected, 0.0, 255)).reshape(-1, 3).max(0)


@pytest.mark.parametrize(
    ('pitch', 'roll', 'floor', 'lowest'),
    [(0, 0, 1.4, 0), (20, 0, 1.4, 0), (0, 12, 1.4, 0), (25, -10, 1.4, 0), (-8, 5, 1.4, 0),
     (20, 0, 1.0, 0), (30, 0, 0.8, 130 - 80)],  # the lowest point must be 90 cm below the camera to be the floor
)  # fmt: skip
def test_room_has_its_known_heights_and_angles(pitch, roll, floor, lowest):
    depth, expected, inside = room(pitch, roll, floor)
    assert set(np.unique(expected[inside][:, 2])) == {FLOOR, WALL} | ({CEILING} if pitch < 10 else set())
    assert (inside & (expected[..., 2] == FLOOR) & (abs(expected[..., 1] - 60) < 1e-6)).sum() > 20  # top of the box
    result = hha.compute_hha(depth, depth > 0, CAMERA)
    assert (errors(result[inside], expected[inside] + [0, lowest, 0]) < TOLERANCE).all()
    gravity = hha.find_gravity(hha.fit_normals(depth, depth > 0, 10, CAMERA))
    assert np.rad2deg(np.arccos(gravity @ rotation(pitch, roll)[:, 1])) < 0.6


def test_normals_of_a_plane_are_exact():
    fx, fy, cx, cy = CAMERA
    y, x = np.mgrid[1:121, 1:161]
    plane = rotation(5, 20)[:, 1] / 1.3  # a floor with its horizon: inverse depth is negative above it
    inverse = plane[0] * (x - cx) / fx + plane[1] * (y - cy) / fy + plane[2]
    valid = inverse > 0.002
    normals = hha.fit_normals(np.where(valid, 1 / np.maximum(inverse, 0.002), 0), valid, 3, CAMERA)
    found = ~np.isnan(normals[0])
    assert found[valid].all()
    assert not found[inverse < -0.05].any()
    assert (inverse[found] < 0).any()  # there, the normal that points away from the camera points upwards
    assert np.allclose(normals[:, found], np.sign(inverse[found]) * plane[:, None] * 1.3, atol=1e-6)


def test_single_wall_keeps_the_gravity_of_a_level_camera():
    depth = np.full((120, 160), 1.5)
    height = 130 - (np.arange(1, 121)[:, None] - CAMERA[3]) / CAMERA[1] * 150
    expected = np.dstack(np.broadcast_arrays(31000 / 150, height, np.full(depth.shape, WALL)))
    assert (errors(hha.compute_hha(depth, depth > 0, CAMERA), expected) < 0.501).all()


def test_missing_pixels():
    depth, expected, inside = room(pitch=20)
    missing = np.random.default_rng(0).random(depth.shape) < 0.1
    missing[80:100, 10:40] = True
    result = hha.compute_hha(np.where(missing, 0, depth), np.full(depth.shape, True), CAMERA)
    assert (errors(result[inside & ~missing], expected[inside & ~missing]) < TOLERANCE).all()
    assert (abs(result[missing] - [255.0, 140, 0])[:, :2] < TOLERANCE[:2]).all()  # points at the camera
    assert (result[83:97, 13:37, 2] == UNKNOWN).all()
    # Raw depth selects the pixels for normals; all disparities and heights are those of the in-painted depth.
    painted = hha.compute_hha(np.where(missing, 0.9 * depth, depth), ~missing, CAMERA)
    assert np.array_equal(painted[..., 2], result[..., 2])
    assert np.array_equal(painted[~missing], result[~missing])
    assert np.array_equal(painted[missing][:, 0], np.rint(31000 / (90 * depth[missing])).clip(0, 255))
    assert (hha.compute_hha(np.zeros((9, 9)), np.full((9, 9), True), CAMERA) == [255, 130, UNKNOWN]).all()


def test_camera_of_cropped_files():
    cameras = dict(re.findall(r'--crop (\w+) +--camera ([\d. ]+\d)', hha.__doc__))
    for crop, (rows, columns) in CROPS.items():
        shift = [0, 0, columns.start or 0, rows.start or 0]
        assert np.allclose(np.float64(cameras[crop].split()) + shift, hha.NYU_CAMERA)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Writes three depth files and returns a function that runs the command on them."""
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        save(f'depth/{i}.png', np.rint(room(10 * i)[0] * 1000).astype(np.uint16))

    def run_tool(*options: str) -> str:
        monkeypatch.setattr(sys, 'argv', [*COMMAND, *options])
        hha.main()
        return capsys.readouterr().out

    return run_tool


COMMAND = [hha.__file__, 'depth', 'hha', '--depth-scale', '1000', '--camera', *map(str, CAMERA), '--workers', '1']


def save(path: str, image: np.ndarray) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    assert cv2.imwrite(path, image)


def test_command_is_resumable(run, monkeypatch):
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
    command = [sys.executable, *COMMAND, '--workers', '2']
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert '3/3' in done.stdout, done.stderr
    assert '3 images in hha, 0 of them existed before' in done.stdout
    content = {path: path.read_bytes() for path in sorted(Path('hha').glob('*.png'))}
    assert [path.name for path in content] == ['0.png', '1.png', '2.png']
    for path in content:
        depth = cv2.imread(f'depth/{path.name}', cv2.IMREAD_UNCHANGED) / 1000
        rgb = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
        assert np.array_equal(rgb, hha.compute_hha(depth, depth > 0, CAMERA))

    Path('hha/0.png').write_bytes(content[Path('hha/0.png')][:1000])  # truncated
    Path('hha/1.png').unlink()
    assert '1 of them existed before' in run()
    assert {path: path.read_bytes() for path in content} == content
    monkeypatch.setattr(hha, 'compute_hha', None)
    assert '3 of them existed before' in run()


INVALID_INPUTS = {
    'no depth': (lambda: os.rename('depth', 'other'), [], 'depth contains no .png files: give'),
    '8-bit': (lambda: save('depth/1.png', np.ones((9, 9), np.uint8)), [], r'1.png is uint8 \(9, 9\), .*times 1000'),
    'color': (lambda: save('depth/1.png', np.ones((9, 9, 3), np.uint16)), [], r'1.png is uint16 \(9, 9, 3\), .*save'),
    'no image': (lambda: Path('depth/1.png').write_text('x'), [], 'depth/1.png cannot be decoded: replace'),
    'other settings': (lambda: Path('hha/prepared.json').write_text('{}'), [], 'settings {}: give the same options'),
    'used folder': (lambda: save('hha/1.png', np.ones((9, 9))), [], 'hha contains files .*: give another folder'),
    'no raw depth': (lambda: None, ['--raw', 'raw'], 'raw/0.png does not exist: give .* or remove --raw'),
    'another size': (
        lambda: save('raw/0.png', np.ones((60, 80), np.uint16)), ['--raw', 'raw'],
        'raw/0.png is 80x60, but depth/0.png is 160x120: give',
    ),
    'camera': (lambda: None, ['--camera', '0', '1', '1', '1'], 'FX is 0: give a number above 0'),
    'depth scale': (lambda: None, ['--depth-scale', 'nan'], '--depth-scale is nan: give'),
    'workers': (lambda: None, ['--workers', '0'], '--workers is 0: give'),
}  # fmt: skip


@pytest.mark.parametrize('case', INVALID_INPUTS)
def test_invalid_inputs_end_in_clear_errors(run, case):
    corrupt, options, message = INVALID_INPUTS[case]
    Path('hha').mkdir()
    corrupt()
    with pytest.raises(SystemExit, match=message):
        run(*options)


def test_images_of_other_cameras_or_depth_are_not_kept(run):
    convert = partial(hha.convert, Path('depth'), Path('hha'), 1000, CAMERA, Path('cameras.txt'), None, 1)
    lines = [' '.join(map(str, (i, *CAMERA))) for i in range(3)]
    Path('cameras.txt').write_text('\n'.join(lines))
    convert()
    convert()
    os.rename('depth', 'inpainted')
    with pytest.raises(ValueError, match='give the same options, or another folder'):
        hha.convert(Path('inpainted'), *convert.args[1:])
    os.rename('inpainted', 'depth')
    Path('cameras.txt').write_text('\n'.join([*lines[:2], '2 90 90 80 60']))
    with pytest.raises(ValueError, match='give the same options, or another folder'):
        convert()


@pytest.mark.skipif(not NYUDV2.is_dir(), reason='CEN_MM_NYUDV2 is not set')
def test_floors_of_nyudv2_are_low_and_level():
    medians = []
    for path in sorted((NYUDV2 / 'depth').glob('*.png'))[:24]:
        depth, label = hha.read_depth(path, 5000), cv2.imread(str(NYUDV2 / 'masks' / path.name), cv2.IMREAD_UNCHANGED)
        scale = depth.shape[1] / 640
        camera = np.array(hha.NYU_CAMERA) * scale + [0, 0, 0.5 - 0.5 * scale, 0.5 - 0.5 * scale]
        if label.shape == depth.shape and (label == 1).mean() > 0.05:
            medians.append(np.median(hha.compute_hha(depth, depth > 0, camera)[label == 1], axis=0))
    _, height, angle = np.median(medians, axis=0)
    assert len(medians) > 5
    assert height < 40
    assert abs(angle - FLOOR) < 12
