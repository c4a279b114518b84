"""Compares the speed of reading training samples: a config's pipeline and a plain one with PIL and numpy.

CEN_MM_NYUDV2=FOLDER python tools/benchmarks/benchmark_reading.py configs/cen_refinenet_r101_nyudv2.py

The plain pipeline performs the steps that the authors describe: decode, scale, pad, horizontal flip, crop, normalize,
convert to tensors. Both read the same RGB, depth and label files in alternation, in one process with one thread. The
processor time is measured.
"""

import argparse
import random
import statistics
from collections import deque

import cv2
import numpy as np
import torch
from measuring import seconds
from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS, init_default_scope
from mmengine.utils import track_iter_progress
from PIL import Image

from cen_mm import config_argument

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def read_with_pil(paths: dict, size: int) -> tuple[torch.Tensor, ...]:
    """Reads and augments one sample with PIL and numpy.

    Args:
        paths: paths of the sample's files, as in mmseg's data sets.
        size: side of the crop in pixels.

    Returns:
        RGB and depth, both ``(3, size, size)``, and labels, ``(size, size)``.
    """
    files = (paths['modality_paths']['rgb'], paths['modality_paths']['depth'], paths['seg_map_path'])
    images = [Image.open(path) for path in files]
    images[0] = images[0].convert('RGB')
    width, height = images[2].size
    scale = max(random.uniform(0.5, 2.0), 350 / min(width, height))
    side = round(width * scale), round(height * scale)
    kernels = (Image.BICUBIC, Image.NEAREST, Image.NEAREST)
    rgb, depth, label = (np.array(image.resize(side, kernel)) for image, kernel in zip(images, kernels))
    depth = np.repeat(depth[..., None], 3, axis=2).astype(np.float32)
    missing = [max(0, size - length) for length in label.shape]
    pad = [((length + 1) // 2,) * 2 for length in missing]
    padded = []
    for image in (rgb, depth):
        channels = [np.pad(image[..., c], pad, constant_values=int(MEAN[c])) for c in range(3)]
        padded.append(np.stack(channels, axis=-1))
    rgb, depth = padded
    label = np.pad(label, pad, constant_values=255)
    if random.random() < 0.5:
        rgb, depth, label = rgb[:, ::-1], depth[:, ::-1], label[:, ::-1]
    top, left = (random.randint(0, length - size) for length in label.shape)
    rgb, depth, label = (image[top : top + size, left : left + size] for image in (rgb, depth, label))
    rgb = (rgb.astype(np.float32) - MEAN.astype(np.float32)) / STD.astype(np.float32)
    depth = depth / paths['modality_settings']['depth'].scale
    rgb, depth = (torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() for image in (rgb, depth))
    return rgb, depth, torch.from_numpy(np.ascontiguousarray(label)).long()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_argument, help='config file with an RGB-D data set')
    parser.add_argument('--samples', type=int, default=48, help='number of samples per run (default: 48)')
    parser.add_argument('--runs', type=int, default=5, help='number of runs after one warm-up run (default: 5)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override: key=value')
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope('mmseg')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    indices = [i % len(dataset) for i in range(args.samples)]
    paths = [dataset.get_data_info(i) for i in indices]
    crops = [step.crop_size for step in cfg.train_dataloader.dataset.pipeline if 'crop_size' in step]
    times = []
    for _ in track_iter_progress(range(args.runs + 1)):
        _, ours = seconds(lambda: deque((dataset[i] for i in indices), maxlen=1), 'cpu')
        _, plain = seconds(lambda: deque((read_with_pil(path, crops[-1][0]) for path in paths), maxlen=1), 'cpu')
        times.append((ours, plain))
    ours, plain = (statistics.median(column) for column in zip(*times[1:]))
    print(
        f'\nSamples per second and core: {args.samples / ours:.1f} with the config, {args.samples / plain:.1f} with '
        f'PIL and numpy, ratio {plain / ours:.2f} (medians of {args.runs} runs).'
    )


if __name__ == '__main__':
    main()
