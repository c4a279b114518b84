"""Computes mean and standard deviation of each modality of a config's training data set, to paste into the config.

python tools/dataset_converters/modality_statistics.py CONFIG

The files are read with the settings in the data set's `modalities`, without augmentation. Pixels without a measurement
(`invalid`, NaN) are ignored. The values are in the unit that the preprocessor receives: 0 to 255 for 8-bit images, the
unit after `scale` for others.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from mmengine.utils import track_iter_progress
from prettytable import PrettyTable
from torch.utils.data import DataLoader

from cen_mm import config_argument
from cen_mm.datasets import MultimodalDataset
from cen_mm.datasets.modality import Modality
from cen_mm.engine.samples import base_datasets

MISSING = -1e38  # in place of pad_val, which a measurement may be equal to: no events, or 0 degrees

ZEROS = 0.01  # share of the pixels of an image with more than 8 bits, above which zeros are probably missing values


class Moments:
    """Sums over the valid pixels of all images of a modality."""

    def __init__(self) -> None:
        self.pixels = self.valid = 0
        self.zeros = 0  # that no setting makes invalid
        self.total = self.squares = np.zeros(1)
        self.low, self.high = np.inf, -np.inf

    def add(self, image: np.ndarray, modality: Modality) -> None:
        """Adds an image ``(C, H, W)``."""
        values = image.reshape(len(image), -1).astype(np.float64)
        self.pixels += values.shape[1]
        if modality.invalid is not None or np.dtype(modality.dtype).kind == 'f':
            pad_val = np.reshape(modality.pad_val, (-1, 1)).astype(image.dtype)  # 31.72 is not the float32 number
            values = values[:, (values != pad_val).all(axis=0)]  # measured in all channels
        elif modality.dtype != 'uint8':
            self.zeros += (values == 0).all(axis=0).sum()
        self.valid += values.shape[1]
        self.total = self.total + values.sum(axis=1)
        self.squares = self.squares + (values**2).sum(axis=1)
        self.low, self.high = min(self.low, values.min(initial=np.inf)), max(self.high, values.max(initial=-np.inf))

    @property
    def mean(self) -> np.ndarray:
        return self.total / max(self.valid, 1)

    @property
    def std(self) -> np.ndarray:
        return np.sqrt(np.maximum(self.squares / max(self.valid, 1) - self.mean**2, 0))


def add_samples(dataset: MultimodalDataset, workers: int, moments: dict[str, Moments]) -> None:
    """Reads all samples of a data set in parallel, with a progress bar, and adds them to the sums."""
    # With a scale, 8-bit images become float32, too. Other interpolations would mix MISSING with measurements.
    dataset.modalities = {
        name: replace(modality, scale=modality.scale or 1, pad_val=MISSING, interpolation='nearest')
        for name, modality in dataset.modalities.items()
    }
    loader = DataLoader(dataset, batch_size=1, num_workers=workers, collate_fn=pseudo_collate)
    for batch in track_iter_progress((loader, len(loader))):
        for name, (image,) in batch['inputs'].items():
            moments.setdefault(name, Moments()).add(image.numpy(), dataset.modalities[name])


def format_settings(name: str, moments: Moments) -> str:
    """Formats the settings of a modality for ``data_preprocessor.modalities``."""
    mean, std = (np.round(values, 4).tolist() for values in (moments.mean, moments.std))
    options = ''
    if name == 'rgb':  # packed as BGR
        mean, std, options = mean[::-1], std[::-1], ', bgr_to_rgb=True'
    if len(mean) == 1:  # tiled to three channels
        mean, std = mean * 3, std * 3
    elif len(mean) != 3:
        options += f', channels={len(mean)}'
    return f'    {name}=dict(mean={mean}, std={std}{options}),'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_argument, help='config file of a segmentation model')
    parser.add_argument('--workers', type=int, default=2, help='number of processes that read files (default: 2)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override: key=value')
    args = parser.parse_args()
    torch.set_num_threads(1)
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    if cfg.get('default_scope') == 'mmagic':
        parser.error(
            f'{args.config} is of translation, which has no mean and std: its images are scaled by `range`. `python '
            'tools/train.py CONFIG --check` prints their minimum and maximum, -1 and 1 at the ends of the range.'
        )
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    pipeline = [dict(type='cen_mm.LoadModalities'), dict(type='cen_mm.PackModalities')]
    datasets = [DATASETS.build({**each, 'pipeline': pipeline}) for each in base_datasets(cfg.train_dataloader.dataset)]
    moments: dict[str, Moments] = {}
    for dataset in datasets:
        add_samples(dataset, args.workers, moments)
    table = PrettyTable(['modality', 'minimum', 'maximum', 'pixels without a measurement'])
    for name, values in moments.items():
        share = 1 - values.valid / max(values.pixels, 1)
        table.add_row([name, f'{values.low:g}', f'{values.high:g}', f'{share:.1%}'])
    for name, values in moments.items():
        if values.zeros > ZEROS * values.pixels:
            print(
                f'{name} is 0 in {values.zeros / values.pixels:.0%} of the pixels: set invalid=0 if they are missing.'
            )
    lines = [format_settings(name, values) for name, values in moments.items()]
    print(f'\n{sum(map(len, datasets))} samples\n{table}\nmodalities=dict(', *lines, ')', sep='\n')


if __name__ == '__main__':
    try:
        main()
    except (ValueError, OSError) as error:
        last = str(error).splitlines()[-1]  # of a worker's traceback
        raise SystemExit(last.rpartition('Error: ')[2]) from None
