"""The written sets: the same for any number of workers, encoded as the real ones, and aligned."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cen_mm.rooms import CLASSES, render
from cen_mm.rooms.classes import LABELS, NYU40
from cen_mm.rooms.modalities import DOMAINS, EDGE_OCCLUSION_MAX, EDGE_TEXTURE_MAX
from cen_mm.rooms.raycast import cast
from cen_mm.rooms.scene import make_scene

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'dataset_converters' / 'render_rooms.py'
ROOMS, SIZE = 6, (80, 60)


@pytest.fixture(scope='module')
def tool_run(tmp_path_factory):
    """A tiny set, made by the tool as a user would."""
    out = tmp_path_factory.mktemp('rooms') / 'made' / 'here'
    options = ('--train', 4, '--val', 2, '--size', *SIZE, '--seed', 7, '--workers', 2)
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [sys.executable, *map(str, (TOOL, out, *options))]
    return out, subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@pytest.fixture(scope='module')
def made(tool_run):
    return tool_run[0]


def read(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return image[..., ::-1] if image.ndim == 3 else image


def read_taskonomy(out, index, domain):
    return read(out / 'taskonomy' / domain / f'point_{index}_view_0_domain_{domain}.png')


def read_nyu(out, index, folder):
    return read(out / 'nyudv2' / folder / f'{index:06d}.png')


def test_tool_reports(tool_run):
    out, run = tool_run
    assert run.returncode == 0, run.stderr
    assert f'4 rooms for training and 2 for validation in {out}' in run.stdout
    assert all(f'\n{name} ' in run.stdout for name in CLASSES)
    summary = json.loads((out / 'rooms.json').read_text())
    assert sum(summary['pixels'].values()) == pytest.approx(1)
    assert read(out / 'overview.png').shape[1] == 12 * SIZE[0]


def test_finished_set_is_kept(made):
    stamp = (made / 'rooms.json').stat().st_mtime_ns
    assert render(made, 4, 2, SIZE, seed=7)['reused']
    assert (made / 'rooms.json').stat().st_mtime_ns == stamp


def test_wrong_arguments_end_in_one_sentence(made, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match='made with other arguments'):
        render(made, 4, 2, SIZE, seed=8)
    with pytest.raises(ValueError, match='num_train must be at least 1'):
        render(tmp_path, num_train=0)
    (tmp_path / 'nyudv2').mkdir()
    with pytest.raises(ValueError, match='was not made here'):
        render(tmp_path, 4, 2, SIZE)
    monkeypatch.setattr(sys, 'argv', [str(TOOL), str(tmp_path / 'new'), '--size', '8', '8'])
    with pytest.raises(SystemExit, match=r'^render_rooms\.py: size must be at least 32 x 32 pixels, not 8 x 8$'):
        runpy.run_path(str(TOOL), run_name='__main__')
    assert not (tmp_path / 'new').exists()


def test_same_bytes_for_any_workers(made, tmp_path):
    """Fewer rooms by one worker, after a run that was killed, equal the first of the larger set byte for byte."""
    (tmp_path / 'rooms.started').touch()
    (tmp_path / 'nyudv2' / 'rgb').mkdir(parents=True)
    (tmp_path / 'nyudv2' / 'rgb' / '000000.png').write_bytes(b'torn')
    render(tmp_path, 2, 1, SIZE, seed=7, workers=1)
    files = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob('*.png') if p.name != 'overview.png')
    assert len(files) == 3 * (5 + 10)
    for file in files:
        assert (tmp_path / file).read_bytes() == (made / file).read_bytes(), file


def test_lists_name_every_file(made):
    splits = [(made / 'nyudv2' / f'{name}.txt').read_text().splitlines() for name in ('train', 'val')]
    assert [len(split) for split in splits] == [4, 2]
    assert splits[1][0] == 'rgb/000004.png\tmasks/000004.png\tdepth/000004.png'
    lists = [(made / 'taskonomy' / f'{name}_domain.txt').read_text().splitlines() for name in ('train', 'test')]
    assert [len(split) for split in lists] == [4, 2]
    assert lists[1][0] == '{domain}/point_4_view_0_domain_{domain}.png'
    named = {f'nyudv2/{path}' for split in splits for line in split for path in line.split('\t')}
    named |= {path.replace('/depth/', f'/{name}/') for path in named for name in ('normal', 'reshading')}
    named |= {'taskonomy/' + line.format(domain=d) for split in lists for line in split for d in DOMAINS}
    assert named == {str(p.relative_to(made)) for p in made.glob('*/*/*.png')}


@pytest.mark.parametrize('index', range(ROOMS))
def test_encodings(made, index):
    images = {domain: read_taskonomy(made, index, domain) for domain in DOMAINS}
    for domain, image in images.items():
        wide = domain.startswith(('depth', 'edge'))
        assert image.dtype == (np.uint16 if wide else np.uint8), domain
        assert image.shape == ((60, 80) if wide or domain.startswith('segment') else (60, 80, 3)), domain
    assert 0 < images['edge_texture'].max() <= EDGE_TEXTURE_MAX
    assert images['edge_occlusion'].max() <= EDGE_OCCLUSION_MAX
    # Normals are of unit length and face the camera; reshading is the cosine between the two
    normal = images['normal'] / 127.5 - 1
    np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, atol=0.02)
    assert (np.ptp(images['reshading'], axis=-1) == 0).all()
    # Flat is the middle of the range, and nothing in a room is hollow
    assert images['principal_curvature'][..., :2].min() == 128
    assert len(np.unique(images['segment_unsup2d'])) > 3


@pytest.mark.parametrize('index', range(ROOMS))
def test_layouts_are_aligned(made, index):
    rgb, sensed, label = (read_nyu(made, index, folder) for folder in ('rgb', 'depth', 'masks'))
    assert (rgb.dtype, sensed.dtype, label.dtype) == (np.uint8, np.uint16, np.uint8)
    assert set(np.unique(label)) <= set(LABELS.values())
    for name in ('rgb', 'normal', 'reshading'):
        np.testing.assert_array_equal(read_nyu(made, index, name), read_taskonomy(made, index, name))

    z, distance = (read_taskonomy(made, index, f'depth_{kind}') / 512 for kind in ('zbuffer', 'euclidean'))
    assert (z <= distance).all()
    assert z.min() > 0.5
    assert distance.max() < 8
    # Ray length over depth is 1 / cosine: least in the middle of the picture, symmetric about it
    ratio = distance / z
    assert abs(ratio[28:32, 38:42].mean() - 1) < 0.01
    np.testing.assert_allclose(ratio, ratio[::-1, ::-1], atol=0.01)

    # Disparity, 43.5 / depth, has a noise of .04 and is rounded to 1/8: all but one in 15000 within .04 * 4 + 1/16
    seen = sensed > 0
    assert 0.6 < seen.mean() < 0.99
    error = 43.5 / (sensed[seen] / 5000) - 43.5 / z[seen]
    step = 43.5 / z[seen] ** 2 / 512  # what the zbuffer's own rounding may add
    assert (np.abs(error) < 0.16 + 0.0625 + step).mean() > 0.999
    assert abs(error.mean()) < 0.01


def test_every_class_is_learnable():
    """Over many rooms each class has about 2 % of the pixels and is in a quarter of the rooms; a quarter is dark."""
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


def test_flat_and_painted_classes():
    """Flat classes leave no trace in depth; painted ones bear the very texture of the wall or floor."""
    for index in range(20):
        scene = make_scene(np.random.default_rng([3, index, 0]))
        floor, wall = scene.shell[0].texture, scene.shell[2].texture
        for thing in scene.things:
            name = NYU40[thing.label]
            if name in ('door', 'picture', 'window', 'floor mat'):
                assert thing.half.min() < 1e-3
            elif name in ('otherstructure', 'cabinet', 'otherfurniture'):
                assert thing.texture is (floor if name == 'otherfurniture' else wall)


def test_furniture_keeps_apart():
    """No ball reaches into another piece by more than a cell of the layout."""
    for index in range(20):
        scene = make_scene(np.random.default_rng([4, index, 0]))
        standing = [t for t in scene.things if t.half.min() > 1e-3]
        for ball in (t for t in standing if NYU40[t.label] == 'otherprop'):
            for other in standing:
                # The nearest point of an upright box to the ball's middle
                gap = np.abs(other.turn((ball.centre - other.centre)[:, None])[:2, 0]) - other.half[:2]
                assert other is ball or np.linalg.norm(np.maximum(gap, 0)) > ball.half[0] - 0.05
