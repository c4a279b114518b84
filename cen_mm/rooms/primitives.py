"""Boxes, spheres and cylinders: where rays hit them and what the surface is like there.

Vectors are stored by component, (3, N) float32 in metres: numpy runs several times faster over long rows than over
rows of three. World axes: x to the right, y away from the camera, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Primitive:
    """One solid with upright axis.

    Attributes:
        shape (str): 'box', 'sphere' or 'cylinder' (closed by discs, its axis is z).
        centre (tuple): (x, y, z) in metres.
        half (tuple): half extents in metres; the radius of a sphere or cylinder is ``half[0]``.
        label (int): NYU-40 index.
        texture (np.ndarray): reflectance (S, S, 3).
        tile (float): metres that one copy of the texture covers; 0 stretches it once over each face.
        yaw (float): turn about z in radians.
        glow (float): light that the surface gives off, 1 is white in the picture.
    """

    shape: str
    centre: tuple
    half: tuple
    label: int
    texture: np.ndarray
    tile: float = 0.0
    yaw: float = 0.0
    glow: float = 0.0

    def __post_init__(self) -> None:
        self.centre = np.array(self.centre, np.float32)
        self.half = np.array(self.half, np.float32)
        self._cos, self._sin = np.float32(np.cos(self.yaw)), np.float32(np.sin(self.yaw))

    def turn(self, v: np.ndarray, back: bool = False) -> np.ndarray:
        """Turns vectors (3, N) from world to local axes, or ``back``."""
        if self.yaw == 0:
            return v
        sin = -self._sin if back else self._sin
        return np.stack([self._cos * v[0] + sin * v[1], self._cos * v[1] - sin * v[0], v[2]])

    def hit(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Distance along each ray to the surface, seen from outside.

        Args:
            origin (np.ndarray): (3, N) or (3, 1), metres.
            direction (np.ndarray): (3, N), unit length.

        Returns:
            np.ndarray: (N,) metres, ``inf`` where the ray misses or starts inside.
        """
        o = self.turn(origin - self.centre[:, None])
        d = self.turn(direction)
        return HITS[self.shape](o, d, self.half)

    def surface(self, points: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, ...]:
        """Properties at points (3, N) on the surface that rays of ``direction`` (3, N) hit.

        Returns:
            tuple: normals (3, N), reflectance (3, N), face numbers (N,) below 6, principal curvatures (2, N) in 1/m,
            larger first, positive where the surface bulges.
        """
        q = self.turn(points - self.centre[:, None])
        normal, u, v, face, curvature = SURFACES[self.shape](q, self.turn(direction), self.half)
        if self.tile:
            # Offset by the centre, so that a cabinet continues the wallpaper behind it
            across, up = np.where(face < 2, self.centre[1], self.centre[0]), np.where(face < 4, *self.centre[[2, 1]])
            u, v = (u + across) / self.tile, (v + up) / self.tile
        else:
            size_u = np.where(face < 2, self.half[1], self.half[0])
            size_v = np.where(face < 4, self.half[2], self.half[1])
            u, v = (np.clip(a / s * 0.5 + 0.5, 0, 0.999) for a, s in ((u, size_u), (v, size_v)))
        size = len(self.texture)
        row = (-1 - np.floor(v * size).astype(np.int32)) % size  # row 0 is the top
        column = np.floor(u * size).astype(np.int32) % size
        return self.turn(normal, back=True), self.texture[row, column].T, face, curvature


def _hit_box(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> np.ndarray:
    inverse = 1 / (d + np.float32(1e-9))
    middle, reach = -o * inverse, np.abs(inverse) * half[:, None]
    near, far = (middle - reach).max(0), (middle + reach).min(0)
    # In a corner of the room rounding may put a ray's start a hair inside the next wall
    return np.where((near <= far) & (near > -1e-4), near, np.inf)


def _hit_sphere(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> np.ndarray:
    b = (o * d).sum(0)
    root = b * b - (o * o).sum(0) + half[0] ** 2
    t = -b - np.sqrt(np.maximum(root, 0))
    return np.where((root > 0) & (t > 0), t, np.inf)


def _hit_cylinder(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> np.ndarray:
    # A closed cylinder is an endless one cut by a slab: the ray is inside from the later entry to the earlier exit
    a = d[0] * d[0] + d[1] * d[1] + np.float32(1e-12)
    b = o[0] * d[0] + o[1] * d[1]
    root = b * b - a * (o[0] * o[0] + o[1] * o[1] - half[0] ** 2)
    width = np.sqrt(np.maximum(root, 0)) / a
    inverse = 1 / (d[2] + np.float32(1e-9))
    middle, reach = -o[2] * inverse, np.abs(inverse) * half[2]
    near = np.maximum(-b / a - width, middle - reach)
    far = np.minimum(-b / a + width, middle + reach)
    return np.where((root > 0) & (near <= far) & (near > 0), near, np.inf)


def _surface_box(q: np.ndarray, d: np.ndarray, half: np.ndarray) -> tuple:
    # The nearest face; on an edge rounding must not choose one that looks away from the ray
    axis = np.where(q * d < 0, np.abs(q) - half[:, None], -np.inf).argmax(0)
    normal = np.where(axis == np.arange(3)[:, None], np.sign(q), 0).astype(np.float32)
    face = 2 * axis + (normal.sum(0) > 0)
    return normal, np.where(axis == 0, q[1], q[0]), np.where(axis == 2, q[1], q[2]), face, np.zeros_like(q[:2])


def _surface_sphere(q: np.ndarray, d: np.ndarray, half: np.ndarray) -> tuple:
    normal = q / half[0]
    longitude = np.arctan2(q[1], q[0]) * half[0]
    latitude = np.arcsin(np.clip(normal[2], -1, 1)) * half[0]
    return normal, longitude, latitude, np.full(q.shape[1], 2), np.full_like(q[:2], 1 / half[0])


def _surface_cylinder(q: np.ndarray, d: np.ndarray, half: np.ndarray) -> tuple:
    cap = (np.abs(q[2]) - half[2] > np.hypot(q[0], q[1]) - half[0]) & (q[2] * d[2] < 0)
    zero = np.zeros_like(q[0])
    normal = np.where(cap, np.stack([zero, zero, np.sign(q[2])]), np.stack([q[0], q[1], zero]) / half[0])
    face = np.where(cap, 4 + (q[2] > 0), 2)
    u = np.where(cap, q[0], np.arctan2(q[1], q[0]) * half[0])
    v = np.where(cap, q[1], q[2])
    return normal, u, v, face, np.stack([np.where(cap, 0, 1 / half[0]), zero])


HITS = {'box': _hit_box, 'sphere': _hit_sphere, 'cylinder': _hit_cylinder}
SURFACES = {'box': _surface_box, 'sphere': _surface_sphere, 'cylinder': _surface_cylinder}
