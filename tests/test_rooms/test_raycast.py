"""Rays and surfaces against values worked out by hand."""

import numpy as np
import pytest

from cen_mm.rooms.primitives import Primitive
from cen_mm.rooms.raycast import Camera, cast, nearest, occluded

GREY = np.full((8, 8, 3), 0.5, np.float32)


def solid(shape, half, centre=(0, 0, 0), **options):
    return Primitive(shape, centre, half, 0, GREY, **options)


def ray(origin, direction):
    direction = np.float32(direction) / np.linalg.norm(direction)
    return np.float32(origin)[:, None], direction[:, None].astype(np.float32)


HALF = np.sqrt(0.5)


@pytest.mark.parametrize(
    ('primitive', 'origin', 'direction', 'distance', 'normal'),
    [
        # A sphere of radius 2 seen from 5 m off; past its rim; from inside
        (solid('sphere', (2, 2, 2)), (0, -5, 0), (0, 1, 0), 3, (0, -1, 0)),
        (solid('sphere', (2, 2, 2)), (0, -5, 1.6), (0, 1, 0), 3.8, (0, -0.6, 0.8)),
        (solid('sphere', (2, 2, 2)), (0, -5, 2.1), (0, 1, 0), np.inf, None),
        (solid('sphere', (2, 2, 2)), (0, 0, 0), (0, 1, 0), np.inf, None),
        # A box of 2 x 4 x 6 m: front, top, from behind the start, turned by 45 degrees (an edge comes first)
        (solid('box', (1, 2, 3)), (0.5, -5, 1), (0, 1, 0), 3, (0, -1, 0)),
        (solid('box', (1, 2, 3)), (0.5, 0.5, 5), (0, 0, -1), 2, (0, 0, 1)),
        (solid('box', (1, 2, 3)), (0, 5, 0), (0, 1, 0), np.inf, None),
        (solid('box', (1, 1, 1), yaw=np.pi / 4), (0.2, -5, 0), (0, 1, 0), 5 - np.sqrt(2) + 0.2, (HALF, -HALF, 0)),
        # A cylinder of radius 1 and height 4: side, top, past the rim of the top, slantwise through the top
        (solid('cylinder', (1, 1, 2)), (0.6, -5, 0), (0, 1, 0), 4.2, (0.6, -0.8, 0)),
        (solid('cylinder', (1, 1, 2)), (0.6, 0.6, 5), (0, 0, -1), 3, (0, 0, 1)),
        (solid('cylinder', (1, 1, 2)), (0.8, 0.8, 5), (0, 0, -1), np.inf, None),
        (solid('cylinder', (1, 1, 2)), (0, -1.5, 3), (0, 1, -1), np.sqrt(2), (0, 0, 1)),
        # The same sphere elsewhere
        (solid('sphere', (2, 2, 2), centre=(1, 2, 3)), (1, -5, 3), (0, 1, 0), 5, (0, -1, 0)),
    ],
)
def test_hit(primitive, origin, direction, distance, normal):
    origin, direction = ray(origin, direction)
    t, index = nearest([primitive], origin, direction)
    np.testing.assert_allclose(t, [distance], rtol=1e-5)
    assert index == (0 if np.isfinite(distance) else -1)
    if normal is not None:
        hits = cast([primitive], origin, direction)
        np.testing.assert_allclose(hits.normal[:, 0], normal, atol=1e-5)
        np.testing.assert_allclose(hits.point[:, 0], origin[:, 0] + distance * direction[:, 0], atol=1e-5)


def test_nearest_wins_and_shadows():
    wall, ball = solid('box', (9, 1, 9), centre=(0, 9, 0)), solid('sphere', (1, 1, 1), centre=(0, 4, 0))
    origin = np.zeros((3, 2), np.float32)
    direction = np.float32([[0, 0.6], [1, 0.8], [0, 0]])
    t, index = nearest([wall, ball], origin, direction)
    np.testing.assert_allclose(t, [3, 10], rtol=1e-5)
    assert index.tolist() == [1, 0]
    assert occluded([ball], origin, direction, np.float32([3.5, 9])).tolist() == [True, False]
    assert occluded([ball], origin, direction, np.float32([2.5, 9])).tolist() == [False, False]


def test_camera_sees_a_wall():
    """A wall square to the view at 3 m has z depth 3 everywhere, and the field of view spans its width."""
    camera = Camera.look_at((0, 0, 1), (0, 1, 1), np.pi / 2)
    direction, cosine = camera.rays(16, 12)
    hits = cast([solid('box', (50, 1, 50), centre=(0, 4, 0))], camera.eye[:, None], direction)
    np.testing.assert_allclose(hits.distance * cosine, 3, rtol=1e-5)
    x, z = (hits.point[k].reshape(12, 16) for k in (0, 2))
    # Outermost pixel centres lie half a pixel inside of -3..3; rows go downwards
    np.testing.assert_allclose(x[0, [0, -1]], [-3 * 15 / 16, 3 * 15 / 16], rtol=1e-5)
    np.testing.assert_allclose(z[[0, -1], 0], [1 + 3 * 11 / 16, 1 - 3 * 11 / 16], rtol=1e-5)


@pytest.mark.parametrize(('shape', 'curvature'), [('sphere', (2, 2)), ('cylinder', (2, 0)), ('box', (0, 0))])
def test_curvature_and_normals(shape, curvature):
    """Half a metre of radius is a curvature of 2 / m; normals are of unit length and face the camera."""
    camera = Camera.look_at((0, -3, 0.2), (0, 0, 0), 0.2)
    direction, _ = camera.rays(20, 20)
    hits = cast([solid(shape, (0.5, 0.5, 0.5), yaw=0.3)], camera.eye[:, None], direction)
    np.testing.assert_allclose(hits.curvature, np.float32(curvature)[:, None].repeat(400, 1), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(hits.normal, axis=0), 1, rtol=1e-5)
    assert ((hits.normal * direction).sum(0) < 0).all()
    if shape == 'sphere':
        np.testing.assert_allclose(hits.normal, hits.point / 0.5, atol=1e-5)


def test_texture_is_upright_and_continues():
    """A stretched texture stands upright on a face; a tiled one goes on from a wall to the box before it."""
    image = np.zeros((4, 4, 3), np.float32)
    image[0, 0] = 1  # top left
    picture = Primitive('box', (0, 0, 0), (1, 0.1, 1), 0, image)
    points = np.float32([[-0.9, 0.9, -0.9], [-5] * 3, [0.9, 0.9, -0.9]])
    hits = cast([picture], points, np.float32([[0] * 3, [1] * 3, [0] * 3]))
    assert hits.albedo[0].tolist() == [1, 0, 0]

    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None, :, None].repeat(64, 0).repeat(3, 2)
    wall = Primitive('box', (0, 5, 0), (9, 1, 9), 0, ramp, tile=3)
    cabinet = Primitive('box', (0.7, 2, 0.4), (2, 1, 2), 0, ramp, tile=3)
    points = np.float32([[-0.5, 1.3], [-5, -5], [1.1, 1.2]])
    seen = [cast([p], points, np.float32([[0, 0], [1, 1], [0, 0]])).albedo for p in (wall, cabinet)]
    np.testing.assert_array_equal(*seen)
