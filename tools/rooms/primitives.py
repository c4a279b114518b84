"""Boxes, spheres and cylinders: ray intersection and surface properties.

Vectors have the shape ``(3, N)``, float32, meters: NumPy is several times faster on long rows than on rows of three.
World axes: x points to the right, y away from the camera, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Primitive:
    """A solid with a vertical axis.

    Attributes:
        shape: 'box', 'sphere' or 'cylinder' (closed at both ends, with its axis along z).
        center: center (x, y, z), meters.
        half: half extents (x, y, z), meters; the radius of a sphere or cylinder is ``half[0]``.
        label: NYU-40 index.
        texture: reflectance, ``(S, S, 3)``.
        tile: size of one copy of a repeated texture, meters; 0 stretches one copy over each face.
        yaw: rotation about z, radians.
        glow: emitted light; 1 is white in the image.
    """

    shape: str
    center: tuple
    half: tuple
    label: int
    texture: np.ndarray
    tile: float = 0.0
    yaw: float = 0.0
    glow: float = 0.0

    def __post_init__(self) -> None:
        self.center = np.array(self.center, np.float32)
        self.half = np.array(self.half, np.float32)
        self._cos, self._sin = np.float32(np.cos(self.yaw)), np.float32(np.sin(self.yaw))

    def turn(self, v: np.ndarray, back: bool = False) -> np.ndarray:
        """Rotates vectors ``(3, N)`` from world to local axes, or with ``back`` from local to world axes."""
        if self.yaw == 0:
            return v
        sin = -self._sin if back else self._sin
        return np.stack([self._cos * v[0] + sin * v[1], self._cos * v[1] - sin * v[0], v[2]])

    def hit(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Computes the distance along each ray to the outer side of the surface.

        Args:
            origin: start points of the rays, ``(3, N)`` or ``(3, 1)``, meters.
            direction: directions of the rays, ``(3, N)``, unit length.

        Returns:
            Distances, ``(N,)``, meters; ``inf`` where a ray misses or starts inside the solid.
        """
        o = self.turn(origin - self.center[:, None])
        d = self.turn(direction)
        return HITS[self.shape](o, d, self.half)

    def surface(self, points: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, ...]:
        """Computes the surface properties at the points that rays hit.

        Args:
            points: hit points on the surface, ``(3, N)``, meters.
            direction: directions of the rays, ``(3, N)``, unit length.

        Returns:
            Normals ``(3, N)``; reflectance ``(3, N)``; face numbers ``(N,)``, 0 to 5; and principal curvatures
            ``(2, N)`` in 1/m, the larger one first, positive for convex surfaces.
        """
        q = self.turn(points - self.center[:, None])
        normal, u, v, face, curvature = SURFACES[self.shape](q, self.turn(direction), self.half)
        if self.tile:
            # The offset by the center makes a cabinet continue the pattern of the wall behind it
            across, up = np.where(face < 2, self.center[1], self.center[0]), np.where(face < 4, *self.center[[2, 1]])
            u, v = (u + across) / self.tile, (v + up) / self.tile
        else:
            size_u = np.where(face < 2, self.half[1], self.half[0])
            size_v = np.where(face < 4, self.half[2], self.half[1])
            u, v = (np.clip(a / s * 0.5 + 0.5, 0, 0.999) for a, s in ((u, size_u), (v, size_v)))
        size = len(self.texture)
        row = (-1 - np.floor(v * size).astype(np.int32)) % size  # row 0 is at the top
        column = np.floor(u * size).astype(np.int32) % size
        return self.turn(normal, back=True), self.texture[row, column].T, face, curvature


def _hit_box(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> np.ndarray:
    inverse = 1 / (d + np.float32(1e-9))
    middle, reach = -o * inverse, np.abs(inverse) * half[:, None]
    near, far = (middle - reach).max(0), (middle + reach).min(0)
    # In a corner of the room, rounding errors may place the start of a ray slightly inside the adjacent wall
    return np.where((near <= far) & (near > -1e-4), near, np.inf)


def _hit_sphere(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> np.ndarray:
    b = (o * d).sum(0)
    root = b * b - (o * o).sum(0) + half[0] ** 2
    t = -b - np.sqrt(np.maximum(root, 0))
    return np.where((root > 0) & (t > 0), t, np.inf)


def _hit_cylinder(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> np.ndarray:
    # A closed cylinder is the intersection of an infinite cylinder and a slab: a ray is inside from the later of the
    # two entries to the earlier of the two exits
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
    # The nearest face; at an edge, rounding errors must not select a face that is turned away from the ray
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
