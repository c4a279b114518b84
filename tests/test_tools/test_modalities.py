"""Tests of train.py and test.py with three and four modalities, and with missing modalities."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from cen_mm.exchange import ExchangeNorm

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/cen_refinenet_r18_rooms.py'
SMALL = [
    'model.backbone.base_channels=16', 'model.neck.in_channels=[16,32,64,128]', 'model.neck.channels=16',
    'model.neck.top_channels=16', 'model.decode_head.in_channels=16', 'model.decode_head.num_classes=40',
    *(f'{loader}_dataloader.{key}' for loader in ('train', 'val', 'test') for key in
      ('num_workers=0', 'persistent_workers=False', 'batch_size=2', 'dataset.metainfo=None')),
    'train_dataloader.dataset.pipeline.3.crop_size=(64,64)',  # the images have 72x96 pixels
]  # fmt: skip


@pytest.fixture
def data(made_nyudv2):
    """Returns the small data set with additional folders of surface normals and shading."""
    for name in ('normal', 'reshading'):
        (made_nyudv2 / name).mkdir()
        for path in (made_nyudv2 / 'rgb').iterdir():
            cv2.imwrite(str(made_nyudv2 / name / path.name), 255 - cv2.imread(str(path)))
    return made_nyudv2


@pytest.fixture
def run(run_tool, data, tmp_path):
    """Returns a function that runs a tool with a small model on the data set and returns its output."""

    def run_on_data(tool: str, *args, options=(), **kwargs) -> str:
        roots = [f'{loader}_dataloader.dataset.data_root={data}' for loader in ('train', 'val', 'test')]
        return run_tool(
            tool, *args, '--work-dir', tmp_path / 'work', '--cfg-options', *SMALL, *roots, *options, **kwargs
        )

    return run_on_data


@pytest.fixture
def small_model(config):
    cfg = config(CONFIG)
    cfg.merge_from_dict({k: eval(v) for k, v in (option.split('=') for option in SMALL) if k.startswith('model')})
    return MODELS.build(cfg.model)


def read_last_scores(work_dir: Path) -> dict:
    return json.loads(max(work_dir.glob('*/2*.json'), key=lambda path: path.stat().st_mtime_ns).read_text())


@pytest.mark.parametrize('added', [['normal'], ['normal', 'reshading']], ids=['three', 'four'])
def test_three_and_four_modalities_train_test_and_draw(run, tmp_path, small_model, added):
    """From the weights of a model of two modalities."""
    names = ['rgb', 'depth', *added]
    child, work_dir = CONFIG.with_name(f'{CONFIG.stem}_{"-".join(names)}.py'), tmp_path / 'work'
    for module in small_model.modules():
        if isinstance(module, ExchangeNorm):
            module.keep_partial_statistics()  # as after training with modality_dropout, which this run does not use
    two = dict(state_dict=small_model.state_dict(), meta=dict(modalities=['rgb', 'depth']))
    torch.save(two, tmp_path / 'two.pth')
    options = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=5']
    said = run('train.py', child, '--amp', options=[*options, f'load_from={tmp_path / "two.pth"}'])
    assert not any(text in said for text in ('size mismatch', 'missing keys', 'unexpected key'))
    assert 'two.pth is of a model of rgb, depth, but the config has rgb, depth, normal' in run(
        'test.py', child, tmp_path / 'two.pth', fails=True
    )
    trained = torch.load(work_dir / 'epoch_1.pth')
    assert trained['meta']['iter'] == 2
    assert not any('partial' in key for key in trained['state_dict'])
    run('test.py', child, work_dir / 'epoch_1.pth', '--show-dir', tmp_path / 'shown')
    assert {'mIoU', *(f'{name}/mIoU' for name in names)} <= set(read_last_scores(work_dir))
    images = [cv2.imread(str(path)) for path in (tmp_path / 'shown').rglob('*.png')]
    assert len(images) == 2
    columns = len(names) + 1  # first row: modalities and label; second row: branches and ensemble
    for image in images:
        width = image.shape[1] // columns
        tiles = image[24:].reshape(-1, columns, width, 3)[: 2 * (width * 72 // 96)]
        assert all(np.ptp(tiles[:, column]) > 50 for column in range(columns))


def test_missing_modality_gives_the_scores_of_the_branch_without_exchange(run, data, tmp_path, small_model):
    """With one available modality nothing is exchanged, and the files of the missing one are not read."""
    model = small_model
    for name, tensor in model.state_dict().items():
        if '.norms.' in name and tensor.is_floating_point():
            tensor.uniform_(0.01, 0.03) if '.bn1.' in name and name.endswith('weight') else tensor.uniform_(0.5, 1.5)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    test = ('test.py', CONFIG, tmp_path / 'model.pth')

    run(*test, options=['model.backbone.exchange=None'])
    expected = read_last_scores(tmp_path / 'work')
    assert expected['rgb/aAcc'] != expected['depth/aAcc']
    folders = {name: data / name for name in ('rgb', 'depth')}
    for available, missing in (('rgb', 'depth'), ('depth', 'rgb')):
        moved = shutil.move(folders[missing], tmp_path / missing)
        shown = tmp_path / f'shown_{available}'
        run(*test, '--show-dir', shown, '--out', tmp_path / 'out', '--available-modalities', available)
        shutil.move(moved, folders[missing])
        scores = read_last_scores(tmp_path / 'work')
        for key in ('aAcc', 'mAcc', 'mIoU'):
            assert scores[key] == scores[f'{available}/{key}'] == expected[f'{available}/{key}']
            assert f'{missing}/{key}' not in scores
        assert len(list(shown.rglob('*.png'))) == len(list((tmp_path / 'out').iterdir())) == 2
    shutil.rmtree(folders['rgb'])
    assert '|  depth   |' in run(*test, '--tta', '--available-modalities', 'depth')


def test_two_processes_train_with_modality_dropout(run, tmp_path):
    """The norms of a dropped modality get no gradient in either process, although their seeds differ."""
    options = ['model_wrapper_cfg.device_ids=None', 'train_cfg.max_epochs=2', 'train_cfg.val_interval=5']
    options += ['randomness.diff_rank_seed=True', 'model.modality_dropout=1.0']
    dropout = CONFIG.with_name('cen_refinenet_r18_rooms_dropout.py')
    run('dist_train.sh', dropout, 2, options=options)
    rows = [json.loads(line) for path in tmp_path.rglob('scalars.json') for line in path.read_text().splitlines()]
    assert any('ensemble.loss_ce' in row and row['loss'] > 0 for row in rows)
    assert torch.load(tmp_path / 'work/epoch_2.pth')['meta']['iter'] == 2
