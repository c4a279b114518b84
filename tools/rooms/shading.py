"""Rendering of the RGB image: a rectangular ceiling lamp, soft shadows, one light bounce and sensor noise."""

from __future__ import annotations

import cv2
import numpy as np

from .raycast import RAY_OFFSET, Hits, cast, occluded
from .scene import Scene

SUPERSAMPLING = 2  # camera rays per pixel along each axis
SHADOW_RAYS = 2  # shadow rays per camera ray
BRIGHTEST_BOUNCE = 0.35  # upper limit of the light of one bounced ray: single bright rays would cause white specks


def render_rgb(scene: Scene, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Renders the color image of a scene.

    Args:
        scene: room to render.
        width: width of the image in pixels.
        height: height of the image in pixels.
        rng: random generator for the light samples and the sensor noise.

    Returns:
        RGB image, ``(H, W, 3)`` uint8.
    """
    ray_columns, ray_rows = width * SUPERSAMPLING, height * SUPERSAMPLING
    direction, _ = scene.camera.rays(ray_columns, ray_rows)
    hits = cast(scene.shell + scene.things, scene.camera.eye[:, None], direction)
    origin = hits.point + RAY_OFFSET * hits.normal

    direct = sum(_lamp_light(scene, origin, hits.normal, k, rng) for k in range(SHADOW_RAYS)) / SHADOW_RAYS
    bounced, reflectance = _bounced_light(scene, hits, origin, rng)
    patch = hits.patch.reshape(ray_rows, ray_columns)
    direct = _smooth(direct.reshape(ray_rows, ray_columns, 1), patch, 5)
    bounced = _smooth((bounced * reflectance).T.reshape(ray_rows, ray_columns, 3), patch, 25)
    # Further bounces are approximated: the first one is amplified, and a constant ambient light is added
    light = (direct + 1.5 * bounced + 0.15 * bounced.mean()) * scene.light[2]

    albedo, glow = hits.albedo.T.reshape(ray_rows, ray_columns, 3), hits.glow.reshape(ray_rows, ray_columns, 1)
    image = light * albedo
    image = image * (scene.exposure / image.mean()) + glow * albedo
    image = cv2.resize(1 - np.exp(-1.3 * image), (width, height), interpolation=cv2.INTER_AREA)
    return _to_srgb(image, rng)


def _lamp_light(scene: Scene, origin: np.ndarray, normal: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Computes the light that points receive from random points on the lamp, with shadows.

    Args:
        scene: room with the lamp.
        origin: points to light, ``(3, N)``, meters.
        normal: surface normals at the points, ``(3, N)``.
        k: strip of the lamp from which its points are drawn, 0 to ``SHADOW_RAYS - 1``.
        rng: random generator that draws one point on the lamp for each point.

    Returns:
        Light, ``(N,)``.
    """
    center, extent, _ = scene.light
    count = origin.shape[1]
    across = ((k + rng.random(count, np.float32)) / SHADOW_RAYS - 0.5) * extent[0]
    along = (rng.random(count, np.float32) - 0.5) * extent[1]
    to_lamp = center[:, None] + np.stack([across, along, np.zeros_like(along)]) - origin
    distance = np.sqrt((to_lamp * to_lamp).sum(0))
    to_lamp /= distance
    light = np.maximum((normal * to_lamp).sum(0), 0) * np.maximum(to_lamp[2], 0) / np.maximum(distance, 0.4) ** 2
    lit = np.flatnonzero(light)
    light[lit] *= ~occluded(scene.things, origin[:, lit], to_lamp[:, lit], distance[lit])
    return light


def _bounced_light(scene: Scene, hits: Hits, origin: np.ndarray, rng: np.random.Generator) -> tuple:
    """Computes the light that each point receives from one random direction after one bounce.

    Returns:
        Light ``(N,)`` that arrives at the surface hit in that direction, and the reflectance ``(3, N)`` there.
    """
    azimuth = 2 * np.pi * rng.random(origin.shape[1], np.float32)
    z = rng.random(origin.shape[1], np.float32) * 2 - 1
    radius = np.sqrt(1 - z * z)
    # The normalized sum of the normal and a random unit vector is cosine-distributed
    direction = hits.normal + np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z])
    direction /= np.sqrt((direction * direction).sum(0)) + np.float32(1e-6)
    bounce = cast(scene.shell + scene.things, origin, direction)
    light = _lamp_light(
        scene, bounce.point + RAY_OFFSET * bounce.normal, bounce.normal, int(rng.integers(SHADOW_RAYS)), rng
    )
    return np.minimum(light, BRIGHTEST_BOUNCE), bounce.albedo


def _smooth(image: np.ndarray, patch: np.ndarray, size: int) -> np.ndarray:
    """Smooths an image without mixing different surface patches.

    Args:
        image: image to smooth, ``(H, W, C)``.
        patch: number of the surface patch of each pixel, ``(H, W)``.
        size: side of the box filter in pixels.
    """
    result = np.empty_like(image)
    for number in np.unique(patch):
        inside = patch == number
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        mask = inside[box].astype(np.float32)
        total, weight = image[box] * mask[..., None], mask
        for _ in range(2):  # two box filters make a tent filter
            total = cv2.blur(total, (size, size), borderType=cv2.BORDER_CONSTANT)
            weight = cv2.blur(weight, (size, size), borderType=cv2.BORDER_CONSTANT)
        mean = total.reshape(*mask.shape, -1) / np.maximum(weight, 1e-6)[..., None]
        result[box][inside[box]] = mean[inside[box]]
    return result


def _to_srgb(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Converts linear light ``(H, W, 3)`` to 8-bit sRGB with sensor noise, which is visible in dark images."""
    image = image + rng.normal(0, 1, image.shape) * np.sqrt(2e-5 + 1e-4 * image)
    image = np.clip(image, 0, 1)
    encoded = np.where(image < 0.0031308, 12.92 * image, 1.055 * image ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)
