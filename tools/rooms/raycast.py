"""Ray casting: camera rays, nearest hits and occlusion for a list of primitives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .primitives import Primitive

CHUNK = 16384  # number of rays processed at a time, so that the arrays stay in the processor's cache
RAY_OFFSET = 2e-3  # distance of the start of a secondary ray from its surface, meters


@dataclass
class Camera:
    """A pinhole camera.

    Attributes:
        eye: position, ``(3,)``, meters.
        axes: right, up and forward axes in world coordinates as rows, ``(3, 3)``.
        fov: horizontal field of view, radians.
    """

    eye: np.ndarray
    axes: np.ndarray
    fov: float

    @classmethod
    def look_at(cls, eye: Sequence, target: Sequence, fov: float) -> Camera:
        """Creates a camera without roll.

        Args:
            eye: position (x, y, z), meters.
            target: point that the camera looks at (x, y, z), meters.
            fov: horizontal field of view, radians.
        """
        forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
        right = np.cross(forward, (0, 0, 1))
        right /= np.linalg.norm(right)
        return cls(np.float32(eye), np.float32([right, np.cross(right, forward), forward]), fov)

    def rays(self, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Computes the rays through the pixel centers of an image of the given size in pixels.

        Returns:
            Directions ``(3, H*W)``, unit length; and the cosines ``(H*W,)`` of their angles to the optical axis. Ray
            length times cosine is z depth.
        """
        slope = np.tan(self.fov / 2)
        x = ((np.arange(width) + 0.5) / width * 2 - 1) * slope
        y = (1 - (np.arange(height) + 0.5) / height * 2) * slope * height / width
        x, y = (a.ravel().astype(np.float32) for a in np.meshgrid(x, y))
        cosine = 1 / np.sqrt(1 + x * x + y * y)
        right, up, forward = self.axes[:, :, None]
        return (forward + x * right + y * up) * cosine, cosine


@dataclass
class Hits:
    """Surface properties at the first hits of N rays.

    Every ray hits something, because rooms are closed.

    Attributes:
        distance: ray lengths, ``(N,)``, meters.
        point: hit points, ``(3, N)``, meters.
        normal: surface normals that face the rays, ``(3, N)``, unit length.
        albedo: reflectance, ``(3, N)``.
        glow: emitted light, ``(N,)``.
        label: NYU-40 indices, ``(N,)``, uint8.
        patch: numbers of the smooth surface patches, ``(N,)``: a box has six patches, a sphere has one.
        curvature: principal curvatures, ``(2, N)``, 1/m.
    """

    distance: np.ndarray
    point: np.ndarray
    normal: np.ndarray
    albedo: np.ndarray
    glow: np.ndarray
    label: np.ndarray
    patch: np.ndarray
    curvature: np.ndarray


def nearest(primitives: list[Primitive], origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the first hit of each ray.

    Args:
        primitives: solids to intersect.
        origin: start points of the rays, ``(3, N)`` or ``(3, 1)``, meters.
        direction: directions of the rays, ``(3, N)``, unit length.

    Returns:
        Ray lengths ``(N,)`` in meters, ``inf`` for a miss; and indices of the primitives ``(N,)``, -1 for a miss.
    """
    count = direction.shape[1]
    distance, index = np.full(count, np.inf, np.float32), np.full(count, -1, np.int32)
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        o, d = origin[:, part] if origin.shape[1] > 1 else origin, direction[:, part]
        best, best_index = distance[part], index[part]
        for i, primitive in enumerate(primitives):
            t = primitive.hit(o, d)
            closer = t < best
            np.copyto(best, t, where=closer)
            best_index[closer] = i
    return distance, index


def occluded(primitives: list[Primitive], origin: np.ndarray, direction: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Checks for each ray whether it hits a primitive before a given distance.

    Args:
        primitives: solids to intersect.
        origin: start points of the rays, ``(3, N)``, meters.
        direction: directions of the rays, ``(3, N)``, unit length.
        limit: distance up to which hits count, ``(N,)``, meters.

    Returns:
        Whether each ray is blocked, ``(N,)`` bool.
    """
    blocked = np.zeros(direction.shape[1], bool)
    for start in range(0, len(blocked), CHUNK):
        part = slice(start, start + CHUNK)
        o, d = origin[:, part], direction[:, part]
        for primitive in primitives:
            blocked[part] |= primitive.hit(o, d) < limit[part]
    return blocked


def cast(primitives: list[Primitive], origin: np.ndarray, direction: np.ndarray) -> Hits:
    """Casts rays and computes the surface properties at their first hits. The arguments are those of ``nearest``."""
    distance, index = nearest(primitives, origin, direction)
    count = len(distance)
    point = origin + distance * direction
    normal, albedo = np.empty((3, count), np.float32), np.empty((3, count), np.float32)
    patch, curvature = np.empty(count, np.int32), np.empty((2, count), np.float32)
    for i in np.unique(index):
        at = np.flatnonzero(index == i)
        normal[:, at], albedo[:, at], face, curvature[:, at] = primitives[i].surface(point[:, at], direction[:, at])
        patch[at] = face + 6 * i
    glow = np.array([p.glow for p in primitives], np.float32)[index]
    label = np.array([p.label for p in primitives], np.uint8)[index]
    return Hits(distance, point, normal, albedo, glow, label, patch, curvature)
