"""Random parameters and inputs that depend only on their names and a seed, so they are equal on every machine."""

import zlib

import numpy as np

THRESHOLD = 0.02


def is_norm_scale(name, shape):
    return len(shape) == 1 and name.endswith('.weight')


def array_for(name, shape, seed, threshold=THRESHOLD, gain=1.0):
    """Computes the value of a parameter or buffer with this name and shape: float64, or int64 for counters."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if name.endswith('num_batches_tracked'):
        return np.zeros(shape, np.int64)
    if name.endswith('running_mean'):
        return 0.1 * rng.standard_normal(shape)
    if name.endswith('running_var'):
        return rng.uniform(0.5, 1.5, shape)
    if is_norm_scale(name, shape):
        scale = rng.uniform(0.3, 1.0, shape) * rng.choice([-1.0, 1.0], shape)
        small = rng.random(shape) < 0.3
        return np.where(small, rng.uniform(-threshold, threshold, shape), scale)
    if len(shape) == 4:
        fan_in = int(np.prod(shape[1:]))
        return gain * rng.standard_normal(shape) / np.sqrt(fan_in)
    if name.endswith('alpha'):
        return rng.standard_normal(shape)
    return 0.1 * rng.standard_normal(shape)


def seeded_input(tag, shape, seed):
    """Computes the input image with this tag, float64."""
    rng = np.random.default_rng([seed, zlib.crc32(('input:' + tag).encode())])
    return rng.standard_normal(shape)
