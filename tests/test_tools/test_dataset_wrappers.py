"""Every tool reads the data sets inside of mmengine's wrappers as it reads a data set without them."""

from pathlib import Path

import cv2
import pytest
import torch
from mmengine.registry import MODELS

CONFIG = Path(__file__).parents[2] / 'configs/cen_refinenet_r18_rooms.py'
PLAIN = f"""
_base_ = {str(CONFIG)!r}
model = dict(
    backbone=dict(base_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128], channels=16, top_channels=16),
    decode_head=dict(in_channels=16, num_classes=40),
)
loader = dict(batch_size=2, num_workers=0, persistent_workers=False)
pipeline = _base_.train_dataloader.dataset.pipeline
pipeline[3].crop_size = (64, 64)
train_cfg = dict(max_epochs=1, val_interval=1)
train_dataloader = dict(loader, dataset=dict(metainfo=None, pipeline=pipeline))
val_dataloader = test_dataloader = dict(loader, dataset=dict(metainfo=None))
for each in (train_dataloader, val_dataloader):
    each['dataset']['data_root'] = 'nyudv2'
"""
WRAPPED = """
_base_ = 'plain.py'
train, val = _base_.train_dataloader.dataset, _base_.val_dataloader.dataset
halves = [dict(train, indices=[0, 1]), dict(train, indices=[2, 3])]
concat = dict(_delete_=True, type='ConcatDataset', datasets=[dict(val, indices=[0]), dict(val, indices=[1])])
train_dataloader = dict(
    dataset=dict(_delete_=True, type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=halves))
)
val_dataloader = test_dataloader = dict(dataset=concat)
"""


@pytest.fixture
def configs(made_nyudv2, config, monkeypatch) -> tuple[str, str]:
    """A config without wrappers and one with them, and a checkpoint of random weights."""
    monkeypatch.chdir(made_nyudv2.parent)
    for name, text in (('plain.py', PLAIN), ('wrapped.py', WRAPPED)):
        Path(name).write_text(text)
    torch.save(dict(state_dict=MODELS.build(config(Path('plain.py').absolute()).model).state_dict()), 'model.pth')
    return 'plain.py', 'wrapped.py'


def test_statistics_and_check(run_tool, configs):
    plain, wrapped = (run_tool('dataset_converters/modality_statistics.py', cfg, '--workers', 0) for cfg in configs)
    assert '4 samples' in plain
    assert wrapped.partition('4 samples')[2] == plain.partition('4 samples')[2] != ''
    output = run_tool('dataset_converters/check_dataset.py', 'wrapped.py', '--workers', 2)
    assert 'train: 2 samples\ntrain 2: 2 samples\nval: 1 samples\nval 2: 1 samples\n' in output
    assert 'test: the same files as above\ntest 2: the same files as above\n' in output
    training = 'val_dataloader.dataset.datasets.1.ann_file=train.txt'
    output = run_tool('dataset_converters/check_dataset.py', 'wrapped.py', '--cfg-options', training, fails=True)
    assert 'rgb/000001.png, required by nyudv2/train.txt, line 2, is also required by' in output


def test_training_and_testing(run_tool, configs):
    output = run_tool('train.py', 'wrapped.py')
    assert 'training on 8 samples' in output
    for options in ([], ['--available-modalities', 'depth'], ['--tta']):
        for cfg in configs:
            run_tool('test.py', cfg, 'model.pth', '--out', cfg[:-3], *options)
        pictures = [cv2.imread(f'{cfg[:-3]}/00000{i}.png', cv2.IMREAD_UNCHANGED) for cfg in configs for i in (4, 5)]
        assert (pictures[0] == pictures[2]).all()
        assert (pictures[1] == pictures[3]).all()
    run_tool('demo.py', 'wrapped.py', 'model.pth', '--rgb', 'nyudv2/rgb', '--depth', 'nyudv2/depth')
    assert len(list(Path('out/pred/ensemble').iterdir())) == 6
