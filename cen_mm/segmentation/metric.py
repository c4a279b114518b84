"""Mean IoU and accuracies of every branch and of the ensemble."""

from typing import Sequence

import numpy as np
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from prettytable import PrettyTable

from ..exchange import ENSEMBLE
from ..registry import METRICS
from .checks import IGNORE_INDEX


@METRICS.register_module()
class MultimodalIoUMetric(IoUMetric):
    """Computes mmseg's IoUMetric for each branch and for the ensemble.

    It prints one table per branch and one per class. The scores of the ensemble are named ``aAcc``, ``mAcc`` and
    ``mIoU`` (pixel accuracy, mean accuracy and mean IoU, in %), those of a branch ``rgb/mIoU`` and so on. A model with
    a single output has the scores of the ensemble only. Classes that are in neither the labels nor the predictions are
    excluded from the means. The predictions of the ensemble are written to ``output_dir``.

    Args:
        ignore_index: value of unlabeled pixels; LoadLabels sets them to 255, whatever the data set's ``ignore_index``.
        **kwargs: arguments of mmseg's IoUMetric.

    Raises:
        ValueError: for another ``ignore_index`` than 255.
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX, **kwargs):
        if ignore_index != IGNORE_INDEX:
            raise ValueError(
                f'ignore_index={ignore_index} of the metric, but LoadLabels sets unlabeled pixels to {IGNORE_INDEX}: '
                'remove ignore_index from the evaluators, and set it in the data set if its files use another value.'
            )
        super().__init__(ignore_index=ignore_index, **kwargs)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Computes the areas of intersection and union of every branch, for each image of the batch."""
        super().process(data_batch, data_samples)
        if self.format_only:
            return
        num_classes = len(self.dataset_meta['classes'])
        for i, sample in enumerate(data_samples, start=len(self.results) - len(data_samples)):
            predictions = sample['pred_sem_seg']
            areas = {ENSEMBLE: self.results[i]}
            for name in filter(predictions.__contains__, sample['modalities']):
                prediction = predictions[name]
                label = sample['gt_sem_seg']['data'].to(prediction)
                areas[name] = self.intersect_and_union(prediction, label, num_classes, self.ignore_index)
            self.results[i] = areas

    def compute_metrics(self, results: list[dict[str, tuple]]) -> dict[str, float]:
        """Sums the areas over all images, prints both tables and returns the scores, in %."""
        if self.format_only:
            return super().compute_metrics(results)
        names = [*(name for name in results[0] if name != ENSEMBLE), ENSEMBLE]
        scores = {}
        for name in names:
            areas = [sum(area) for area in zip(*(result[name] for result in results))]
            scores[name] = self.total_area_to_metrics(*areas, self.metrics, self.nan_to_num, self.beta)

        by_class = PrettyTable(['class', *(f'{key} {name}' for key in list(scores[ENSEMBLE])[1:] for name in names)])
        for i, label in enumerate(self.dataset_meta['classes']):
            keys = list(scores[ENSEMBLE])[1:]
            by_class.add_row([label, *(f'{100 * scores[name][key][i]:.2f}' for key in keys for name in names)])
        metrics, by_branch = {}, PrettyTable()
        for name in names:
            row = {
                key if key == 'aAcc' else f'm{key}': round(float(np.nanmean(value) * 100), 2)
                for key, value in scores[name].items()
            }
            by_branch.field_names = ['branch', *row]
            by_branch.add_row([name, *(f'{value:.2f}' for value in row.values())])
            metrics.update({key if name == ENSEMBLE else f'{name}/{key}': value for key, value in row.items()})
        print_log(f'per class results:\n{by_class}', logger='current')
        print_log(f'per branch results:\n{by_branch}', logger='current')
        return metrics
