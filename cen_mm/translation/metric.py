"""Distances to the target, of every branch and the ensemble: image by image, and of the whole set."""

from typing import Optional, Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmagic.evaluation.metrics.psnr import psnr
from mmagic.evaluation.metrics.ssim import ssim
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from prettytable import PrettyTable
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from ..exchange import ENSEMBLE
from ..registry import METRICS, MODELS

TITLES = {
    '': '8-bit images, not stretched',
    'authors_': "the authors' images: each stretched to its own minimum and maximum, drawn at 500x500",
}


@METRICS.register_module()
class TranslationMetric(BaseMetric):
    """L1, RMSE, PSNR, SSIM, LPIPS, FID and KID of every branch and the ensemble.

    Two protocols. The standard one takes 8-bit images as they are: ``L1`` and ``RMSE`` of values in [0, 1], over the
    pixels where the target is known; ``PSNR`` (dB) and ``SSIM``, MMagic's, ``LPIPS``, ``FID`` and ``KIDx100`` of whole
    images. The authors' one, ``authors_FID`` and ``authors_KIDx100``, stretches every image, made or real, to its own
    minimum and maximum and draws it at 5x5 inches: their 62.6 and 1.65 compare with these alone. KID is the unbiased
    estimate over the whole set, times 100. The ensemble's scores have these names, a branch's ``reshading/L1`` and so
    on. FID and KID need two images at least.

    Args:
        features: config of the network that FID and KID are taken from: ``InceptionV3`` or, with other names for the
            scores, ``EfficientNetLite0``.
        lpips: config of :class:`~cen_mm.translation.LPIPS`; None: not measured.
        **kwargs: mmengine's.
    """

    def __init__(self, features: dict, lpips: Optional[dict] = None, **kwargs):
        super().__init__(**kwargs)
        # Built here, so that a missing file is told of before training starts.
        self.features = MODELS.build(features)
        self.lpips = MODELS.build(lpips) if lpips else None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps the scores and features of every branch of each image."""
        for sample in data_samples:
            images = [sample['gt_img'], *sample['branches'].values()]
            standard = torch.stack([to_bytes(image) for image in images])  # (M + 2, 3, H, W)
            drawn = torch.stack([as_drawn(image) for image in images]).to(standard.device)
            features = self.features.to(standard.device)
            mask = sample.get('mask', torch.ones_like(sample['gt_img'][:1])).bool().expand(3, -1, -1)
            scores = {name: _scores(fake, standard[0], mask) for name, fake in zip(sample['branches'], standard[1:])}
            if self.lpips is not None:
                distances = self.lpips.to(standard.device)(standard[1:], standard[:1].expand_as(standard[1:]))
                for name, distance in zip(scores, distances):
                    scores[name]['LPIPS'] = distance.item()
            self.results.append(
                dict(scores=scores, features={'': features(standard).cpu(), 'authors_': features(drawn).cpu()})
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Averages over the images, compares the sets, prints a table for each protocol and returns the scores."""
        names, metrics = list(results[0]['scores']), {}
        for protocol, title in TITLES.items():
            features = torch.stack([result['features'][protocol] for result in results]).double()  # (N, M + 2, D)
            table = PrettyTable()
            for i, name in enumerate(names, start=1):
                row = {}
                if not protocol:
                    rows = [result['scores'][name] for result in results]
                    row = {key: float(np.nanmean([scores[key] for scores in rows])) for key in rows[0]}
                if len(results) > 1:
                    sets = features[:, i], features[:, 0]
                    frechet, kernel = self.features.scores
                    row[f'{protocol}{frechet}'] = frechet_distance(*sets)
                    row[f'{protocol}{kernel}x100'] = 100 * kernel_distance(*sets)
                table.field_names = ['branch', *row]
                table.add_row([name, *(f'{value:.4f}' for value in row.values())])
                metrics.update({key if name == ENSEMBLE else f'{name}/{key}': value for key, value in row.items()})
            print_log(f'{title}, {len(results)} images:\n{table}', logger='current')
        return metrics


def frechet_distance(fake: Tensor, real: Tensor) -> float:
    """FID of features ``(N, D)``, by torch-fidelity."""
    statistics = fid_features_to_statistics(fake), fid_features_to_statistics(real)
    return fid_statistics_to_metric(*statistics, verbose=False)['frechet_inception_distance']


def kernel_distance(fake: Tensor, real: Tensor) -> float:
    """KID of features ``(N, D)``: unbiased, cubic kernel, one subset of all images, by torch-fidelity."""
    options = dict(kid_subsets=1, kid_subset_size=len(fake), verbose=False)
    return kid_features_to_metric(fake, real, **options)['kernel_inception_distance_mean']


def to_bytes(image: Tensor) -> Tensor:
    """``(3, H, W)`` in [-1, 1] to the same in uint8."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round().byte()


def as_drawn(image: Tensor) -> Tensor:
    """``(3, H, W)`` to ``(3, 500, 500)`` uint8, as the authors' code saves it: stretched, and drawn by matplotlib."""
    low, high = image.min(), image.max()
    stretched = (image - low) / (high - low).clamp(min=1e-12)
    figure = Figure(figsize=(5, 5), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(stretched.permute(1, 2, 0).cpu().float().numpy(), aspect='auto')
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy()).permute(2, 0, 1)


def _scores(fake: Tensor, real: Tensor, mask: Tensor) -> dict[str, float]:
    """Of images ``(3, H, W)`` uint8; no known pixel: NaN, which the mean over the images leaves out."""
    difference = (fake.double() - real.double())[mask] / 255
    whole = [image.permute(1, 2, 0).cpu().numpy() for image in (fake, real)]
    return dict(
        L1=difference.abs().mean().item(),
        RMSE=difference.square().mean().sqrt().item(),
        PSNR=psnr(*whole),
        SSIM=ssim(*whole),
    )
