"""Casts rays into a list of primitives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .primitives import Primitive

CHUNK = 16384  # rays at a time, so that the working set stays in the processor's cache
LIFT = 2e-3  # metres that a ray starts above its surface


@dataclass
class Camera:
    """A pinhole camera.

    Attributes:
        eye (np.ndarray): position (3,), metres.
        axes (np.ndarray): (3, 3), rows: right, up, forward in world axes.
        fov (float): horizontal field of view, radians.
    """

    eye: np.ndarray
    axes: np.ndarray
    fov: float

    @classmethod
    def look_at(cls, eye: Sequence, target: Sequence, fov: float) -> Camera:
        """Stands at ``eye``, looks at ``target``, holds the horizon level."""
        forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
        right = np.cross(forward, (0, 0, 1))
        right /= np.linalg.norm(right)
        return cls(np.float32(eye), np.float32([right, np.cross(right, forward), forward]), fov)

    def rays(self, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Rays through the pixel centres.

        Returns:
            tuple: directions (3, H*W), unit length; cosines (H*W,) to the axis, which turn ray length into z depth.
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
    """What N rays hit. Normals face the ray; every ray hits something, since rooms are closed.

    Attributes:
        distance (np.ndarray): ray length (N,), metres.
        point (np.ndarray): (3, N), metres.
        normal (np.ndarray): (3, N), unit length.
        albedo (np.ndarray): reflectance (3, N).
        glow (np.ndarray): light given off (N,).
        label (np.ndarray): NYU-40 index (N,), uint8.
        patch (np.ndarray): number of the smooth piece of surface (N,): a box has six, a sphere one.
        curvature (np.ndarray): principal curvatures (2, N), 1/m.
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
    """First hit of each ray.

    Args:
        primitives (list[Primitive]): the solids.
        origin (np.ndarray): (3, N) or (3, 1), metres.
        direction (np.ndarray): (3, N), unit length.

    Returns:
        tuple: ray length (N,), metres, ``inf`` for a miss; index of the primitive (N,), -1 for a miss.
    """
    count = direction.shape[1]
    distance, index = np.full(count, np.inf, np.float32), np.full(count, -1, np.int32)
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        o, d = origin[:, part] if origin.shape[1] > 1 else origin, direction[:, part]
        best, which = distance[part], index[part]
        for i, primitive in enumerate(primitives):
            t = primitive.hit(o, d)
            closer = t < best
            np.copyto(best, t, where=closer)
            which[closer] = i
    return distance, index


def occluded(primitives: list[Primitive], origin: np.ndarray, direction: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Whether anything stands in a ray's way before ``limit`` (N,) metres. Arguments as in ``nearest``; (N,) bool."""
    blocked = np.zeros(direction.shape[1], bool)
    for start in range(0, len(blocked), CHUNK):
        part = slice(start, start + CHUNK)
        o, d = origin[:, part], direction[:, part]
        for primitive in primitives:
            blocked[part] |= primitive.hit(o, d) < limit[part]
    return blocked


def cast(primitives: list[Primitive], origin: np.ndarray, direction: np.ndarray) -> Hits:
    """Casts rays and looks up the surface at their first hits. Arguments as in ``nearest``."""
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
