"""Random furnished rooms in which neither color nor depth is sufficient to recognize all classes.

- Flat classes are visible in color only: door, picture, window, floor mat.
- Classes with the texture of the wall or floor behind or below them are visible in depth only: otherstructure (a
  pillar), cabinet, otherfurniture (a platform).
- Classes that usually have the same wood texture differ in shape: table, counter, bed, otherprop (a ball).
- Shape is not sufficient either: a counter is as large as a cabinet, and a bed as large as a platform. A picture may
  show wood or books.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .classes import LABELS
from .layout import Layout
from .primitives import Primitive
from .raycast import Camera
from .textures import make_texture, vivid, warm

FLAT = 2e-5  # half the thickness of flat items, meters: so thin that rays do not hit their narrow sides


@dataclass
class Scene:
    """A furnished room with its camera and light.

    Attributes:
        shell: floor, ceiling, walls and ceiling lamp, which cast no shadows.
        things: all other primitives.
        camera: camera of the RGB image and of all other modalities.
        light: center ``(3,)`` and extent ``(2,)`` of the ceiling lamp in meters, and its color ``(3,)``.
        exposure: mean of the linear image without glow, 0 to 1: about 0.3, or 0.03 in a dark room.
    """

    shell: list[Primitive]
    things: list[Primitive]
    camera: Camera
    light: tuple
    exposure: float


def make_scene(rng: np.random.Generator) -> Scene:
    """Creates a random furnished room."""
    width, depth, height = rng.uniform(3.4, 5.2), rng.uniform(3.8, 5.6), rng.uniform(2.4, 2.9)
    eye = (rng.uniform(-0.5, 0.5), 0.25, rng.uniform(1.35, 1.75))
    camera = Camera.look_at(eye, (rng.uniform(-0.3, 0.3), depth * 0.8, rng.uniform(0.7, 1.1)), rng.uniform(1.0, 1.2))
    layout = Layout(width, depth, height, lambda y: (y - eye[1]) * np.tan(camera.fov / 2))
    furnisher = Furnisher(rng, layout)
    extent = rng.uniform(0.5, 0.9, 2)
    center = np.array([rng.uniform(-0.2, 0.2) * width, rng.uniform(0.35, 0.65) * depth, height - 0.02])
    shell = furnisher.shell(center, extent)
    furnisher.furnish()
    exposure = rng.uniform(0.02, 0.04) if rng.random() < 0.25 else rng.uniform(0.22, 0.34)
    color = np.float32([1, rng.uniform(0.85, 1), rng.uniform(0.7, 1)])
    return Scene(shell, furnisher.things, camera, (np.float32(center), np.float32(extent), color), exposure)


class Furnisher:
    """Builder of furniture from primitives, which it adds wherever the layout has a free place.

    Args:
        rng: random generator for all random choices.
        layout: layout of the room.
    """

    def __init__(self, rng: np.random.Generator, layout: Layout) -> None:
        self.rng, self.layout, self.things = rng, layout, []
        wood = np.array([0.6, 0.42, 0.26]) * rng.uniform(0.7, 1.2)
        floor = wood * rng.uniform(0.7, 1.1) if rng.random() < 0.5 else warm(rng, 0.3, 0.65)
        self.wood = make_texture(rng, 'wood', wood)
        self.wall = make_texture(rng, rng.choice(['plain', 'plain', 'stripes', 'mottled']), warm(rng, 0.5, 0.85))
        self.floor = make_texture(rng, rng.choice(['wood', 'tiles', 'mottled']), floor)

    def furnish(self) -> None:
        """Adds a random selection of pieces.

        The door comes first, then the large pieces at the walls in random order, then all other pieces.
        """
        at_walls = (
            (self.bed, 0.6), (self.counter, 0.55), (self.cabinet, 0.8), (self.platform, 0.8), (self.bookshelf, 0.6),
            (self.pillar, 0.4),
        )  # fmt: skip
        others = (
            (self.window, 0.75), (self.mat, 0.9), (self.table, 0.55), (self.ball, 0.65), (self.box, 0.6),
            (self.lamp, 0.75), (self.picture, 0.9), (self.picture, 0.5),
        )  # fmt: skip
        order = self.rng.permutation(len(at_walls))
        for build, probability in ((self.door, 0.6), *(at_walls[i] for i in order), *others):
            if self.rng.random() < probability:
                build()

    def shell(self, lamp: np.ndarray, extent: np.ndarray) -> list[Primitive]:
        """Builds the six sides of the room, thick enough to close it completely, and the glowing ceiling lamp.

        Args:
            lamp: center of the lamp, ``(3,)``, meters.
            extent: extent of the lamp (x, y), meters.
        """
        w, d, h = self.layout.width, self.layout.depth, self.layout.height
        ceiling = make_texture(self.rng, 'plain', (0.85, 0.85, 0.83))

        def side(name: str, center: tuple, half: tuple, texture: np.ndarray) -> Primitive:
            return Primitive('box', center, half, LABELS[name], texture, tile=1.5)

        return [
            side('floor', (0, d / 2, -1), (w, d, 1), self.floor),
            side('ceiling', (0, d / 2, h + 1), (w, d, 1), ceiling),
            side('wall', (0, d + 1, h / 2), (w, 1, h), self.wall),
            side('wall', (-w / 2 - 1, d / 2, h / 2), (1, d, h), self.wall),
            side('wall', (w / 2 + 1, d / 2, h / 2), (1, d, h), self.wall),
            side('wall', (0, -1, h / 2), (w, 1, h), self.wall),
            Primitive('box', (*lamp[:2], h), (*extent / 2, 0.01), LABELS['ceiling'], ceiling, glow=2.0),
        ]

    def add(self, label: str, shape: str, center: tuple, size: tuple, texture: np.ndarray, **options) -> None:
        """Adds a primitive.

        Args:
            label: name of its class.
            shape: 'box', 'sphere' or 'cylinder'.
            center: center (x, y, z), meters.
            size: full extents (x, y, z), meters; the diameter of a sphere or cylinder is ``size[0]``.
            texture: reflectance, ``(S, S, 3)``.
            options: further arguments of ``Primitive``.
        """
        half = np.array(size, float) / 2
        self.things.append(Primitive(shape, center, half, LABELS[label], texture, **options))

    def stand(
        self, label: str, walls: str, size: tuple, texture: np.ndarray, bottom: float = 0.0, **options
    ) -> tuple | None:
        """Adds a box at a random free place at a wall.

        Args:
            label: name of its class.
            walls: names of the walls to choose from, separated by spaces.
            size: extents along the wall, away from the wall and in height, meters.
            texture: reflectance, ``(S, S, 3)``.
            bottom: height of the lower side above the floor, meters.
            options: further arguments of ``Primitive``.

        Returns:
            The name of the wall and the position along it in meters, or None if no free place was found.
        """
        place = self.layout.on_wall(self.rng, walls, (size[0], size[2]), bottom, size[1] if size[1] > 0.01 else 0)
        if place:
            self.put(label, place, size, size[1] / 2, bottom, texture, **options)
        return place

    def put(self, label: str, place: tuple, size: tuple, out: float, bottom: float, texture, **options) -> None:
        """Adds a box at a given place at a wall.

        Args:
            label: name of its class.
            place: name of the wall and position along it in meters, as ``stand`` returns them.
            size: extents along the wall, away from the wall and in height, meters.
            out: distance of the center of the box from the wall, meters.
            bottom: height of the lower side above the floor, meters.
            texture: reflectance, ``(S, S, 3)``.
            options: further arguments of ``Primitive``.
        """
        width, depth, height = size
        extent = (width, depth, height) if place[0] == 'back' else (depth, width, height)
        self.add(label, 'box', (*self.layout.at(*place, out), bottom + height / 2), extent, texture, **options)

    def finish(self) -> np.ndarray:
        """Chooses the texture of a table, counter, bed or ball: usually the wood that is common to all of them."""
        if self.rng.random() < 0.7:
            return self.wood
        return make_texture(self.rng, self.rng.choice(['plain', 'mottled', 'stripes']), vivid(self.rng))

    # Flat classes, visible in color only
    def door(self) -> None:
        color = self.wood.mean((0, 1)) if self.rng.random() < 0.5 else warm(self.rng)
        self.stand('door', 'back back left right', (0.95, 2 * FLAT, 2.05), make_texture(self.rng, 'door', color))

    def window(self) -> None:
        size = (self.rng.uniform(1.0, 1.6), 2 * FLAT, self.rng.uniform(1.0, 1.2))
        self.stand('window', 'back left right', size, make_texture(self.rng, 'window', warm(self.rng, 0.8, 1)), 1.0)

    def picture(self) -> None:
        size = (self.rng.uniform(0.5, 1.1), 2 * FLAT, self.rng.uniform(0.5, 0.8))
        kind = self.rng.choice(['framed', 'framed', 'books', 'wood'])
        texture = self.wood if kind == 'wood' else make_texture(self.rng, kind, vivid(self.rng))
        self.stand('picture', 'back left right', size, texture, self.rng.uniform(1.15, 1.4))

    def mat(self) -> None:
        size, yaw = (self.rng.uniform(1.3, 2.0), self.rng.uniform(0.9, 1.4)), self.rng.uniform(-0.5, 0.5)
        # Furniture may stand on the mat, so the mat needs less free floor than it covers and does not occupy it
        place = self.layout.on_floor(self.rng, size, yaw, gap=-0.3, claim=False)
        if place:
            texture = make_texture(self.rng, self.rng.choice(['stripes', 'mottled', 'framed']), vivid(self.rng))
            self.add('floor mat', 'box', (*place, FLAT), (*size, 2 * FLAT), texture, yaw=yaw)

    # Classes with the texture of the wall or floor, visible in depth only
    def pillar(self) -> None:
        height, side = self.layout.height, self.rng.uniform(0.4, 0.65)
        if self.rng.random() < 0.5:
            self.stand('otherstructure', 'back back left right', (side, 0.4, height), self.wall, tile=1.5)
        else:
            place = self.layout.on_floor(self.rng, (side, side), 0, near=2.8)
            if place:
                self.add('otherstructure', 'cylinder', (*place, height / 2), (side, side, height), self.wall, tile=1.5)

    def cabinet(self) -> None:
        size = (self.rng.uniform(0.9, 1.5), 0.5, self.rng.uniform(0.8, 1.1))
        self.stand('cabinet', 'back left right', size, self.wall, tile=1.5)

    def platform(self) -> None:
        size = (self.rng.uniform(1.4, 2.2), self.rng.uniform(0.9, 1.4), self.rng.uniform(0.18, 0.35))
        self.stand('otherfurniture', 'back left right', size, self.floor, tile=1.5)

    # Classes that usually have the same wood texture
    def counter(self) -> None:
        size, texture = (self.rng.uniform(0.9, 1.5), 0.5, self.rng.uniform(0.8, 1.1)), self.finish()
        if self.stand('counter', 'back left right', size, texture, tile=1.2) is None:
            yaw = self.rng.uniform(-0.5, 0.5)
            place = self.layout.on_floor(self.rng, size[:2], yaw, near=2.2)
            if place:
                self.add('counter', 'box', (*place, size[2] / 2), size, texture, yaw=yaw, tile=1.2)

    def bed(self) -> None:
        size, texture = (self.rng.uniform(1.0, 1.5), 1.8, self.rng.uniform(0.35, 0.5)), self.finish()
        place = self.stand('bed', 'back left right', size, texture, tile=1.2)
        if place:
            self.put('bed', place, (size[0], 0.06, 0.45), 0.03, size[2], texture, tile=1.2)

    def table(self) -> None:
        self.rng.uniform(0.9, 1.5)  # not used; without it, all rooms would change
        depth, height = self.rng.uniform(0.7, 0.9), self.rng.uniform(0.6, 0.78)
        yaw, texture, round_top = self.rng.uniform(-0.6, 0.6), self.finish(), self.rng.random() < 0.4
        width = depth = 1.1 * depth if round_top else depth
        place = self.layout.on_floor(self.rng, (width, depth), yaw)
        if place is None:
            return
        shape = 'cylinder' if round_top else 'box'
        self.add('table', shape, (*place, height - 0.03), (width, depth, 0.06), texture, yaw=yaw, tile=1.2)
        leg = (0.12, 0.12, height - 0.06) if round_top else (0.07, 0.07, height - 0.06)
        for i, j in ((0, 0),) if round_top else ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            x, y = i * (width / 2 - 0.06), j * (depth / 2 - 0.06)
            x, y = np.cos(yaw) * x - np.sin(yaw) * y, np.sin(yaw) * x + np.cos(yaw) * y
            center = (place[0] + x, place[1] + y, leg[2] / 2)
            self.add('table', 'cylinder', center, leg, texture, tile=1.2)

    def ball(self) -> None:
        size, texture = self.rng.uniform(0.45, 0.8), self.finish()
        place = self.layout.on_floor(self.rng, (size, size), 0)
        if place:
            self.add('otherprop', 'sphere', (*place, size / 2), (size, size, size), texture, tile=1.2)

    # Classes visible in both color and depth
    def box(self) -> None:
        for _ in range(self.rng.integers(1, 4)):
            size, yaw = self.rng.uniform(0.35, 0.65, 3), self.rng.uniform(-0.8, 0.8)
            place = self.layout.on_floor(self.rng, size[:2], yaw)
            if place:
                texture = make_texture(self.rng, self.rng.choice(['painting', 'plain']), warm(self.rng))
                self.add('box', 'box', (*place, size[2] / 2), size, texture, yaw=yaw)

    def bookshelf(self) -> None:
        size = (self.rng.uniform(0.8, 1.3), 0.32, self.rng.uniform(1.5, 2.0))
        place = self.stand('bookshelf', 'back back left right', size, self.wood, tile=1.2)
        if place:
            front = (size[0] - 0.04, 2 * FLAT, size[2] - 0.04)
            texture = make_texture(self.rng, 'books', self.wood.mean((0, 1)))
            self.put('bookshelf', place, front, size[1] + FLAT, 0.02, texture)

    def lamp(self) -> None:
        place = self.layout.on_floor(self.rng, (0.45, 0.45), 0, near=2.2)
        if place is None:
            return
        height, diameter = self.rng.uniform(1.3, 1.6), self.rng.uniform(0.38, 0.5)
        metal = make_texture(self.rng, 'plain', (0.25, 0.25, 0.25))
        cloth = make_texture(self.rng, 'plain', warm(self.rng, 0.75, 0.9))
        self.add('lamp', 'cylinder', (*place, 0.02), (0.32, 0.32, 0.04), metal)
        self.add('lamp', 'cylinder', (*place, height / 2), (0.08, 0.08, height), metal)
        shape = self.rng.choice(['sphere', 'cylinder'])
        shade_height = diameter if shape == 'sphere' else 0.35
        glow = self.rng.choice([0, 0.35])
        center, size = (*place, height + shade_height / 2 - 0.03), (diameter, diameter, shade_height)
        self.add('lamp', shape, center, size, cloth, tile=1.0, glow=glow)
