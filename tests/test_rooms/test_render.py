"""Tests of the rendered data set: reproducibility, encodings, alignment of the modalities, class statistics."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cen_mm.datasets.taskonomy import EDGE_MAX, MODALITIES
from rooms import CLASSES, render
from rooms.classes import LABELS, NYU40
from rooms.raycast import cast
from rooms.scene import make_scene

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'render_rooms.py'
ROOMS, SIZE = 6, (80, 60)


@pytest.fixture(scope='module')
def tool_run(tmp_path_factory):
    """A tiny data set, rendered from the command line."""
    out = tmp_path_factory.mktemp('rooms') / 'new' / 'folder'
    options = ('--train', 4, '--val', 2, '--size', *SIZE, '--seed', 7, '--workers', 2)
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [sys.executable, *map(str, (TOOL, out, *options))]
    return out, subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@pytest.fixture(scope='module')
def rendered(tool_run):
    return tool_run[0]


def read(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return image[..., ::-1] if image.ndim == 3 else image


def read_taskonomy(out, index, domain):
    return read(out / 'taskonomy' / domain / f'point_{index}_view_0_domain_{domain}.png')


def read_nyu(out, index, folder):
    return read(out / 'nyudv2' / folder / f'{index:06d}.png')


def test_tool_prints_summary(tool_run):
    out, run = tool_run
    assert run.returncode == 0, run.stderr
    assert f'4 rooms for training and 2 for validation in {out}' in run.stdout
    summary = json.loads((out / 'rooms.json').read_text())
    assert all(f' {name} {summary["pixels"][name]:.1%}' in run.stdout for name in CLASSES)
    assert sum(summary['pixels'].values()) == pytest.approx(1)
    assert read(out / 'overview.png').shape[1] == 12 * SIZE[0]


def test_complete_data_set_is_reused(rendered):
    modified = (rendered / 'rooms.json').stat().st_mtime_ns
    assert render(rendered, 4, 2, SIZE, seed=7)['reused']
    assert (rendered / 'rooms.json').stat().st_mtime_ns == modified


def test_invalid_arguments_raise_clear_errors(rendered, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match='rendered with other arguments'):
        render(rendered, 4, 2, SIZE, seed=8)
    with pytest.raises(ValueError, match='num_train must be at least 1'):
        render(tmp_path, num_train=0)
    (tmp_path / 'nyudv2').mkdir()
    with pytest.raises(ValueError, match='was not created by this tool'):
        render(tmp_path, 4, 2, SIZE)
    monkeypatch.setattr(sys, 'argv', [str(TOOL), str(tmp_path / 'new'), '--size', '8', '8'])
    with pytest.raises(SystemExit, match=r'^render_rooms\.py: size must be at least 32 x 32 pixels, not 8 x 8\.$'):
        runpy.run_path(str(TOOL), run_name='__main__')
    assert not (tmp_path / 'new').exists()


def test_files_are_independent_of_workers_and_number_of_rooms(rendered, tmp_path):
    """Three rooms from one worker, after an interrupted run, have the same bytes as in the larger data set."""
    (tmp_path / 'rooms.started').touch()
    (tmp_path / 'nyudv2' / 'rgb').mkdir(parents=True)
    (tmp_path / 'nyudv2' / 'rgb' / '000000.png').write_bytes(b'incomplete')
    (tmp_path / 'nyudv2' / 'rgb' / '000003.png').write_bytes(b'of an interrupted run with more rooms')
    render(tmp_path, 2, 1, SIZE, seed=7, workers=1)
    files = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob('*.png') if p.name != 'overview.png')
    assert len(files) == 3 * (5 + 10)
    for file in files:
        assert (tmp_path / file).read_bytes() == (rendered / file).read_bytes(), file


def test_lists_contain_every_file(rendered):
    splits = [(rendered / 'nyudv2' / f'{name}.txt').read_text().splitlines() for name in ('train', 'val')]
    assert [len(split) for split in splits] == [4, 2]
    assert splits[1][0] == 'rgb/000004.png\tmasks/000004.png\tdepth/000004.png'
    lists = [(rendered / 'taskonomy' / f'{name}_domain.txt').read_text().splitlines() for name in ('train', 'test')]
    assert [len(split) for split in lists] == [4, 2]
    assert lists[1][0] == '{domain}/point_4_view_0_domain_{domain}.png'
    listed = {f'nyudv2/{path}' for split in splits for line in split for path in line.split('\t')}
    listed |= {path.replace('/depth/', f'/{name}/') for path in listed for name in ('normal', 'reshading')}
    listed |= {'taskonomy/' + line.format(domain=d) for split in lists for line in split for d in MODALITIES}
    assert listed == {str(p.relative_to(rendered)) for p in rendered.glob('*/*/*.png')}


@pytest.mark.parametrize('index', range(ROOMS))
def test_encodings(rendered, index):
    images = {domain: read_taskonomy(rendered, index, domain) for domain in MODALITIES}
    for domain, image in images.items():
        is_16_bit = domain.startswith(('depth', 'edge'))
        assert image.dtype == (np.uint16 if is_16_bit else np.uint8), domain
        assert image.shape == ((60, 80) if is_16_bit or domain.startswith('segment') else (60, 80, 3)), domain
    assert 0 < images['edge_texture'].max() <= EDGE_MAX['edge_texture']
    assert images['edge_occlusion'].max() <= EDGE_MAX['edge_occlusion']
    # Normals have unit length; reshading is gray
    normal = images['normal'] / 127.5 - 1
    np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, atol=0.02)
    assert (np.ptp(images['reshading'], axis=-1) == 0).all()
    # Flat surfaces have the middle value, and no surface in a room is concave
    assert images['principal_curvature'][..., :2].min() == 128
    assert len(np.unique(images['segment_unsup2d'])) > 3


@pytest.mark.parametrize('index', range(ROOMS))
def test_modalities_of_both_layouts_are_aligned(rendered, index):
    rgb, sensor_depth, label = (read_nyu(rendered, index, folder) for folder in ('rgb', 'depth', 'masks'))
    assert (rgb.dtype, sensor_depth.dtype, label.dtype) == (np.uint8, np.uint16, np.uint8)
    assert set(np.unique(label)) <= set(LABELS.values())
    for name in ('rgb', 'normal', 'reshading'):
        np.testing.assert_array_equal(read_nyu(rendered, index, name), read_taskonomy(rendered, index, name))

    z, distance = (read_taskonomy(rendered, index, f'depth_{kind}') / 512 for kind in ('zbuffer', 'euclidean'))
    assert (z <= distance).all()
    assert z.min() > 0.5
    assert distance.max() < 8
    # Ray length / z depth is 1 / cosine: 1 at the image center and symmetric about it
    ratio = distance / z
    assert abs(ratio[28:32, 38:42].mean() - 1) < 0.01
    np.testing.assert_allclose(ratio, ratio[::-1, ::-1], atol=0.01)

    # The disparity 43.5 / depth has Gaussian noise of 0.04 and is rounded to 1/8: all but 1 in 15000 errors are below
    # 4 * 0.04 + 1/16
    valid = sensor_depth > 0
    assert 0.6 < valid.mean() < 0.99
    error = 43.5 / (sensor_depth[valid] / 5000) - 43.5 / z[valid]
    rounding = 43.5 / z[valid] ** 2 / 512  # rounding error of depth_zbuffer
    assert (np.abs(error) < 0.16 + 0.0625 + rounding).mean() > 0.999
    assert abs(error.mean()) < 0.01


def test_class_statistics():
    """Each class has over 1.4 % of the pixels and is in over 20 % of the rooms; about 25 % of the rooms are dark."""
    counts, dark = [], []
    for index in range(120):
        scene = make_scene(np.random.default_rng([0, index, 0]))
        hits = cast(scene.shell + scene.things, scene.camera.eye[:, None], scene.camera.rays(40, 30)[0])
        assert np.isfinite(hits.distance).all()
        counts.append(np.bincount(hits.label, minlength=len(NYU40)))
        dark.append(scene.exposure < 0.1)
    assert 0.15 < np.mean(dark) < 0.35
    counts = np.array(counts)
    shares, presence = counts.sum(0) / counts.sum(), (counts > 0).mean(0)
    for name in CLASSES:
        assert shares[LABELS[name]] > 0.014, name
        assert presence[LABELS[name]] > 0.2, name
    assert set(np.flatnonzero(counts.sum(0))) == set(LABELS.values())


def test_classes_visible_in_one_modality():
    """Color-only classes are flat; depth-only classes have the texture of the wall or floor."""
    for index in range(20):
        scene = make_scene(np.random.default_rng([3, index, 0]))
        floor, wall = scene.shell[0].texture, scene.shell[2].texture
        for thing in scene.things:
            name = NYU40[thing.label]
            if name in ('door', 'picture', 'window', 'floor mat'):
                assert thing.half.min() < 1e-3
            elif name in ('otherstructure', 'cabinet', 'otherfurniture'):
                assert thing.texture is (floor if name == 'otherfurniture' else wall)


def test_balls_do_not_overlap_other_furniture():
    """No ball overlaps another piece by more than one cell of the occupancy map."""
    for index in range(20):
        scene = make_scene(np.random.default_rng([4, index, 0]))
        standing = [t for t in scene.things if t.half.min() > 1e-3]
        for ball in (t for t in standing if NYU40[t.label] == 'otherprop'):
            for other in standing:
                # Horizontal distance from the center of the ball to the other piece
                gap = np.abs(other.turn((ball.center - other.center)[:, None])[:2, 0]) - other.half[:2]
                assert other is ball or np.linalg.norm(np.maximum(gap, 0)) > ball.half[0] - 0.05
