"""Where the images of an evaluation are written."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

pytest.importorskip('mmagic')

from cen_mm.translation import ResultsHook

SCORES = {'L1': [0.5, 0.4, 0.6], 'SSIM': [0.1, 0.2, 0.3]}  # of three epochs


class Toy(BaseModel):
    """Its image has the value -1 + epoch, that is 0, 128 or 255 in a file."""

    def __init__(self):
        super().__init__()
        self.parameter, self.epoch = nn.Parameter(torch.ones(1)), -1

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            self.epoch += 1
            return dict(loss=self.parameter.sum())
        for sample in data_samples:
            sample.branches = dict(ensemble=torch.full_like(sample.gt_img, -1.0 + self.epoch))
        return data_samples


class Scores(BaseMetric):
    """Returns SCORES, epoch by epoch."""

    epoch = -1

    def process(self, data_batch, data_samples):
        self.results.append(None)

    def compute_metrics(self, results):
        self.epoch += 1
        return {name: scores[self.epoch] for name, scores in SCORES.items()}


@pytest.fixture
def run(tmp_path):
    """Returns a function that trains and evaluates three epochs on these images, and returns the folder of results."""
    init_default_scope('mmagic')

    def train(paths: list[str], save_best) -> Path:
        for i, path in enumerate(paths):
            for modality in ('rgb', 'reshading'):
                file = tmp_path / 'data' / modality / path
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), np.full((8, 8, 3), 10 * i, np.uint8))
        pipeline = [dict(type='cen_mm.LoadTaskonomyImages'), dict(type='cen_mm.PackTranslation')]
        dataset = dict(type='cen_mm.TaskonomyDataset', data_root=str(tmp_path / 'data'), inputs=['reshading'])
        loader = dict(batch_size=2, dataset=dict(dataset, pipeline=pipeline, serialize_data=False))
        loader['sampler'] = dict(type='DefaultSampler', shuffle=False)
        checkpoint = dict(type='CheckpointHook', save_best=save_best, rule=['less', 'greater'][: len(save_best)])
        Runner(
            model=Toy(),
            work_dir=str(tmp_path / 'work'),
            train_dataloader=loader,
            val_dataloader=loader,
            val_evaluator=Evaluator(Scores()),
            train_cfg=dict(by_epoch=True, max_epochs=3),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
            default_hooks=dict(checkpoint=checkpoint),
            custom_hooks=[ResultsHook()],
            default_scope='mmagic',
            experiment_name=tmp_path.name,
        ).train()
        (results,) = tmp_path.glob('work/*/results')
        return results

    return train


@pytest.mark.parametrize(
    'paths', [['0.png', '1.png'], ['a/0.png', 'b/0.png'], ['0.png', 'a/b/0.png']], ids=['flat', 'two', 'nested']
)
def test_images_have_the_subfolders_of_the_target(run, paths):
    """So files of the same name do not overwrite each other."""
    results = run(paths, ['L1'])
    for folder in ('fake0', 'real', 'input0', 'strips', 'best/fake0'):
        found = {path.relative_to(results / folder).as_posix() for path in (results / folder).rglob('*.png')}
        assert found == set(paths)
    for i, path in enumerate(paths):
        assert (cv2.imread(str(results / 'real' / path)) == 10 * i).all()


def test_the_images_of_every_best_score_are_kept(run):
    results = run(['0.png'], ['L1', 'SSIM'])
    values = {folder: cv2.imread(str(results / folder / 'fake0/0.png')).max() for folder in ('best_L1', 'best_SSIM')}
    assert values == {'best_L1': 128, 'best_SSIM': 255}  # of the second and the third epoch
