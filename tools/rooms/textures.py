"""Procedural textures: linear RGB reflectance from 0.02 to 0.95, ``(S, S, 3)`` float32."""

from __future__ import annotations

import cv2
import numpy as np

SIZE = 128  # S, side of a texture in texels


def warm(rng: np.random.Generator, low: float = 0.45, high: float = 0.85) -> np.ndarray:
    """Draws the color of a paint: a gray between ``low`` and ``high`` with a warm tint, ``(3,)``."""
    return np.clip(rng.uniform(low, high) + rng.normal(0, 0.08, 3) + (0.05, 0, -0.05), 0.1, 0.9)


def vivid(rng: np.random.Generator) -> np.ndarray:
    """Draws a random color with components from 0.1 to 0.9, ``(3,)``."""
    return rng.random(3) * 0.8 + 0.1


def make_texture(rng: np.random.Generator, kind: str, color: np.ndarray) -> np.ndarray:
    """Creates a texture.

    Args:
        rng: random generator for all random choices.
        kind: key of ``PAINTERS``.
        color: base color, ``(3,)``, linear RGB.

    Returns:
        Texture, ``(S, S, 3)`` float32; row 0 is at the top.
    """
    texture = PAINTERS[kind](rng, np.asarray(color, np.float32))
    return np.clip(texture, 0.02, 0.95).astype(np.float32)


def _noise(rng: np.random.Generator) -> np.ndarray:
    """Draws smooth noise of four octaves, ``(S, S, 1)`` in [0, 1]."""
    field = np.zeros((SIZE, SIZE), np.float32)
    for octave in range(4):
        grid = rng.random((4 << octave, 4 << octave), np.float32)
        field += cv2.resize(grid, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) / 2**octave
    return ((field - field.min()) / np.ptp(field))[..., None]


def _coordinates() -> tuple[np.ndarray, np.ndarray]:
    """Returns the texture coordinates u and v, each ``(S, S, 1)`` in [0, 1)."""
    v, u = np.mgrid[:SIZE, :SIZE] / np.float32(SIZE)
    return u[..., None], v[..., None]


def _fill(color: np.ndarray) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), color, np.float32)


def _rectangle(image: np.ndarray, left: int, top: int, right: int, bottom: int, color, thickness: int = -1) -> None:
    cv2.rectangle(image, (int(left), int(top)), (int(right), int(bottom)), tuple(map(float, color)), thickness)


def plain(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    return color * (0.93 + 0.1 * _noise(rng))


def mottled(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    return color * (0.5 + 0.7 * _noise(rng))


def stripes(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    u, _ = _coordinates()
    return np.where(u * 8 % 1 < 0.5, color, color * rng.uniform(0.6, 0.8)) * (0.93 + 0.1 * _noise(rng))


def wood(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    u, v = _coordinates()
    grain = np.sin(2 * np.pi * (v * 8 + 1.2 * _noise(rng))) * 0.5 + 0.5
    return color * (0.68 + 0.32 * grain) * np.where(u * 4 % 1 < 0.03, 0.75, 1)


def tiles(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    u, v = _coordinates()
    checker = (np.floor(u * 4) + np.floor(v * 4)) % 2
    joint = (u * 4 % 1 < 0.05) | (v * 4 % 1 < 0.05)
    return color * (0.75 + 0.18 * checker + 0.08 * _noise(rng)) * np.where(joint, 0.6, 1)


def painting(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """Paints rectangles and discs of random colors on a gradient."""
    _, v = _coordinates()
    image = np.ascontiguousarray(color * (0.5 + 0.5 * v), np.float32)
    for _ in range(7):
        x, y = rng.integers(0, SIZE, 2)
        width, height = rng.integers(12, SIZE // 2, 2)
        if rng.random() < 0.5:
            _rectangle(image, x, y, x + width, y + height, vivid(rng))
        else:
            cv2.circle(image, (int(x), int(y)), int(width) // 2, tuple(map(float, vivid(rng))), -1)
    return image


def framed(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """Paints a painting with a dark or golden frame."""
    image = painting(rng, color)
    frame = (0.2, 0.16, 0.13) if rng.random() < 0.5 else (0.7, 0.55, 0.25)
    _rectangle(image, 0, 0, SIZE - 1, SIZE - 1, frame, 9)
    return image


def door(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """Paints a door with four panels, a frame and a knob."""
    image = _fill(color) * (0.93 + 0.07 * _noise(rng))
    for top, bottom in ((14, 56), (70, 116)):
        for left, right in ((18, 58), (70, 110)):
            _rectangle(image, left, top, right, bottom, color * 0.6, 3)
            _rectangle(image, left + 4, top + 3, right - 4, bottom - 3, color * 0.85)
    _rectangle(image, 0, 0, SIZE - 1, SIZE + 8, color * 0.5, 5)
    cv2.circle(image, (118, 64), 5, (0.8, 0.75, 0.4), -1)
    return image


def window(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """Paints sky and grass behind white bars; ``color`` tints the sky."""
    _, v = _coordinates()
    sky, grass = np.float32((0.5, 0.7, 0.95)) * color, np.float32((0.3, 0.5, 0.22))
    horizon = rng.uniform(0.55, 0.85)
    image = np.ascontiguousarray(np.where(v < horizon, sky * (1 - 0.3 * v), grass) + 0.15 * _noise(rng), np.float32)
    for k in (0, 61, 122):
        _rectangle(image, k, 0, k + 5, SIZE, (0.9, 0.9, 0.9))
        _rectangle(image, 0, k, SIZE, k + 5, (0.9, 0.9, 0.9))
    return image


def books(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """Paints four shelves of books; ``color`` is the color of the shelves."""
    image = _fill(np.float32((0.14, 0.12, 0.11)))
    for bottom in (29, 61, 93, 125):
        x = 4
        while x < SIZE - 8:
            width, height = int(rng.integers(4, 10)), int(rng.integers(18, 27))
            _rectangle(image, x, bottom - height, x + width - 1, bottom, vivid(rng))
            x += width
        _rectangle(image, 0, bottom, SIZE, bottom + 2, color)
    _rectangle(image, 0, 0, SIZE - 1, SIZE - 1, color, 3)
    return image


PAINTERS = {
    painter.__name__: painter
    for painter in (plain, mottled, stripes, wood, tiles, painting, framed, door, window, books)
}
