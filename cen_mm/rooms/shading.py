"""The colour picture: a square lamp in the ceiling, soft shadows, one bounce of light, a camera's noise."""

from __future__ import annotations

import cv2
import numpy as np

from .raycast import LIFT, Hits, cast, occluded
from .scene import Scene

SUPERSAMPLING = 2  # rays a pixel and axis
SHADOW_RAYS = 2  # for each of those rays
BRIGHTEST_BOUNCE = 0.35  # limit of what one bounced ray may bring; without it single rays leave white specks


def render_rgb(scene: Scene, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Takes the colour picture of a scene.

    Args:
        scene (Scene): the room.
        width, height (int): size in pixels.
        rng (np.random.Generator): source of the sampling and of the camera's noise.

    Returns:
        np.ndarray: (H, W, 3) uint8 RGB.
    """
    wide, high = width * SUPERSAMPLING, height * SUPERSAMPLING
    direction, _ = scene.camera.rays(wide, high)
    hits = cast(scene.shell + scene.things, scene.camera.eye[:, None], direction)
    origin = hits.point + LIFT * hits.normal

    direct = sum(_lamp_light(scene, origin, hits.normal, k, rng) for k in range(SHADOW_RAYS)) / SHADOW_RAYS
    bounced, reflectance = _bounced_light(scene, hits, origin, rng)
    patch = hits.patch.reshape(high, wide)
    direct = _smooth(direct.reshape(high, wide, 1), patch, 5)
    bounced = _smooth((bounced * reflectance).T.reshape(high, wide, 3), patch, 25)
    # Light that bounced more than once: more of the same, and some of it everywhere
    light = (direct + 1.5 * bounced + 0.15 * bounced.mean()) * scene.light[2]

    albedo, glow = hits.albedo.T.reshape(high, wide, 3), hits.glow.reshape(high, wide, 1)
    picture = light * albedo
    picture = picture * (scene.exposure / picture.mean()) + glow * albedo
    picture = cv2.resize(1 - np.exp(-1.3 * picture), (width, height), interpolation=cv2.INTER_AREA)
    return _develop(picture, rng)


def _lamp_light(scene: Scene, origin: np.ndarray, normal: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Light that one random point in strip ``k`` of the lamp sends to points (3, N), shadows included. (N,)."""
    centre, extent, _ = scene.light
    count = origin.shape[1]
    across = ((k + rng.random(count, np.float32)) / SHADOW_RAYS - 0.5) * extent[0]
    along = (rng.random(count, np.float32) - 0.5) * extent[1]
    way = centre[:, None] + np.stack([across, along, np.zeros_like(along)]) - origin
    distance = np.sqrt((way * way).sum(0))
    way /= distance
    light = np.maximum((normal * way).sum(0), 0) * np.maximum(way[2], 0) / np.maximum(distance, 0.4) ** 2
    lit = np.flatnonzero(light)
    light[lit] *= ~occluded(scene.things, origin[:, lit], way[:, lit], distance[lit])
    return light


def _bounced_light(scene: Scene, hits: Hits, origin: np.ndarray, rng: np.random.Generator) -> tuple:
    """Light from one random direction for each point: how much (N,), and the reflectance (3, N) it came from."""
    turn = 2 * np.pi * rng.random(origin.shape[1], np.float32)
    rise = rng.random(origin.shape[1], np.float32) * 2 - 1
    flat = np.sqrt(1 - rise * rise)
    # The normal plus a point on the unit sphere is spread as the cosine asks
    direction = hits.normal + np.stack([flat * np.cos(turn), flat * np.sin(turn), rise])
    direction /= np.sqrt((direction * direction).sum(0)) + np.float32(1e-6)
    other = cast(scene.shell + scene.things, origin, direction)
    light = _lamp_light(scene, other.point + LIFT * other.normal, other.normal, int(rng.integers(SHADOW_RAYS)), rng)
    return np.minimum(light, BRIGHTEST_BOUNCE), other.albedo


def _smooth(image: np.ndarray, patch: np.ndarray, size: int) -> np.ndarray:
    """Averages (H, W, C) over squares of ``size`` pixels, never across the rim of a patch (H, W)."""
    result = np.empty_like(image)
    for number in np.unique(patch):
        inside = patch == number
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        mask = inside[box].astype(np.float32)
        total, weight = image[box] * mask[..., None], mask
        for _ in range(2):  # two boxes make a tent
            total = cv2.blur(total, (size, size), borderType=cv2.BORDER_CONSTANT)
            weight = cv2.blur(weight, (size, size), borderType=cv2.BORDER_CONSTANT)
        mean = total.reshape(*mask.shape, -1) / np.maximum(weight, 1e-6)[..., None]
        result[box][inside[box]] = mean[inside[box]]
    return result


def _develop(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Linear light (H, W, 3) to 8-bit sRGB with the noise of a sensor, which shows in the dark."""
    picture = picture + rng.normal(0, 1, picture.shape) * np.sqrt(2e-5 + 1e-4 * picture)
    picture = np.clip(picture, 0, 1)
    encoded = np.where(picture < 0.0031308, 12.92 * picture, 1.055 * picture ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)
