"""Where things may stand: a map of the floor and a list of what hangs on each wall."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

CELL = 0.05  # metres


class Layout:
    """Keeps pieces of furniture apart, and out of the camera's face.

    The room reaches from x = -width/2 to width/2, from y = 0 (camera) to depth and from z = 0 to height, metres.
    Walls are named 'left', 'back' and 'right'. A place along 'back' is an x, along the others a y.

    Args:
        width, depth, height (float): inner size in metres.
        sight (callable): sight(y) is half the width that the camera sees at that distance, metres.
    """

    def __init__(self, width: float, depth: float, height: float, sight: Callable[[float], float]) -> None:
        self.width, self.depth, self.height, self.sight = width, depth, height, sight
        self._taken = np.zeros((int(depth / CELL) + 1, int(width / CELL) + 1), np.uint8)
        self._hung = {'left': [], 'back': [], 'right': []}

    def on_floor(
        self,
        rng: np.random.Generator,
        size: tuple,
        yaw: float,
        near: float = 1.8,
        gap: float = 0.08,
        claim: bool = True,
    ) -> tuple[float, float] | None:
        """Finds a free place in sight for a rectangle.

        Args:
            rng (np.random.Generator): source of the trials.
            size (tuple): extent (x, y) in metres before the turn.
            yaw (float): turn in radians.
            near (float): least distance from the camera's wall in metres; what is tall must stay further off.
            gap (float): metres to keep free around; a negative gap lets others overlap the rim.
            claim (bool): whether others must keep off.

        Returns:
            tuple | None: the centre (x, y) in metres.
        """
        half = np.array(size) / 2
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        reach = np.abs(turn) @ half
        for _ in range(40):
            y = rng.uniform(near + reach[1], max(self.depth - reach[1] - 0.05, near + reach[1]))
            limit = min(self.width / 2 - reach[0] - 0.05, self.sight(y - reach[1]))
            if limit <= 0 or y + reach[1] > self.depth:
                continue
            x = rng.uniform(-limit, limit)
            outline = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half + gap) @ turn.T + (x, y)
            if self._free(outline, claim):
                return x, y
        return None

    def on_wall(
        self, rng: np.random.Generator, walls: str, size: tuple, bottom: float, depth: float = 0.0
    ) -> tuple[str, float] | None:
        """Finds a free place in sight against a wall.

        Args:
            rng (np.random.Generator): source of the trials.
            walls (str): names to choose from, separated by spaces.
            size (tuple): extent along the wall and upwards, metres.
            bottom (float): height of the lower edge above the floor, metres.
            depth (float): metres that it stands out; if 0 it hangs flat and takes no floor.

        Returns:
            tuple | None: name of the wall and the place of the middle along it, metres.
        """
        for _ in range(40):
            wall = rng.choice(walls.split())
            if wall == 'back':
                limit = min(self.width / 2, self.sight(self.depth)) - size[0] / 2
                low, high = -limit, limit
            else:
                # A side wall comes into sight where the view is as wide as the room
                seen = next((y for y in np.arange(1.4, self.depth, 0.1) if self.sight(y) > self.width / 2), self.depth)
                low, high = seen + size[0] * 0.4, self.depth - size[0] / 2 - 0.05
            if low >= high:
                continue
            along = rng.uniform(low, high)
            left, right, top = along - size[0] / 2 - 0.05, along + size[0] / 2 + 0.05, bottom + size[1] + 0.05
            if any(left < x1 and right > x0 and bottom < z1 and top > z0 for x0, x1, z0, z1 in self._hung[wall]):
                continue
            if bottom < 0.1:
                # Also a flat door keeps half a metre of floor clear
                (x0, y0), (x1, y1) = self.at(wall, left, 0), self.at(wall, right, depth or 0.5)
                if not self._free(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), True):
                    continue
            self._hung[wall].append((left, right, bottom, top))
            return wall, along
        return None

    def at(self, wall: str, along: float, out: float) -> tuple[float, float]:
        """The floor point (x, y) that lies ``out`` metres off a wall."""
        if wall == 'back':
            return along, self.depth - out
        return (self.width / 2 - out) * (-1 if wall == 'left' else 1), along

    def _free(self, outline: np.ndarray, claim: bool) -> bool:
        """Whether a polygon (4, 2) in metres covers no taken cell; takes its cells if so and ``claim``."""
        cells = np.round((outline + np.array([self.width / 2, 0])) / CELL).astype(np.int32)
        cover = np.zeros_like(self._taken)
        cv2.fillConvexPoly(cover, cells, 1)
        if (cover & self._taken).any():
            return False
        if claim:
            self._taken |= cover
        return True
