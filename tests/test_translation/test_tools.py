"""The translation configs build, and the tools train and test on a small set of rendered rooms."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.utils import get_installed_path

pytest.importorskip('mmagic')

ROOT = Path(__file__).parents[2]
BRANCHES = ('reshading', 'edge_texture', 'ensemble')
FOLDERS = ('cen_unet_*.py', 'ablation/normal/*.py', 'ablation/rgb/*.py', 'ablation/shade/*.py')
CONFIGS = [path for pattern in FOLDERS for path in sorted((ROOT / 'configs').glob(pattern))]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_config_builds(path, tmp_path):
    cfg = Config.fromfile(path)
    init_default_scope('mmagic')
    model = MODELS.build(cfg.model).eval()
    modalities, side = cfg.model.modalities, cfg.crop_size[0]
    with torch.no_grad():
        branches = model.branches(torch.zeros(1, 3 * len(model.modalities), side, side))
    assert list(branches) == [*modalities, 'ensemble']
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert list(loader.dataset.inputs) == modalities
        assert loader.dataset.target == cfg.train_dataloader.dataset.target
        with pytest.raises(FileNotFoundError, match='The list .* does not exist'):
            DATASETS.build(dict(loader.dataset, data_root=str(tmp_path)))


def test_train_and_test(run_tool, rooms, tmp_path):
    rooms = shutil.copytree(rooms, tmp_path / 'rooms')
    config = ROOT / 'configs/cen_unet_shade-texture2rgb_rooms.py'
    work_dir = tmp_path / config.stem / 'seed_0'
    options = ['--work-dir', work_dir, '--cfg-options', 'model.generator.base_channels=4', 'train_cfg.val_interval=2']
    for name in ('train', 'val', 'test'):
        dataset = f'{name}_dataloader.dataset.data_root={rooms}'
        options += [dataset, f'{name}_dataloader.num_workers=0', f'{name}_dataloader.persistent_workers=False']

    command = ('analysis_tools/ablation.py', config, '--seeds', 0, '--work-dir', tmp_path, '--amp', *options[2:])
    run_tool(*command, 'train_cfg.max_epochs=2')
    rows = [json.loads(line) for line in next(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()]
    header, _, row = (line.strip('| \n').split(' | ') for line in (tmp_path / 'ablation.md').read_text().splitlines())
    assert header[2:7] == ['reshading L1', 'edge_texture L1', 'ensemble L1', 'SSIM', 'FD-Lite0']
    factors = {'reshading/L1': 100, 'edge_texture/L1': 100, 'L1': 100, 'SSIM': 100, 'FD-Lite0': 1}
    assert row[2:7] == [f'{factor * rows[-1][key]:.2f}' for key, factor in factors.items()]
    last = torch.load(work_dir / 'epoch_2.pth')
    assert last['meta']['iter'] == 2
    for network in ('generators', 'discriminators'):
        assert {int(state['step']) for state in last['optimizer'][network]['state'].values()} == {2}

    def test(*command, tool: str = 'test.py', own_process: bool = False) -> dict:
        run_tool(tool, config, work_dir / 'epoch_2.pth', *command, own_process=own_process)
        scores = json.loads(sorted(work_dir.glob('*/2*.json'))[-1].read_text())
        return {key: value for key, value in scores.items() if 'time' not in key}

    # Without exchange, a branch does not depend on the other modalities, so the scores with one missing are equal.
    scores = test('--show-dir', tmp_path / 'strips', *options, 'model.generator.threshold=0')
    for branch in ('', 'reshading/', 'edge_texture/'):
        assert 0 < scores[f'{branch}L1'] <= scores[f'{branch}RMSE'] < 1
        assert scores[f'{branch}SSIM'] <= 1
        assert {f'{branch}{protocol}FD-Lite0' for protocol in ('', 'authors_')} <= set(scores)
    name = 'point_4_view_0_domain_rgb.png'
    for folder in ('input0', 'input1', 'fake0', 'fake1', 'fake2', 'real', 'best/fake2'):
        assert [cv2.imread(str(path)).shape for path in work_dir.glob(f'*/results/{folder}/{name}')][-1] == (64, 64, 3)
    want = cv2.resize(cv2.imread(str(rooms / 'rgb' / name)), (64, 64))
    real = cv2.imread(str(max(work_dir.glob(f'*/results/real/{name}'))))
    assert np.abs(want.astype(int) - real).mean() < 2  # the pipeline's resize, in RGB order
    (strip,) = tmp_path.glob(f'strips/*/{name}')
    assert cv2.imread(str(strip)).shape == (146, 6 * 132, 3)

    details = json.loads(next(work_dir.glob('*/details.json')).read_text())
    for key in ('L1', 'SSIM'):
        means = {name: np.mean([sample['scores'][name][key] for sample in details['samples']]) for name in BRANCHES}
        assert means == pytest.approx({name: scores[f'{name}/{key}'.replace('ensemble/', '')] for name in BRANCHES})
    run_tool('analysis_tools/report.py', work_dir)
    assert (work_dir / 'report.html').read_text(encoding='utf-8').count('<img src="data:image/webp;base64,') == 2
    run_tool('analysis_tools/exchange_map.py', work_dir / 'epoch_2.pth', '--image', 1)
    layer = 'generators.target.encoder.3.norm'  # nothing is replaced: the middle one of the four norms that are used
    assert cv2.imread(str(work_dir / f'exchange_map/image_1_{layer}.png')).size > 0

    tool = f'{get_installed_path("mmagic")}/.mim/tools/test.py'
    assert test(*options, 'model.generator.threshold=0', tool=tool, own_process=True) == scores

    shutil.rmtree(rooms / 'reshading')
    single = test('--available-modalities', 'edge_texture', '--show-dir', tmp_path / 'single', *options)
    assert set(single) == {key for key in scores if not key.startswith('reshading/')}
    for key in ('L1', 'RMSE', 'PSNR', 'SSIM'):
        assert single[key] == single[f'edge_texture/{key}'] == pytest.approx(scores[f'edge_texture/{key}'], abs=1e-12)
    (strip,) = tmp_path.glob(f'single/*/{name}')
    assert cv2.imread(str(strip)).shape == (146, 4 * 132, 3)


def test_missing_weights_are_reported_before_training(run_tool, rooms, tmp_path, monkeypatch):
    monkeypatch.setenv('CEN_MM_TASKONOMY', str(rooms))
    monkeypatch.setenv('https_proxy', 'http://127.0.0.1:9')
    config = ROOT / 'configs/cen_unet_shade-texture2rgb_taskonomy.py'
    weights = f'val_evaluator.features.weights={tmp_path}/inception.pth'
    output = run_tool('train.py', config, '--work-dir', tmp_path / 'work', '--cfg-options', weights, fails=True)
    assert re.search(f'{tmp_path}/inception.pth does not exist and cannot be downloaded .*Save https', output)
    assert 'Epoch(train)' not in output


def test_samples_are_drawn_and_have_no_statistics(run_tool, rooms, tmp_path):
    config = ROOT / 'configs/cen_unet_shade-texture2rgb_rooms.py'
    options = ('--phase', 'val', '--cfg-options', f'val_dataloader.dataset.data_root={rooms}')
    run_tool('analysis_tools/browse_dataset.py', config, '--out-dir', tmp_path, *options)
    picture = cv2.imread(str(tmp_path / '00000_point_4_view_0_domain_rgb.png'))
    assert picture.shape == (146, 3 * 132, 3)  # shade, texture and RGB with captions
    shade = cv2.resize(cv2.imread(str(rooms / 'reshading/point_4_view_0_domain_reshading.png')), (64, 64))
    drawn = cv2.resize(picture[16:-2, 2:130], (64, 64), interpolation=cv2.INTER_NEAREST)
    assert np.abs(shade.astype(int) - drawn).mean() < 2
    said = run_tool('dataset_converters/modality_statistics.py', config, fails=True)
    assert 'which has no mean and std: its images are scaled by `range`' in said
