"""What can be derived from a picture and the geometry behind it: Taskonomy's modalities and a depth sensor's view."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
from skimage.segmentation import felzenszwalb

from .raycast import Camera, Hits

DOMAINS = (
    'rgb', 'normal', 'reshading', 'depth_euclidean', 'depth_zbuffer',
    'principal_curvature', 'edge_occlusion', 'edge_texture', 'segment_unsup2d', 'segment_unsup25d',
)  # fmt: skip
"""Taskonomy's names, in the order of the paper's code."""

DEPTH_STEPS, DEPTH_MISSING = 512, 65535  # steps a metre in Taskonomy; what stands for no depth
EDGE_TEXTURE_MAX, EDGE_OCCLUSION_MAX = 11355, 11584  # ranges that readers of Taskonomy divide by
SENSOR_STEPS = 5000  # steps a metre in the NYUDv2 layout; 0 stands for no depth


def derive(rgb: np.ndarray, hits: Hits, camera: Camera) -> dict[str, np.ndarray]:
    """Makes all ten modalities, encoded as Taskonomy stores them.

    Args:
        rgb (np.ndarray): picture (H, W, 3), uint8.
        hits (Hits): what the ray through each pixel's centre hit, N = H*W.
        camera (Camera): the view.

    Returns:
        dict: for each of ``DOMAINS`` an array (H, W, 3) uint8, (H, W) uint8 or (H, W) uint16.
    """
    height, width = rgb.shape[:2]
    view, cosine = camera.rays(width, height)
    distance = hits.distance.reshape(height, width)
    z = (hits.distance * cosine).reshape(height, width)
    # Camera axes: right, up, and towards the viewer
    axes = camera.axes * np.float32([[1], [1], [-1]])
    normal = np.stack([(axis[:, None] * hits.normal).sum(0) for axis in axes], -1).reshape(height, width, 3)
    facing = -(hits.normal * view).sum(0).reshape(height, width)
    curvature = np.tanh(hits.curvature.T.reshape(height, width, 2) / 6) * 0.5 + 0.5
    features = np.concatenate([rgb / 510, normal / 2, np.log(z)[..., None] / 2], -1)
    return {
        'rgb': rgb,
        'normal': _bytes(normal * 0.5 + 0.5),
        'reshading': np.repeat(_bytes(facing)[..., None], 3, -1),
        'depth_euclidean': _depth(distance),
        'depth_zbuffer': _depth(z),
        'principal_curvature': _bytes(np.concatenate([curvature, np.zeros_like(curvature[..., :1])], -1)),
        'edge_occlusion': np.round(occlusion_edges(hits, height, width) * EDGE_OCCLUSION_MAX).astype(np.uint16),
        'edge_texture': np.round(texture_edges(rgb) * EDGE_TEXTURE_MAX).astype(np.uint16),
        'segment_unsup2d': _segments(rgb / 255, 120),
        'segment_unsup25d': _segments(features, 60),
    }


def _bytes(values: np.ndarray) -> np.ndarray:
    """0..1 to uint8."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _depth(metres: np.ndarray) -> np.ndarray:
    """Metres to Taskonomy's 16 bit; rooms are closed, so none is missing."""
    return np.minimum(np.round(metres * DEPTH_STEPS), DEPTH_MISSING - 1).astype(np.uint16)


def texture_edges(rgb: np.ndarray) -> np.ndarray:
    """Strength of the edges in the picture's brightness, (H, W) in 0..1."""
    grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1)
    return np.clip(np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1)) / 200, 0, 1)


def occlusion_edges(hits: Hits, height: int, width: int) -> np.ndarray:
    """Strength of the edges where one surface hides another, (H, W) in 0..1.

    The gap between two neighbours is taken across the surface, not along the view: a plane seen at a grazing angle has
    none, and a crease, where both pixels are near both planes, only a small one.
    """
    point, normal = (v.reshape(3, height, width) for v in (hits.point, hits.normal))
    edge = np.zeros((height, width), np.float32)
    for one, two in ((np.s_[..., 1:], np.s_[..., :-1]), (np.s_[..., 1:, :], np.s_[..., :-1, :])):
        step = point[one] - point[two]
        gap = np.minimum(*(np.abs((step * normal[side]).sum(0)) for side in (one, two)))
        for side in (one, two):
            edge[side] = np.maximum(edge[side], gap)
    # 8 cm across the surface is no edge yet, half a metre is a full one
    return cv2.GaussianBlur(np.clip((edge - 0.08) / 0.4, 0, 1), (0, 0), 0.7)


def _segments(features: np.ndarray, scale: float) -> np.ndarray:
    """Segments (H, W) uint8 of features (H, W, C): numbered from the top down, spread over 0..255."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # it wonders at more than three channels
        number = felzenszwalb(features, scale=scale, sigma=0.8, min_size=max(20, features[..., 0].size // 400))
    return np.round(number * (255 / max(number.max(), 1))).astype(np.uint8)


def sense_depth(hits: Hits, camera: Camera, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Depth as a structured-light sensor sees it, encoded as in the NYUDv2 layout.

    Noise grows with the square of the distance, disparity comes in eighths of a pixel, and there are holes at grazing
    angles, at edges and on dark surfaces.

    Args:
        hits (Hits): what the ray through each pixel's centre hit, N = H*W.
        camera (Camera): the view.
        width, height (int): size in pixels.
        rng (np.random.Generator): source of noise and holes.

    Returns:
        np.ndarray: (H, W) uint16, 5000 steps a metre, 0 where it sees nothing.
    """
    view, cosine = camera.rays(width, height)
    z = (hits.distance * cosine).reshape(height, width)
    facing = -(hits.normal * view).sum(0).reshape(height, width)
    dark = hits.albedo.mean(0).reshape(height, width) < 0.1

    # Disparity in pixels of a sensor with 7.5 cm between its eyes and a focal length of 580 pixels
    measured = 43.5 / z + rng.normal(0, 0.04, z.shape)
    measured = 43.5 / (np.round(measured * 8) / 8)

    square = np.ones((3, 3), np.uint8)
    rim = cv2.dilate(z, square) - cv2.erode(z, square) > 0.1 * z / np.maximum(facing, 0.3)
    chance = 0.01 + 0.9 * np.clip((0.2 - facing) / 0.1, 0, 1) + 0.35 * dark + 0.5 * rim
    # Holes come in blobs: smooth noise, brought back to an even spread between 0 and 1
    noise = cv2.GaussianBlur(rng.normal(0, 1, z.shape), (0, 0), 1.0)
    rank = np.empty(noise.size)
    rank[noise.ravel().argsort()] = np.arange(noise.size) / noise.size
    hole = rank.reshape(z.shape) < chance
    return np.where(hole, 0, np.round(measured * SENSOR_STEPS)).clip(0, 65535).astype(np.uint16)
