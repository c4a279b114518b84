"""Modalities derived from the RGB image and the ray hits: those of Taskonomy and the depth of a simulated sensor."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
from skimage.segmentation import felzenszwalb

from cen_mm.datasets import nyudv2, taskonomy

from .raycast import Camera, Hits


def derive(rgb: np.ndarray, hits: Hits, camera: Camera) -> dict[str, np.ndarray]:
    """Computes all ten modalities in Taskonomy's encoding.

    Args:
        rgb: color image, ``(H, W, 3)``, uint8.
        hits: hits of the rays through the pixel centers, N = H*W.
        camera: camera of these rays.

    Returns:
        One image for each of ``taskonomy.MODALITIES``: ``(H, W, 3)`` uint8, ``(H, W)`` uint8 or ``(H, W)`` uint16.
    """
    height, width = rgb.shape[:2]
    view, cosine = camera.rays(width, height)
    distance = hits.distance.reshape(height, width)
    z = (hits.distance * cosine).reshape(height, width)
    # Axes of the normals: right, up and towards the camera
    axes = camera.axes * np.float32([[1], [1], [-1]])
    normal = np.stack([(axis[:, None] * hits.normal).sum(0) for axis in axes], -1).reshape(height, width, 3)
    facing = -(hits.normal * view).sum(0).reshape(height, width)
    curvature = np.tanh(hits.curvature.T.reshape(height, width, 2) / 6) * 0.5 + 0.5
    features = np.concatenate([rgb / 510, normal / 2, np.log(z)[..., None] / 2], -1)
    return {
        'rgb': rgb,
        'normal': _to_uint8(normal * 0.5 + 0.5),
        'reshading': np.repeat(_to_uint8(facing)[..., None], 3, -1),
        'depth_euclidean': _encode_depth(distance),
        'depth_zbuffer': _encode_depth(z),
        'principal_curvature': _to_uint8(np.concatenate([curvature, np.zeros_like(curvature[..., :1])], -1)),
        'edge_occlusion': np.round(occlusion_edges(hits, height, width) * taskonomy.EDGE_MAX['edge_occlusion']).astype(
            np.uint16
        ),
        'edge_texture': np.round(texture_edges(rgb) * taskonomy.EDGE_MAX['edge_texture']).astype(np.uint16),
        'segment_unsup2d': _segments(rgb / 255, 120),
        'segment_unsup25d': _segments(features, 60),
    }


def _to_uint8(values: np.ndarray) -> np.ndarray:
    """Converts values from [0, 1] to uint8."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _encode_depth(meters: np.ndarray) -> np.ndarray:
    """Converts meters to Taskonomy's 16-bit depth. Rooms are closed, so no pixel is missing."""
    return np.minimum(np.round(meters * taskonomy.DEPTH_SCALE), taskonomy.DEPTH_MISSING - 1).astype(np.uint16)


def texture_edges(rgb: np.ndarray) -> np.ndarray:
    """Computes the edge strength of an RGB image in gray scale, ``(H, W)`` in [0, 1]."""
    gray = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1)
    return np.clip(np.hypot(cv2.Sobel(gray, -1, 1, 0), cv2.Sobel(gray, -1, 0, 1)) / 200, 0, 1)


def occlusion_edges(hits: Hits, height: int, width: int) -> np.ndarray:
    """Computes the strength of the edges where one surface occludes another, ``(H, W)`` in [0, 1].

    The gap between two neighboring pixels is measured along the surface normals, not along the viewing direction.
    A plane at a grazing angle therefore has no gap. A crease has only a small one, because the points of both pixels
    are close to both planes.
    """
    point, normal = (v.reshape(3, height, width) for v in (hits.point, hits.normal))
    edge = np.zeros((height, width), np.float32)
    for one, two in ((np.s_[..., 1:], np.s_[..., :-1]), (np.s_[..., 1:, :], np.s_[..., :-1, :])):
        step = point[one] - point[two]
        gap = np.minimum(*(np.abs((step * normal[side]).sum(0)) for side in (one, two)))
        for side in (one, two):
            edge[side] = np.maximum(edge[side], gap)
    # Edges start at a gap of 8 cm and reach full strength at 48 cm
    return cv2.GaussianBlur(np.clip((edge - 0.08) / 0.4, 0, 1), (0, 0), 0.7)


def _segments(features: np.ndarray, scale: float) -> np.ndarray:
    """Segments features ``(H, W, C)``; returns numbers from top to bottom, 0 to 255, ``(H, W)`` uint8."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # skimage warns about more than three channels
        number = felzenszwalb(features, scale=scale, sigma=0.8, min_size=max(20, features[..., 0].size // 400))
    return np.round(number * (255 / max(number.max(), 1))).astype(np.uint8)


def sense_depth(hits: Hits, camera: Camera, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Simulates the depth of a structured-light sensor, encoded as in the NYUDv2 layout.

    The noise grows with the square of the distance, the disparity is quantized to eighths of a pixel, and depth is
    missing at grazing angles, at edges and on dark surfaces.

    Args:
        hits: hits of the rays through the pixel centers, N = H*W.
        camera: camera of these rays.
        width: width of the image in pixels.
        height: height of the image in pixels.
        rng: random generator for the noise and the missing pixels.

    Returns:
        Depth, ``(H, W)`` uint16, with 5000 depth units per meter; 0 where depth is missing.
    """
    view, cosine = camera.rays(width, height)
    z = (hits.distance * cosine).reshape(height, width)
    facing = -(hits.normal * view).sum(0).reshape(height, width)
    dark = hits.albedo.mean(0).reshape(height, width) < 0.1

    # Disparity in pixels for a baseline of 7.5 cm and a focal length of 580 pixels: 0.075 * 580 = 43.5
    measured = 43.5 / z + rng.normal(0, 0.04, z.shape)
    measured = 43.5 / (np.round(measured * 8) / 8)

    square = np.ones((3, 3), np.uint8)
    edge = cv2.dilate(z, square) - cv2.erode(z, square) > 0.1 * z / np.maximum(facing, 0.3)
    hole_probability = 0.01 + 0.9 * np.clip((0.2 - facing) / 0.1, 0, 1) + 0.35 * dark + 0.5 * edge
    # Missing pixels form blobs: smooth noise whose ranks are distributed uniformly in [0, 1)
    noise = cv2.GaussianBlur(rng.normal(0, 1, z.shape), (0, 0), 1.0)
    rank = np.empty(noise.size)
    rank[noise.ravel().argsort()] = np.arange(noise.size) / noise.size
    hole = rank.reshape(z.shape) < hole_probability
    return np.where(hole, 0, np.round(measured * nyudv2.DEPTH_SCALE)).clip(0, 65535).astype(np.uint16)
