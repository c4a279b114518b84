"""Mean IoU and accuracies of every branch and of the ensemble."""

import os.path as osp
from typing import Optional, Sequence

import numpy as np
from mmengine.logging import print_log
from mmengine.utils import mkdir_or_exist
from mmseg.evaluation import IoUMetric
from prettytable import PrettyTable
from torch import Tensor

from ..exchange import ENSEMBLE
from ..registry import METRICS
from .checks import IGNORE_INDEX


@METRICS.register_module()
class MultimodalIoUMetric(IoUMetric):
    """Computes mmseg's IoUMetric for each branch and for the ensemble.

    It prints one table per branch and one per class. The scores of the ensemble are named ``aAcc``, ``mAcc`` and
    ``mIoU`` (pixel accuracy, mean accuracy and mean IoU, in %), those of a branch ``rgb/mIoU`` and so on. A model with
    a single output has the scores of the ensemble only. Classes that are in neither the labels nor the predictions are
    excluded from the means. The predictions of the ensemble are written to ``output_dir``; if the attribute ``root``,
    a folder that contains all images, is set, into the same subfolders.

    After an evaluation, the attribute ``details`` holds what tools/analysis_tools/report.py shows beyond the scores:
    the names of the ``classes``; the scores of every branch ``by_class``; the ``confusion`` matrix of the ensemble
    (pixels, rows are labels, columns are predictions); the scores of every branch for each of the ``samples``.

    Args:
        ignore_index: value of unlabeled pixels; LoadLabels sets them to 255, whatever the data set's ``ignore_index``.
        **kwargs: arguments of mmseg's IoUMetric.

    Raises:
        ValueError: for another ``ignore_index`` than 255, or a sample without label unless ``format_only`` is True.
    """

    details: Optional[dict] = None
    root = ''

    def __init__(self, ignore_index: int = IGNORE_INDEX, **kwargs):
        if ignore_index != IGNORE_INDEX:
            raise ValueError(
                f'ignore_index={ignore_index} of the metric, but LoadLabels sets unlabeled pixels to {IGNORE_INDEX}: '
                'remove ignore_index from the evaluators, and set it in the data set if its files use another value.'
            )
        super().__init__(ignore_index=ignore_index, **kwargs)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Counts the pixels of every pair of classes, for each branch and image of the batch."""
        unlabeled = [sample.get('img_path') for sample in data_samples if 'gt_sem_seg' not in sample]
        if unlabeled and not self.format_only:
            raise ValueError(
                f'{unlabeled[0]} has no label: set label in the data set or, to write predictions without scores, '
                'format_only=True and output_dir in the evaluator (test.py --out DIR does it if label is None).'
            )
        out = self.output_dir
        for sample in data_samples:
            if out and self.root:
                self.output_dir = osp.join(out, osp.relpath(osp.dirname(sample['img_path']), self.root))
                mkdir_or_exist(self.output_dir)
            super().process(data_batch, [sample])
        self.output_dir = out
        if self.format_only:
            return
        num_classes = len(self.dataset_meta['classes'])
        for i, sample in enumerate(data_samples, start=len(self.results) - len(data_samples)):
            predictions = sample['pred_sem_seg']
            label = sample['gt_sem_seg']['data'].to(predictions['data'])
            confusion = {
                name: self.intersect_and_union(predictions[name], label, num_classes, self.ignore_index)
                for name in filter(predictions.__contains__, sample['modalities'])
            }
            self.results[i] = dict(name=sample.get('img_path'), confusion={**confusion, ENSEMBLE: self.results[i]})

    @staticmethod
    def intersect_and_union(pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int) -> Tensor:
        """Counts the pixels of each pair of label and prediction, sparse ``(K, K)``: an image has few of the pairs.

        mmseg computes areas here, by a histogram that has no deterministic form on a GPU.
        """
        labeled = (label != ignore_index) & (label < num_classes)
        pairs = label[labeled].long() * num_classes + pred_label[labeled].long()  # floats if a head has one channel
        return pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes).cpu().to_sparse()

    def _scores(self, confusion: Tensor) -> dict[str, np.ndarray]:
        """Computes mmseg's scores of every class and the pixel accuracy, from 0 to 1."""
        pixels = confusion.to_dense().double()
        intersection, predicted, labeled = pixels.diagonal(), pixels.sum(0), pixels.sum(1)
        areas = intersection, predicted + labeled - intersection, predicted, labeled
        return self.total_area_to_metrics(*areas, self.metrics, self.nan_to_num, self.beta)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Sums the areas over all images, prints both tables and returns the scores, in %."""
        if self.format_only:
            return super().compute_metrics(results)
        names = list(results[0]['confusion'])  # the ensemble is last
        total = {
            name: sum((result['confusion'][name] for result in results[1:]), results[0]['confusion'][name].to_dense())
            for name in names
        }
        scores = {name: self._scores(confusion) for name, confusion in total.items()}
        by_class = PrettyTable(['class', *(f'{key} {name}' for key in list(scores[ENSEMBLE])[1:] for name in names)])
        for i, label in enumerate(self.dataset_meta['classes']):
            keys = list(scores[ENSEMBLE])[1:]
            by_class.add_row([label, *(f'{100 * scores[name][key][i]:.2f}' for key in keys for name in names)])
        metrics, by_branch = {}, PrettyTable()
        for name in names:
            row = _means(scores[name])
            by_branch.field_names = ['branch', *row]
            by_branch.add_row([name, *(f'{value:.2f}' for value in row.values())])
            metrics.update({key if name == ENSEMBLE else f'{name}/{key}': value for key, value in row.items()})
        print_log(f'per class results:\n{by_class}', logger='current')
        print_log(f'per branch results:\n{by_branch}', logger='current')
        self.details = dict(
            classes=list(self.dataset_meta['classes']),
            by_class={
                name: {key: (100 * value).tolist() for key, value in scores[name].items() if key != 'aAcc'}
                for name in names
            },
            confusion=total[ENSEMBLE].tolist(),
            samples=[
                dict(
                    name=result['name'],
                    scores={name: _means(self._scores(result['confusion'][name])) for name in names},
                )
                for result in results
                if result['confusion'][ENSEMBLE].sum()  # an image without labels has no scores
            ],
        )
        return dict(sorted(metrics.items(), key=lambda score: '/' in score[0]))  # save_best='auto' takes the first one


def _means(scores: dict[str, np.ndarray]) -> dict[str, float]:
    """Averages the scores over the classes and names them as mmseg does, in %."""
    return {
        key if key == 'aAcc' else f'm{key}': round(float(np.nanmean(value) * 100), 2) for key, value in scores.items()
    }
