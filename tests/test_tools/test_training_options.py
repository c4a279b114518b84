"""Options of mmengine's training that users set in a config, and mmseg's tools that work unchanged. Each runs once."""

import json
import runpy
import sys
from pathlib import Path

import cv2
import pytest
import torch

ROOT = Path(__file__).parents[2]
CONFIG = f"""
_base_ = '{ROOT}/configs/cen_refinenet_r18_nyudv2.py'
model = dict(
    backbone=dict(init_cfg=None, base_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128], channels=8, top_channels=8),
    decode_head=dict(in_channels=8),
)
train_dataloader = val_dataloader = test_dataloader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(train_dataloader, batch_size=2)
"""


@pytest.fixture
def train(run_tool, made_nyudv2, tmp_path, monkeypatch):
    """Returns a function that trains a small network with the given lines added to the config."""
    monkeypatch.setenv('CEN_MM_NYUDV2', str(made_nyudv2))

    def run(lines: str, *args, work_dir: str = 'work') -> tuple[str, Path]:
        (tmp_path / 'config.py').write_text(CONFIG + lines)
        log = run_tool('train.py', tmp_path / 'config.py', '--work-dir', tmp_path / work_dir, *args)
        return log, tmp_path / work_dir

    return run


def test_ema_accumulation_and_tensorboard(train):
    """The averaged weights are between the initial and the final ones; 2 x 2 images are one step of the optimizer."""
    _, work_dir = train("""
train_cfg = dict(max_epochs=2, val_interval=2)
custom_hooks = [dict(type='EMAHook', momentum=0.5)]
optim_wrapper = dict(accumulative_counts=2)
""")
    checkpoint = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    key = 'decode_head.conv_seg.weight'
    assert not torch.equal(checkpoint['state_dict'][key], checkpoint['ema_state_dict'][f'module.{key}'])
    assert {int(state['step']) for state in checkpoint['optimizer']['state'].values()} == {2}  # of 4 iterations
    assert list(work_dir.rglob('events.out.tfevents*'))


def test_early_stopping(train):
    log, work_dir = train("""
train_cfg = dict(max_epochs=5, val_interval=1)
custom_hooks = [dict(type='EarlyStoppingHook', monitor='mIoU', patience=1, min_delta=100.0)]
""")
    assert 'the monitored metric did not improve in the last 1 records' in log
    assert not (work_dir / 'epoch_5.pth').exists()


def test_iteration_based_training_and_resuming_with_another_batch_size(train):
    lines = """
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=ITERS, val_interval=2)
param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=4, by_epoch=False)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2))
log_processor = dict(by_epoch=False)
"""
    _, work_dir = train(lines.replace('ITERS', '2'))
    assert (work_dir / 'iter_2.pth').exists()
    changes = 'train_dataloader = dict(train_dataloader, batch_size=4)\noptim_wrapper = dict(optimizer=dict(lr=1e-5))'
    log, _ = train(lines.replace('ITERS', '4') + changes, '--resume')
    assert 'resumed' in log
    assert 'The run continues with the learning rates and the schedule in' in log
    assert torch.load(work_dir / 'iter_4.pth', weights_only=True)['meta']['iter'] == 4


def test_weights_and_biases_offline(train, monkeypatch):
    pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    _, work_dir = train("""
train_cfg = dict(max_epochs=1, val_interval=5)
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='WandbVisBackend')])
""")
    assert list(work_dir.rglob('run-*.wandb'))


def test_tools_of_mmseg_for_confusion_matrix_and_logs(train, run_tool, tmp_path, monkeypatch):
    """mmseg's own commands work on our configs, predictions and logs."""
    import mmseg

    metrics = "test_evaluator = [dict(type='cen_mm.MultimodalIoUMetric', iou_metrics=['mIoU'])]\n"
    _, work_dir = train('train_cfg = dict(max_epochs=2, val_interval=1)\n' + metrics)
    test = ('test.py', tmp_path / 'config.py', work_dir / 'epoch_2.pth')
    run_tool(*test, '--out', tmp_path / 'out', '--work-dir', tmp_path / 'test')
    other = ('--show-dir', tmp_path / 'shown', '--cfg-options', 'visualizer.type=SegLocalVisualizer')
    said = run_tool(*test, *other, fails=True)
    assert said.splitlines()[-1].startswith(
        'The visualizer is SegLocalVisualizer, which cannot draw several modalities'
    )
    run_tool(*test, '--out', tmp_path / 'same', '--cfg-options', 'test_dataloader.dataset.label=None')
    (path, *_), (same, *_) = (sorted((tmp_path / name).iterdir()) for name in ('out', 'same'))
    assert (path.name, path.read_bytes()) == (same.name, same.read_bytes())
    said = run_tool(*test, '--cfg-options', 'test_dataloader.dataset.label=None', fails=True)
    assert 'has no label: set label in the data set or, to write predictions without scores' in said.splitlines()[-1]
    tools = Path(mmseg.__file__).parent / '.mim/tools/analysis_tools'
    arguments = [str(tools / 'confusion_matrix.py'), str(tmp_path / 'config.py'), str(tmp_path / 'out'), str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', arguments)
    monkeypatch.setattr('matplotlib.pyplot.savefig', lambda path, **_: Path(path).touch())  # 80x64 inches at 300 dpi
    runpy.run_path(arguments[0], run_name='__main__')
    assert (tmp_path / 'confusion_matrix.png').exists()
    (log,) = work_dir.glob('*/vis_data/2*.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line['mIoU'] for line in lines if 'mIoU' in line]
    pytest.importorskip('seaborn')
    monkeypatch.undo()
    curve = tmp_path / 'curve.png'
    monkeypatch.setattr(sys, 'argv', ['analyze_logs.py', str(log), '--keys', 'loss', '--out', str(curve)])
    runpy.run_path(str(tools / 'analyze_logs.py'), run_name='__main__')
    assert cv2.imread(str(curve)).size > 0
