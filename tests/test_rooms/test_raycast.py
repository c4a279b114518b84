"""Compares ray hits and surface properties with values computed by hand."""

import numpy as np
import pytest

from rooms.primitives import Primitive
from rooms.raycast import Camera, cast, nearest, occluded

GRAY = np.full((8, 8, 3), 0.5, np.float32)


def solid(shape, half, center=(0, 0, 0), **options):
    return Primitive(shape, center, half, 0, GRAY, **options)


def ray(origin, direction):
    direction = np.float32(direction) / np.linalg.norm(direction)
    return np.float32(origin)[:, None], direction[:, None].astype(np.float32)


HALF = np.sqrt(0.5)


@pytest.mark.parametrize(
    ('primitive', 'origin', 'direction', 'distance', 'normal'),
    [
        # A sphere of radius 2: central ray from 5 m away, off-center ray, miss, start inside
        (solid('sphere', (2, 2, 2)), (0, -5, 0), (0, 1, 0), 3, (0, -1, 0)),
        (solid('sphere', (2, 2, 2)), (0, -5, 1.6), (0, 1, 0), 3.8, (0, -0.6, 0.8)),
        (solid('sphere', (2, 2, 2)), (0, -5, 2.1), (0, 1, 0), np.inf, None),
        (solid('sphere', (2, 2, 2)), (0, 0, 0), (0, 1, 0), np.inf, None),
        # A box of 2 x 4 x 6 m: front, top, behind the start of the ray; a cube rotated by 45 degrees
        (solid('box', (1, 2, 3)), (0.5, -5, 1), (0, 1, 0), 3, (0, -1, 0)),
        (solid('box', (1, 2, 3)), (0.5, 0.5, 5), (0, 0, -1), 2, (0, 0, 1)),
        (solid('box', (1, 2, 3)), (0, 5, 0), (0, 1, 0), np.inf, None),
        (solid('box', (1, 1, 1), yaw=np.pi / 4), (0.2, -5, 0), (0, 1, 0), 5 - np.sqrt(2) + 0.2, (HALF, -HALF, 0)),
        # A cylinder of radius 1 and height 4: side, top, miss beside the top, oblique ray onto the top
        (solid('cylinder', (1, 1, 2)), (0.6, -5, 0), (0, 1, 0), 4.2, (0.6, -0.8, 0)),
        (solid('cylinder', (1, 1, 2)), (0.6, 0.6, 5), (0, 0, -1), 3, (0, 0, 1)),
        (solid('cylinder', (1, 1, 2)), (0.8, 0.8, 5), (0, 0, -1), np.inf, None),
        (solid('cylinder', (1, 1, 2)), (0, -1.5, 3), (0, 1, -1), np.sqrt(2), (0, 0, 1)),
        # The same sphere at another position
        (solid('sphere', (2, 2, 2), center=(1, 2, 3)), (1, -5, 3), (0, 1, 0), 5, (0, -1, 0)),
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


def test_nearest_hit_and_occlusion():
    wall, ball = solid('box', (9, 1, 9), center=(0, 9, 0)), solid('sphere', (1, 1, 1), center=(0, 4, 0))
    origin = np.zeros((3, 2), np.float32)
    direction = np.float32([[0, 0.6], [1, 0.8], [0, 0]])
    t, index = nearest([wall, ball], origin, direction)
    np.testing.assert_allclose(t, [3, 10], rtol=1e-5)
    assert index.tolist() == [1, 0]
    assert occluded([ball], origin, direction, np.float32([3.5, 9])).tolist() == [True, False]
    assert occluded([ball], origin, direction, np.float32([2.5, 9])).tolist() == [False, False]


def test_camera_facing_a_wall():
    """A wall perpendicular to the optical axis, 3 m away, has z depth 3 everywhere and is visible from x = -3 to 3."""
    camera = Camera.look_at((0, 0, 1), (0, 1, 1), np.pi / 2)
    direction, cosine = camera.rays(16, 12)
    hits = cast([solid('box', (50, 1, 50), center=(0, 4, 0))], camera.eye[:, None], direction)
    np.testing.assert_allclose(hits.distance * cosine, 3, rtol=1e-5)
    x, z = (hits.point[k].reshape(12, 16) for k in (0, 2))
    # The outermost pixel centers are half a pixel inside the range -3..3; row 0 is at the top
    np.testing.assert_allclose(x[0, [0, -1]], [-3 * 15 / 16, 3 * 15 / 16], rtol=1e-5)
    np.testing.assert_allclose(z[[0, -1], 0], [1 + 3 * 11 / 16, 1 - 3 * 11 / 16], rtol=1e-5)


@pytest.mark.parametrize(('shape', 'curvature'), [('sphere', (2, 2)), ('cylinder', (2, 0)), ('box', (0, 0))])
def test_curvature_and_normals(shape, curvature):
    """A radius of 0.5 m gives a curvature of 2 / m; normals have unit length and face the camera."""
    camera = Camera.look_at((0, -3, 0.2), (0, 0, 0), 0.2)
    direction, _ = camera.rays(20, 20)
    hits = cast([solid(shape, (0.5, 0.5, 0.5), yaw=0.3)], camera.eye[:, None], direction)
    np.testing.assert_allclose(hits.curvature, np.float32(curvature)[:, None].repeat(400, 1), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(hits.normal, axis=0), 1, rtol=1e-5)
    assert ((hits.normal * direction).sum(0) < 0).all()
    if shape == 'sphere':
        np.testing.assert_allclose(hits.normal, hits.point / 0.5, atol=1e-5)


def test_texture_orientation_and_continuity():
    """A stretched texture is upright; a tiled texture continues from a wall to a box in front of it."""
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
    albedos = [cast([p], points, np.float32([[0, 0], [1, 1], [0, 0]])).albedo for p in (wall, cabinet)]
    np.testing.assert_array_equal(*albedos)
