"""A new user's data, with the config in the README and the steps in docs/inference.md as they are written there."""

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NUM_PAIRS = 30


def section(page: str, title: str) -> str:
    return (ROOT / page).read_text().split(f'# {title}\n')[1]


def config_in(page: str, title: str) -> str:
    """The first config of a section, which must be short."""
    code = re.search(r'```python\n(.*?)```', section(page, title), re.DOTALL).group(1)
    assert len(code.splitlines()) <= 25
    return code.replace('cen_mm::', f'{ROOT}/configs/')  # test_package.py uses the installed ones


def steps(title: str) -> list[list[str]]:
    """The commands in a section of docs/inference.md: the name of the tool and its arguments."""
    code = re.search(r'```bash\n(.*?)```', section('docs/inference.md', title), re.DOTALL).group(1)
    commands = [shlex.split(line) for line in code.splitlines()]
    assert all(command[0] == 'mim' and command[2] == 'cen_mm' for command in commands)
    return [['train', *rest] if verb == 'train' else rest for _, verb, _, *rest in commands]


@pytest.fixture
def mfnet(tmp_path, monkeypatch):
    """An empty folder with 30 four-channel images in MFNet's layout, and the config in docs/inference.md."""
    rng, root = np.random.default_rng(0), tmp_path / 'data/mfnet'
    names = [f'{i:05d}{"DN"[i % 2]}' for i in range(NUM_PAIRS)]
    for name in ('images', 'labels'):
        (root / name).mkdir(parents=True)
    for name in names:
        label = rng.integers(0, 9, (6, 8), np.uint8).repeat(12, 0).repeat(12, 1)
        channels = [25 * label + rng.integers(0, 20, label.shape, np.uint8) for _ in range(4)]
        cv2.imwrite(str(root / f'images/{name}.png'), cv2.merge(channels))
        cv2.imwrite(str(root / f'labels/{name}.png'), label)
    for split, part in (('train', names[:-2]), ('val', names[-2:])):
        (root / f'{split}.txt').write_text('\n'.join(part))
    (tmp_path / 'mfnet.py').write_text(config_in('docs/inference.md', "MFNet's layout"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
    (tmp_path / 'street.py').write_text(config_in('README.md', 'Your own data'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


QUICK = [
    'train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'model.backbone.init_cfg=None',
    'train_dataloader.batch_size=4',
    *(f'{loader}_dataloader.{option}' for loader in ('train', 'val', 'test')
      for option in ('num_workers=0', 'persistent_workers=False')),
]  # fmt: skip
PIPELINE = 'train_dataloader.dataset.pipeline'
SMALL_CROPS = [f'{PIPELINE}.5.crop_size=(64,64)', f'{PIPELINE}.3.size=(64,64)', f'{PIPELINE}.2.min_side=64']


@pytest.mark.parametrize(('data', 'title'), [('folder', 'Your own layout'), ('mfnet', "MFNet's layout")])
def test_from_an_empty_folder_to_a_prediction(run_tool, request, data, title):
    """The steps in docs/inference.md, with small crops, without a download and without worker processes."""
    root = request.getfixturevalue(data)
    statistics, train, demo = steps(title)
    printed = run_tool(f'dataset_converters/{statistics[0]}.py', *statistics[1:], '--workers', 0)
    thermal = [
        np.atleast_3d(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))[..., -1]
        for path in sorted([*root.glob('data/*/thermal/*'), *root.glob('data/*/images/*')])
    ]
    mean = float(re.search(r'thermal=dict\(mean=\[([\d.]+)', printed).group(1))
    assert mean == pytest.approx(np.mean(thermal[:-2]), rel=1e-3)  # without the two for validation

    run_tool(f'{train[0]}.py', *train[1:], *QUICK, *SMALL_CROPS)
    said = run_tool(f'{demo[0]}.py', *demo[1:])
    assert 'FPS: ' in said
    assert 'Pictures are in out/vis, raw results in out/pred.' in said
    names = {path.stem for path in (root / 'data').rglob('labels/*.png')}
    for pictures in ('vis', 'pred/rgb', 'pred/thermal', 'pred/ensemble'):
        assert {path.stem for path in (root / 'out' / pictures).iterdir()} == names
    assert len(names) == NUM_PAIRS

    config, checkpoint = demo[1:3]
    run_tool('test.py', config, checkpoint, '--work-dir', 'work', '--show-dir', 'shown', '--out', 'tested',
             '--cfg-options', *QUICK)  # fmt: skip
    assert len(list((root / 'shown').rglob('*.png'))) == len(list((root / 'tested').iterdir())) == 2
    for path in (root / 'tested').iterdir():
        images = [cv2.imread(str(folder / path.name), -1) for folder in (root / 'tested', root / 'out/pred/ensemble')]
        assert np.array_equal(*images)
    run_tool('analysis_tools/browse_dataset.py', config, '--out-dir', 'browsed', '--number', 3)
    assert len(list((root / 'browsed').glob('*.png'))) == 3


def test_a_data_set_smaller_than_a_batch_is_refused(run_tool, folder):
    options = ['train_dataloader.dataset.indices=3', *QUICK]
    said = run_tool('train.py', 'street.py', '--work-dir', 'work', '--cfg-options', *options, fails=True)
    assert 'The training data set has 3 samples, fewer than train_dataloader.batch_size=4' in said
