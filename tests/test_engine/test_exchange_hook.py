import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
import torch
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn

from cen_mm.checkpoint import read_checkpoint
from cen_mm.engine.exchange_hook import HISTORY, ExchangeHook
from cen_mm.exchange import ExchangeNorm


class Toy(BaseModel):
    """Model with two exchanging layers with the given scales, and an unused one. The loss does not depend on them."""

    def __init__(self, scales: list[list[list[float]]]):
        super().__init__()
        self.first, self.second = (ExchangeNorm(nn.BatchNorm2d(4), ['rgb', 'depth'], 0.1) for _ in range(2))
        for layer, rows in zip((self.first, self.second), scales):
            for norm, row in zip(layer.norms, rows):
                norm.weight.data = torch.tensor(row)
        self.unused = ExchangeNorm(nn.BatchNorm2d(4), ['rgb', 'depth'], 9.0)
        self.unused.unused = True  # never applied, so it is not counted
        self.parameter = nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return dict(loss=self.parameter.sum())


def run(work_dir, scales, epochs=2, **options) -> Runner:
    runner = Runner(
        model=Toy(scales),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=1,
            dataset=[dict(inputs=torch.zeros(1))] * 3,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        default_hooks=dict(checkpoint=dict(type='cen_mm.CheckpointHook', interval=1)),
        custom_hooks=[dict(type='cen_mm.ExchangeHook')],
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        default_scope='mmengine',
        experiment_name=f'{work_dir.parent.name}_{epochs}',
        **options,
    )
    runner.train()
    return runner


def test_warns_at_the_start_if_most_channels_are_replaced(tmp_path):
    log = read_log(run(tmp_path / 'work', [[[0.0, 0, 0, 1]] * 2] * 2, epochs=1))
    assert '75% of the channels in the exchanging layers are below the threshold before the first' in log


@pytest.mark.parametrize('find_unused_parameters', [False, True])
@pytest.mark.parametrize(
    'option', [dict(modality_dropout=0.5), dict(available_modalities=('rgb',))], ids=lambda option: next(iter(option))
)
def test_missing_modalities_in_several_processes_need_unused_parameters(option, find_unused_parameters):
    model = Toy([[[1.0] * 4] * 2] * 2)
    model.modalities = model.available_modalities = ('rgb', 'depth')
    vars(model).update(option)
    torch.distributed.init_process_group('gloo', store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        model = MMDistributedDataParallel(model, find_unused_parameters=find_unused_parameters)
        expected = nullcontext()
        if not find_unused_parameters:
            expected = pytest.raises(
                ValueError, match=f'model.{next(iter(option))} .* set find_unused_parameters=True'
            )
        with expected:
            ExchangeHook().before_train(SimpleNamespace(model=model, iter=0))
    finally:
        torch.distributed.destroy_process_group()


def read_log(runner: Runner) -> str:
    return next(Path(runner.log_dir).glob('*.log')).read_text()


SOME = [[[1.0, 0, 1, 1], [1.0, 1, 1, 1]], [[0.0, 0, 1, 1], [1.0, 1, 0.05, -0.05]]]
NONE = [[[1.0, 1, 1, 1]] * 2] * 2
ALL = [[[0.0, 1, 1, 1]] * 2, NONE[0]]


def test_shares_are_logged_saved_and_plotted(tmp_path):
    work_dir = tmp_path / 'work'
    run(work_dir, SOME)
    runner = run(work_dir, SOME, epochs=3, resume=True)
    rows = [json.loads(line) for path in work_dir.glob('*/vis_data/scalars.json') for line in path.open()]
    rows = {row['step']: row for row in rows if 'exchange/rgb' in row}
    assert sorted(rows) == [3, 6, 9]
    for row in rows.values():
        assert row['exchange/first/rgb'] == 0.25
        assert row['exchange/first/depth'] == 0
        assert row['exchange/second/rgb'] == row['exchange/second/depth'] == 0.5
        assert row['exchange/rgb'] == 0.375
        assert row['exchange/depth'] == 0.25
    log = read_log(runner)
    assert 'Channels below the threshold, rgb: 37.5 % (first 25.0, second 50.0)' in log
    assert 'WARNING - ' not in log.split('Channels below')[1]
    assert runner.message_hub.get_info(HISTORY)['steps'] == [3, 6, 9]  # a resumed run has the history of the first run
    assert cv2.imread(str(work_dir / 'exchange.png')).size > 0


def test_history_starts_again_with_other_layers(tmp_path):
    run(tmp_path / 'work', SOME)
    file = tmp_path / 'work/epoch_2.pth'
    checkpoint = read_checkpoint(file)
    checkpoint['message_hub']['runtime_info'][HISTORY]['layers'] = ['other', 'second']
    torch.save(checkpoint, file)
    history = run(tmp_path / 'work', SOME, epochs=3, resume=True).message_hub.get_info(HISTORY)
    assert history['layers'] == ['first', 'second']
    assert history['steps'] == [9]


@pytest.mark.parametrize(
    ('scales', 'message'),
    [
        (NONE, 'No channel is replaced after 6 of 9 iterations'),
        (ALL, 'below the threshold in every modality are replaced by each other: 1 in first. '),
    ],
)
def test_warns_once_and_says_what_to_change(tmp_path, scales, message):
    log = read_log(run(tmp_path / 'work', scales, epochs=3))
    assert log.count(message) == 1
    assert 'sparsity.' in log.split(message)[1].split('\n')[0]
