"""Image quality metrics of every branch and of the ensemble, per image and over the whole set."""

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
    'authors_': "authors' protocol: each image stretched to the full range and drawn at 500x500 pixels",
}


@METRICS.register_module()
class TranslationMetric(BaseMetric):
    """L1, RMSE, PSNR, SSIM, LPIPS, FID and KID of every branch and of the ensemble.

    Samples without a target have no scores.

    There are two protocols:

    - The standard protocol compares 8-bit images without stretching. ``L1`` and ``RMSE`` are computed on values in
      [0, 1], over the pixels with a known target. ``PSNR`` (dB, at most 100) and ``SSIM`` (both from MMagic),
      ``LPIPS``, ``FID`` and ``KIDx100`` are computed on whole images.
    - The authors' protocol linearly stretches every generated and real image, so that its minimum becomes 0 and its
      maximum 1, and draws it at 5x5 inches (500x500 pixels). Its scores are ``authors_FID`` and ``authors_KIDx100``.
      Only these two are comparable with the authors' 62.6 and 1.65.

    ``KIDx100`` is 100 times the unbiased estimate over the whole set. The scores of the ensemble have these names,
    those of a branch are named ``reshading/L1`` and so on. FID and KID need at least two images.

    After an evaluation, the attribute ``details`` holds the scores of every branch for each of the ``samples``, for
    tools/analysis_tools/report.py.

    Args:
        features: config of the network that computes the features for FID and KID: ``InceptionV3``, or
            ``EfficientNetLite0``, whose scores have other names.
        lpips: config of :class:`~cen_mm.translation.LPIPS`. None: LPIPS is not computed.
        authors_protocol: whether to compute the scores of the authors' protocol, which takes about 20 ms per image and
            branch.
        **kwargs: arguments of mmengine's ``BaseMetric``.
    """

    details: Optional[dict] = None

    def __init__(self, features: dict, lpips: Optional[dict] = None, authors_protocol: bool = True, **kwargs):
        super().__init__(**kwargs)
        # Built here, so that a missing weights file is reported before training starts.
        self.features = MODELS.build(features)
        self.lpips = MODELS.build(lpips) if lpips else None
        self.authors_protocol = authors_protocol

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Computes and stores the scores and features of every branch, for each image of the batch."""
        for sample in data_samples:
            if 'gt_img' not in sample:
                self.results.append({})  # mmengine orders the results of several processes by their number
                continue
            images = [sample['gt_img'], *sample['branches'].values()]
            standard = torch.stack([to_bytes(image) for image in images])  # (M + 2, 3, H, W)
            protocols = {'': standard}
            if self.authors_protocol:
                protocols['authors_'] = torch.stack([as_drawn(image) for image in images]).to(standard.device)
            features = self.features.to(standard.device)
            mask = sample.get('mask', torch.ones_like(sample['gt_img'][:1])).bool().expand(3, -1, -1)
            scores = {
                name: score_image(fake, standard[0], mask) for name, fake in zip(sample['branches'], standard[1:])
            }
            if self.lpips is not None:
                distances = self.lpips.to(standard.device)(standard[1:], standard[:1].expand_as(standard[1:]))
                for name, distance in zip(scores, distances):
                    scores[name]['LPIPS'] = distance.item()
            self.results.append(
                dict(
                    name=sample.get('target_path'),
                    scores=scores,
                    features={protocol: features(batch).cpu() for protocol, batch in protocols.items()},
                )
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Averages over the images, compares the sets, prints one table per protocol and returns the scores."""
        results = [result for result in results if result]
        if not results:
            print_log('There are no scores, because the data set has no target.', logger='current')
            return {}
        self.details = dict(samples=[dict(name=result['name'], scores=result['scores']) for result in results])
        names, metrics = list(results[0]['scores']), {}
        for protocol in results[0]['features']:
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
            print_log(f'{TITLES[protocol]}, {len(results)} images:\n{table}', logger='current')
        return dict(sorted(metrics.items(), key=lambda score: '/' in score[0]))  # save_best='auto' takes the first one


def frechet_distance(fake: Tensor, real: Tensor) -> float:
    """Computes the FID of two sets of features ``(N, D)`` with torch-fidelity."""
    statistics = fid_features_to_statistics(fake), fid_features_to_statistics(real)
    return fid_statistics_to_metric(*statistics, verbose=False)['frechet_inception_distance']


def kernel_distance(fake: Tensor, real: Tensor) -> float:
    """Computes the KID of two sets of features ``(N, D)`` with torch-fidelity.

    The estimate is unbiased, with a cubic kernel and one subset that contains all images.
    """
    options = dict(kid_subsets=1, kid_subset_size=len(fake), verbose=False)
    return kid_features_to_metric(fake, real, **options)['kernel_inception_distance_mean']


def to_bytes(image: Tensor) -> Tensor:
    """Converts an image ``(3, H, W)`` from [-1, 1] to uint8."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round().byte()


def as_drawn(image: Tensor) -> Tensor:
    """Stretches and draws an image with matplotlib, as the authors' code saves it.

    Args:
        image: any value range, ``(3, H, W)``.

    Returns:
        ``(3, 500, 500)`` uint8.
    """
    low, high = image.min(), image.max()
    stretched = (image - low) / (high - low).clamp(min=1e-12)
    figure = Figure(figsize=(5, 5), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(stretched.permute(1, 2, 0).cpu().float().numpy(), aspect='auto')
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy()).permute(2, 0, 1)


def score_image(fake: Tensor, real: Tensor, mask: Tensor) -> dict[str, float]:
    """Computes the scores of one image; L1 and RMSE are NaN, which the mean excludes, if no target pixel is known.

    Args:
        fake: generated image, ``(3, H, W)`` uint8.
        real: target image, ``(3, H, W)`` uint8.
        mask: True where the target is known, ``(3, H, W)``.
    """
    difference = (fake.double() - real.double())[mask] / 255
    images = [image.permute(1, 2, 0).cpu().numpy() for image in (fake, real)]
    return dict(
        L1=difference.abs().mean().item(),
        RMSE=difference.square().mean().sqrt().item(),
        PSNR=min(psnr(*images), 100.0),
        SSIM=ssim(*images),
    )
