"""Placement of furniture: an occupancy map of the floor and a list of the items on each wall."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

CELL = 0.05  # size of a cell of the occupancy map, meters


class Layout:
    """Finds free places for furniture, so that pieces neither overlap nor stand too close to the camera.

    The room extends from x = -width/2 to width/2, from y = 0 (the wall behind the camera) to depth, and from z = 0 to
    height, in meters. The walls are named 'left', 'back' and 'right'. A position along 'back' is an x coordinate, a
    position along the other walls is a y coordinate.

    Args:
        width: inner size in x, meters.
        depth: inner size in y, meters.
        height: inner size in z, meters.
        sight: function that returns half the width of the camera's view at a given y, meters.
    """

    def __init__(self, width: float, depth: float, height: float, sight: Callable[[float], float]) -> None:
        self.width, self.depth, self.height, self.sight = width, depth, height, sight
        self._occupied = np.zeros((int(depth / CELL) + 1, int(width / CELL) + 1), np.uint8)
        self._wall_items = {'left': [], 'back': [], 'right': []}

    def on_floor(
        self,
        rng: np.random.Generator,
        size: tuple,
        yaw: float,
        near: float = 1.8,
        gap: float = 0.08,
        claim: bool = True,
    ) -> tuple[float, float] | None:
        """Finds a free rectangle on the floor within the camera's view.

        Args:
            rng: random generator that draws the candidate positions.
            size: extent (x, y) before rotation, meters.
            yaw: rotation about z, radians.
            near: minimum y of the rectangle, meters; tall pieces need a larger distance from the camera.
            gap: margin to keep free around the rectangle, meters; with a negative gap its border may overlap others.
            claim: whether to mark the rectangle as occupied.

        Returns:
            The center (x, y) in meters, or None if no free place was found.
        """
        half = np.array(size) / 2
        rotation = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        half_extent = np.abs(rotation) @ half
        for _ in range(40):
            y = rng.uniform(near + half_extent[1], max(self.depth - half_extent[1] - 0.05, near + half_extent[1]))
            limit = min(self.width / 2 - half_extent[0] - 0.05, self.sight(y - half_extent[1]))
            if limit <= 0 or y + half_extent[1] > self.depth:
                continue
            x = rng.uniform(-limit, limit)
            corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half + gap) @ rotation.T + (x, y)
            if self._is_free(corners, claim):
                return x, y
        return None

    def on_wall(
        self, rng: np.random.Generator, walls: str, size: tuple, bottom: float, depth: float = 0.0
    ) -> tuple[str, float] | None:
        """Finds a free place at a wall within the camera's view.

        Args:
            rng: random generator that draws the candidate positions.
            walls: names of the walls to choose from, separated by spaces; a repeated name is more likely.
            size: extent along the wall and in height, meters.
            bottom: height of the lower edge above the floor, meters. Items below 0.1 m also occupy floor area.
            depth: extent away from the wall, meters; 0 for a flat item.

        Returns:
            The name of the wall and the position of the item's center along it in meters, or None if no free place
            was found.
        """
        for _ in range(40):
            wall = rng.choice(walls.split())
            if wall == 'back':
                limit = min(self.width / 2, self.sight(self.depth)) - size[0] / 2
                low, high = -limit, limit
            else:
                # A side wall is visible from the distance at which the view is as wide as the room
                start = next(
                    (y for y in np.arange(1.4, self.depth, 0.1) if self.sight(y) > self.width / 2), self.depth
                )
                low, high = start + size[0] * 0.4, self.depth - size[0] / 2 - 0.05
            if low >= high:
                continue
            along = rng.uniform(low, high)
            left, right, top = along - size[0] / 2 - 0.05, along + size[0] / 2 + 0.05, bottom + size[1] + 0.05
            if any(left < x1 and right > x0 and bottom < z1 and top > z0 for x0, x1, z0, z1 in self._wall_items[wall]):
                continue
            if bottom < 0.1:
                # A flat item (a door) keeps half a meter of floor free in front of it
                (x0, y0), (x1, y1) = self.at(wall, left, 0), self.at(wall, right, depth or 0.5)
                if not self._is_free(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), True):
                    continue
            self._wall_items[wall].append((left, right, bottom, top))
            return wall, along
        return None

    def at(self, wall: str, along: float, out: float) -> tuple[float, float]:
        """Returns the floor point (x, y) at position ``along`` of a wall, ``out`` meters away from it."""
        if wall == 'back':
            return along, self.depth - out
        return (self.width / 2 - out) * (-1 if wall == 'left' else 1), along

    def _is_free(self, corners: np.ndarray, claim: bool) -> bool:
        """Checks whether a polygon covers no occupied cell and, with ``claim``, marks the cells of a free one.

        Args:
            corners: corners of the polygon, ``(4, 2)``, meters.
            claim: whether to mark the cells of a free polygon as occupied.
        """
        cells = np.round((corners + np.array([self.width / 2, 0])) / CELL).astype(np.int32)
        mask = np.zeros_like(self._occupied)
        cv2.fillConvexPoly(mask, cells, 1)
        if (mask & self._occupied).any():
            return False
        if claim:
            self._occupied |= mask
        return True
