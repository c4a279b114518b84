"""Distances to the target, of every branch and the ensemble."""

from typing import Sequence

import numpy as np
from mmagic.evaluation.metrics.psnr import psnr
from mmagic.evaluation.metrics.ssim import ssim
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from prettytable import PrettyTable
from torch import Tensor

from ..exchange import ENSEMBLE
from ..registry import METRICS


@METRICS.register_module()
class TranslationMetric(BaseMetric):
    """L1, RMSE, PSNR and SSIM of 8-bit images, without any stretch; L1 and RMSE of values in [0, 1].

    The ensemble's scores are ``L1``, ``RMSE``, ``PSNR``, ``SSIM``, those of a branch ``reshading/L1`` and so on: the
    mean over the images. PSNR (dB) and SSIM are MMagic's.
    """

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps the scores of every branch of each image."""
        for sample in data_samples:
            real = to_bytes(sample['gt_img'])
            self.results.append({name: _scores(to_bytes(fake), real) for name, fake in sample['branches'].items()})

    def compute_metrics(self, results: list[dict[str, dict[str, float]]]) -> dict[str, float]:
        """Averages over the images, prints the table and returns the scores."""
        metrics, table = {}, PrettyTable()
        for name in results[0]:
            row = {key: float(np.mean([result[name][key] for result in results])) for key in results[0][name]}
            table.field_names = ['branch', *row]
            table.add_row([name, *(f'{value:.4f}' for value in row.values())])
            metrics.update({key if name == ENSEMBLE else f'{name}/{key}': value for key, value in row.items()})
        print_log(f'8-bit images, not stretched:\n{table}', logger='current')
        return metrics


def to_bytes(image: Tensor) -> np.ndarray:
    """``(3, H, W)`` in [-1, 1] to ``(H, W, 3)`` uint8."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()


def _scores(fake: np.ndarray, real: np.ndarray) -> dict[str, float]:
    difference = (fake.astype(float) - real) / 255
    return dict(
        L1=np.abs(difference).mean(),
        RMSE=np.sqrt((difference**2).mean()),
        PSNR=psnr(fake, real),
        SSIM=ssim(fake, real),
    )
