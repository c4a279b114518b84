"""A new user's data, with the config in the README as it is written there."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NUM_PAIRS = 30


def config_in_readme() -> str:
    """The config of 'Your own data', which must be short."""
    section = (ROOT / 'README.md').read_text().split('### Your own data')[1]
    code = re.search(r'```python\n(.*?)```', section, re.DOTALL).group(1)
    assert len(code.splitlines()) <= 25
    return code.replace('cen_mm::', f'{ROOT}/configs/')  # test_wheel.py uses the installed ones


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with 30 pairs of RGB and 16-bit thermal images and their labels, and the README's config."""
    rng, root = np.random.default_rng(0), tmp_path / 'data/street'
    for name in ('rgb', 'thermal', 'labels'):
        (root / name).mkdir(parents=True)
    for i in range(NUM_PAIRS):
        label = rng.integers(0, 3, (6, 8), np.uint8).repeat(12, 0).repeat(12, 1)
        cv2.imwrite(
            str(root / f'rgb/{i:03d}.jpg'), np.stack([80 * label] * 3, -1) + rng.integers(0, 40, (72, 96, 1), np.uint8)
        )
        cv2.imwrite(str(root / f'thermal/{i:03d}.png'), (29700 + 100 * label.astype(int)).astype(np.uint16))
        cv2.imwrite(str(root / f'labels/{i:03d}.png'), label)
    (root / 'train.txt').write_text(''.join(f'{i:03d}\n' for i in range(NUM_PAIRS - 2)))
    (root / 'val.txt').write_text(''.join(f'{i:03d}\n' for i in range(NUM_PAIRS - 2, NUM_PAIRS)))
    (tmp_path / 'thermal.py').write_text(config_in_readme())
    monkeypatch.chdir(tmp_path)
    return tmp_path


QUICK = [
    'train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'model.backbone.init_cfg=None',
    'train_dataloader.batch_size=4',
    *(f'{loader}_dataloader.{option}' for loader in ('train', 'val', 'test')
      for option in ('num_workers=0', 'persistent_workers=False')),
]  # fmt: skip


def test_statistics_training_and_testing(run_tool, folder):
    printed = run_tool('dataset_converters/modality_statistics.py', 'thermal.py', '--workers', 0)
    mean = float(re.search(r'thermal=dict\(mean=\[([\d.]+)', printed).group(1))
    assert mean == pytest.approx(np.mean([cv2.imread(f'data/street/thermal/{i:03d}.png', -1) for i in range(28)]))
    pipeline = 'train_dataloader.dataset.pipeline'
    small = [f'{pipeline}.5.crop_size=(64,64)', f'{pipeline}.3.size=(64,64)', f'{pipeline}.2.min_side=64']
    run_tool('train.py', 'thermal.py', '--work-dir', 'work', '--cfg-options', *QUICK, *small)
    said = run_tool('test.py', 'thermal.py', 'work/epoch_1.pth', '--work-dir', 'work', '--show-dir', 'shown',
                    '--cfg-options', *QUICK)  # fmt: skip
    assert 'thermal' in said
    assert len(list((folder / 'shown').rglob('*.png'))) == 2
    run_tool('analysis_tools/browse_dataset.py', 'thermal.py', '--out-dir', 'browsed', '--number', 3)
    assert len(list((folder / 'browsed').glob('*.png'))) == 3


def test_a_data_set_smaller_than_a_batch_is_refused(run_tool, folder):
    options = ['train_dataloader.dataset.indices=3', *QUICK]
    said = run_tool('train.py', 'thermal.py', '--work-dir', 'work', '--cfg-options', *options, fails=True)
    assert 'The training data set has 3 samples, fewer than train_dataloader.batch_size=4' in said
