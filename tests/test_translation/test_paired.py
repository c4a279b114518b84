"""A config of ten lines trains and tests a translation of the user's own folders."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import METRICS, init_default_scope

pytest.importorskip('mmagic')

ROOT = Path(__file__).parents[2]
CONFIG = (ROOT / 'configs/cen_unet_day-thermal2night_paired.py').read_text()
SMALL = [
    'model.generator.base_channels=4',
    'model.generator.num_levels=5',
    'model.discriminator.base_channels=4',
    'train_cfg.max_epochs=1',
    'train_cfg.val_interval=1',
    'default_hooks.logger.interval=1',
    'train_dataloader.dataset.pipeline.1.size=(36,36)',
    'train_dataloader.dataset.pipeline.2.size=(32,32)',
    *(f'{name}_dataloader.dataset.pipeline.1.size=(32,32)' for name in ('val', 'test')),
    *(f'{name}_dataloader.num_workers=0' for name in ('train', 'val', 'test')),
    *(f'{name}_dataloader.persistent_workers=False' for name in ('train', 'val', 'test')),
]


@pytest.fixture
def config(tmp_path) -> Path:
    """The example config, for a folder with two images for training and two for validation."""
    rng = np.random.default_rng(0)
    for i in range(4):
        images = dict(day=rng.integers(0, 256, (24, 40, 3)), night=rng.integers(0, 256, (24, 40, 3)))
        images['thermal'] = rng.integers(28000, 32000, (24, 40))
        for name, image in images.items():
            (tmp_path / 'street' / name).mkdir(parents=True, exist_ok=True)
            dtype = np.uint16 if name == 'thermal' else np.uint8
            cv2.imwrite(str(tmp_path / f'street/{name}/{i}.png'), image.astype(dtype))
    for name, numbers in dict(train=(0, 1), val=(2, 3)).items():
        (tmp_path / f'street/{name}.txt').write_text('\n'.join(map(str, numbers)))
    text = CONFIG.replace('data/street/', f'{tmp_path}/street').replace("'_base_/", f"'{ROOT}/configs/_base_/")
    (tmp_path / 'config.py').write_text(text)
    return tmp_path / 'config.py'


def test_ten_lines_train_and_test(run_tool, config, tmp_path):
    assert len(CONFIG.splitlines()) <= 11
    work_dir = tmp_path / 'work'
    options = ['--work-dir', work_dir, '--cfg-options', *SMALL]
    log = run_tool('train.py', config, '--verbose', *options)
    losses = [float(value) for value in re.findall(r' loss_gen: (\S+)', log)]
    assert len(losses) == 2
    assert np.isfinite(losses).all()

    run_tool('test.py', config, work_dir / 'epoch_1.pth', '--out', tmp_path / 'images', *options)
    scores = json.loads(sorted(work_dir.glob('*/2*.json'))[-1].read_text())
    assert {f'{branch}L1' for branch in ('', 'day/', 'thermal/')} < set(scores)
    real = cv2.imread(str(tmp_path / 'images/real/2.png')).astype(int)
    want = cv2.resize(cv2.imread(str(tmp_path / 'street/night/2.png')), (32, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(want - real).mean() < 20  # other filter: 7; reversed channels: 40, another image: 54
    fake = cv2.imread(str(tmp_path / 'images/fake2/2.png')).astype(int)
    assert np.abs(fake - real).mean() > 20

    no_target = ['test_dataloader.dataset.target=None', '--out', tmp_path / 'no_target']
    run_tool('test.py', config, work_dir / 'epoch_1.pth', *options, *no_target)
    written = {path.parent.name: cv2.imread(str(path)) for path in (tmp_path / 'no_target').glob('*/2.png')}
    assert {'input0', 'input1', 'fake0', 'fake1', 'fake2'} == {name for name in written if name != 'strips'}
    assert np.array_equal(written['fake2'], cv2.imread(str(tmp_path / 'images/fake2/2.png')))

    (tmp_path / 'street/thermal').rename(tmp_path / 'street/unused')
    available = ['--available-modalities', 'day', '--out', tmp_path / 'images']
    run_tool('test.py', config, work_dir / 'epoch_1.pth', *available, *options)
    single = json.loads(sorted(work_dir.glob('*/2*.json'))[-1].read_text())
    assert set(single) == {key for key in scores if not key.startswith('thermal/')}


def test_samples_without_target_have_no_scores():
    init_default_scope('mmagic')
    metric = METRICS.build(dict(type='cen_mm.TranslationMetric', features=dict(type='cen_mm.EfficientNetLite0')))
    metric.process({}, [dict(branches={}), dict(branches={})])
    assert metric.evaluate(2) == {}
