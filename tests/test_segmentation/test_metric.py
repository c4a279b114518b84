import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from PIL import Image

from cen_mm.segmentation import MultimodalIoUMetric


def confusion_by_hand(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts the pixels of each pair of label (rows) and prediction (columns)."""
    valid = labels != 255
    confusion = np.zeros((num_classes, num_classes))
    np.add.at(confusion, (labels[valid], predictions[valid]), 1)
    return confusion


def scores_by_hand(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> tuple[float, float, float]:
    """Computes pixel accuracy, mean accuracy and mean IoU, in %, from a confusion matrix."""
    confusion = confusion_by_hand(predictions, labels, num_classes)
    correct, labeled, both = confusion.diagonal(), confusion.sum(1), confusion.sum(0) + confusion.sum(1)
    with np.errstate(invalid='ignore'):
        accuracy, iou = correct / labeled, correct / (both - correct)
    return 100 * correct.sum() / confusion.sum(), 100 * np.nanmean(accuracy), 100 * np.nanmean(iou)


def test_model_with_one_output():
    MMLogger.get_instance('test_metric')
    label = torch.zeros(1, 4, 4, dtype=torch.long)
    metric = MultimodalIoUMetric()
    metric.dataset_meta = dict(classes=['a'])
    sample = dict(modalities=('rgb', 'depth'), gt_sem_seg=dict(data=label), pred_sem_seg=dict(data=label))
    metric.process({}, [sample])
    assert metric.evaluate(1) == dict(aAcc=100, mIoU=100, mAcc=100)


def test_samples_of_the_same_name_and_samples_without_label(tmp_path):
    MMLogger.get_instance('test_metric')
    metric = MultimodalIoUMetric(output_dir=str(tmp_path / 'out'), format_only=True)
    metric.dataset_meta, metric.root = dict(classes=['a', 'b']), str(tmp_path)
    for i, folder in enumerate(('day', 'night')):
        prediction = dict(data=torch.full((1, 4, 4), i))
        sample = dict(img_path=f'{tmp_path}/{folder}/1.jpg', modalities=('rgb', 'depth'), pred_sem_seg=prediction)
        metric.process({}, [sample])
        assert (np.array(Image.open(tmp_path / f'out/{folder}/1.png')) == i).all()
    assert metric.evaluate(2) == {}
    with pytest.raises(ValueError, match=r'night/1.jpg has no label: set label in the data set or, to write predic'):
        MultimodalIoUMetric().process({}, [sample])


def test_scores_of_every_branch_match_a_confusion_matrix(tmp_path):
    MMLogger.get_instance('test_metric')
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (3, 1, 20, 30))
    labels[rng.random(labels.shape) < 0.1] = 255
    labels[2] = 255  # an image without labels has no scores
    predictions = {name: rng.integers(0, 4, labels.shape) for name in ('data', 'rgb', 'depth')}
    metric = MultimodalIoUMetric(output_dir=str(tmp_path))
    metric.dataset_meta = dict(classes=list('abcde'))
    for i in range(3):
        sample = dict(
            img_path=f'{i}.png',
            modalities=('rgb', 'depth'),
            gt_sem_seg=dict(data=torch.from_numpy(labels[i])),
            pred_sem_seg={name: torch.from_numpy(p[i]) for name, p in predictions.items()},
        )
        metric.process({}, [sample])
    scores = metric.evaluate(3)
    assert next(iter(scores)) == 'aAcc'  # of the ensemble; save_best='auto' takes the first score
    assert len(scores) == 9
    for name, prefix in (('data', ''), ('rgb', 'rgb/'), ('depth', 'depth/')):
        want = scores_by_hand(predictions[name], labels, 5)
        got = [scores[prefix + key] for key in ('aAcc', 'mAcc', 'mIoU')]
        assert got == pytest.approx(want, abs=0.006)
    assert np.array_equal(np.array(Image.open(tmp_path / '1.png')), predictions['data'][1, 0])

    details = metric.details
    assert np.array_equal(details['confusion'], confusion_by_hand(predictions['data'], labels, 5))
    assert [sample['name'] for sample in details['samples']] == ['0.png', '1.png']
    for i, sample in enumerate(details['samples']):
        for name, branch in (('data', 'ensemble'), ('rgb', 'rgb'), ('depth', 'depth')):
            want = scores_by_hand(predictions[name][i], labels[i], 5)
            assert [sample['scores'][branch][key] for key in ('aAcc', 'mAcc', 'mIoU')] == pytest.approx(
                want, abs=0.006
            )
    iou = details['by_class']['depth']['IoU']
    assert np.isnan(iou[4])
    assert np.mean(iou[:4]) == pytest.approx(scores['depth/mIoU'], abs=0.006)
