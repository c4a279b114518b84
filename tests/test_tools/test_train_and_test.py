"""Every tool runs, at least once as a command of its own, as a user would run it."""

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cen_mm.engine.exchange_hook import HISTORY

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/cen_refinenet_r18_nyudv2.py'
SMALL = [
    'model.backbone.init_cfg=None', 'model.backbone.base_channels=16', 'model.neck.in_channels=[16,32,64,128]',
    'model.neck.channels=8', 'model.neck.top_channels=8', 'model.decode_head.in_channels=8',
    *(f'{loader}_dataloader.{key}' for loader in ('train', 'val', 'test') for key in
      ('num_workers=0', 'persistent_workers=False')),
    'train_dataloader.batch_size=2', 'train_dataloader.dataset.indices=4', 'val_dataloader.dataset.indices=2',
    'test_dataloader.dataset.indices=2',
]  # fmt: skip


@pytest.fixture
def run(run_tool, monkeypatch):
    """Runs a tool on a data set; gives its output."""

    def on_data(data: Path, *command, **options) -> str:
        monkeypatch.setenv('CEN_MM_NYUDV2', str(data))
        return run_tool(*command, **options)

    return on_data


def scores_of(work_dir: Path) -> dict:
    return [json.loads(path.read_text()) for path in sorted(work_dir.glob('*/2*.json'))][-1]


def test_train_resume_test_and_report(run, any_nyudv2, tmp_path):
    work_dir = tmp_path / 'work'
    train = ('train.py', CONFIG, '--amp', '--work-dir', work_dir)
    run(any_nyudv2, *train, '--cfg-options', *SMALL, 'train_cfg.max_epochs=1', own_process=True)
    first = torch.load(work_dir / 'epoch_1.pth', weights_only=True)
    log = run(
        any_nyudv2, *train, '--resume', '--cfg-options', *SMALL, 'train_cfg.max_epochs=2', 'train_cfg.val_interval=1'
    )
    assert f'resumed epoch: 1, iter: {first["meta"]["iter"]}' in log
    second = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    assert second['meta']['iter'] == 4
    assert second['message_hub']['runtime_info'][HISTORY]['steps'] == [2, 4]
    steps = [state['step'] for state in second['optimizer']['state'].values()]
    assert set(map(int, steps)) == {4}
    assert (work_dir / 'exchange.png').exists()

    shown, out = tmp_path / 'shown', tmp_path / 'out'
    test = ('test.py', CONFIG, work_dir / 'epoch_2.pth', '--work-dir', work_dir, '--cfg-options', *SMALL)
    log = run(any_nyudv2, *test, '--show-dir', shown, '--out', out, own_process=True)
    assert '| ensemble |' in log
    assert {'mIoU', 'rgb/mIoU', 'depth/mAcc', 'aAcc'} <= set(scores_of(work_dir))
    pictures = list(shown.rglob('*.png'))
    assert len(pictures) == 2
    height, width, _ = cv2.imread(str(pictures[0])).shape
    assert width > height  # three columns, two rows
    names = [line.split()[1].split('/')[-1] for line in (any_nyudv2 / 'val.txt').read_text().splitlines()[:2]]
    for name in names:
        label = cv2.imread(str(any_nyudv2 / 'masks' / name), cv2.IMREAD_UNCHANGED)
        prediction = cv2.imread(str(out / name), cv2.IMREAD_UNCHANGED)
        assert prediction.shape == label.shape
        assert prediction.max() < 40

    assert 'mIoU' in run(any_nyudv2, *test, '--tta')
    log = run(any_nyudv2, 'analysis_tools/report.py', work_dir, own_process=True)
    assert '| ensemble |' in log
    assert 'curves.png' in (work_dir / 'report.html').read_text()
    assert cv2.imread(str(work_dir / 'curves.png')).size > 0


def test_two_processes(run, made_nyudv2, tmp_path):
    options = [
        *SMALL,
        'model_wrapper_cfg.type=MMDistributedDataParallel',
        'model_wrapper_cfg.device_ids=None',
        'train_cfg.max_epochs=1',
        'train_cfg.val_interval=1',
    ]
    log = run(made_nyudv2, 'dist_train.sh', CONFIG, 2, '--work-dir', tmp_path, '--cfg-options', *options)
    assert '[1][1/1]' in log  # four images, two processes, two images each
    assert '| ensemble |' in log
    options[-2:] = []
    test = ('dist_test.sh', CONFIG, tmp_path / 'epoch_1.pth', 2, '--work-dir', tmp_path)
    log = run(made_nyudv2, *test, '--cfg-options', *options)
    assert '| ensemble |' in log


def test_schedule_of_a_config_as_a_picture(run, made_nyudv2, tmp_path):
    config, picture = ROOT / 'configs/cen_refinenet_r101_nyudv2.py', tmp_path / 'schedule.png'
    log = run(made_nyudv2, 'analysis_tools/plot_schedule.py', config, picture, '--epoch-length', 2, own_process=True)
    assert 'backbone (520): 0.0005 to 0.0001' in log
    assert '0.003 to 0.0007' in log
    assert cv2.imread(str(picture)).size > 0


def test_cost_table(run, made_nyudv2):
    configs = [ROOT / 'configs/cen_refinenet_r101_nyudv2.py']
    if importlib.util.find_spec('mmagic'):
        configs.append(ROOT / 'configs/cen_unet_shade-texture2rgb_taskonomy.py')
    lines = run(made_nyudv2, 'analysis_tools/get_flops.py', *configs, own_process=True).splitlines()
    header, *rows = ([cell.strip() for cell in line.split('|')[1:-1]] for line in lines if line.startswith('|'))
    papers, *translation = (dict(zip(header, row)) for row in rows)
    assert (papers['input'], papers['parameters (M)']) == ('2 x 480x640', '118.2')
    assert (papers['GMACs'], papers['GFLOPs']) == ('617.9', '1235.7')
    assert papers['decode_head'] == f'{2 * 2 * 9 * 256 * 40 * 120 * 160 / 1e9:.1f}'  # one 3x3 convolution
    assert len(translation) == len(configs) - 1
    for row in translation:  # by hand
        down = [3, 64, 128, 256, 512, 512, 512, 512, 512]
        up = [512, 1024, 1024, 1024, 1024, 512, 256, 128], [512, 512, 512, 512, 256, 128, 64, 3]
        macs = sum(16 * a * b * (128 >> i) ** 2 for i, (a, b) in enumerate(zip(down, down[1:])))
        macs += sum(16 * a * b * (1 << i) ** 2 for i, (a, b) in enumerate(zip(*up)))
        assert row['GMACs'] == f'{2 * macs / 1e9:.1f}'
        assert row['generators'] == row['GFLOPs']


def test_ablation_over_seeds(run, made_nyudv2, tmp_path):
    one, two = tmp_path / 'one.py', tmp_path / 'two.py'
    one.write_text(f'_base_ = {str(CONFIG)!r}')
    fusion = "dict(type='cen_mm.FusionSegmentor', backbone=dict(exchange=None), sparsity=None)"
    two.write_text(f'_base_ = {str(CONFIG)!r}\nmodel = {fusion}')
    work_dir = tmp_path / 'ablation'
    command = ('analysis_tools/ablation.py', one, two, '--seeds', 3, 5, '--work-dir', work_dir, '--jobs', 2)
    options = ('--cfg-options', *SMALL, 'train_cfg.max_epochs=1')
    out = run(made_nyudv2, *command, *options, own_process=True)
    assert '[0/4] one seed_3, two seed_3' in out

    def scores(name: str, key: str) -> np.ndarray:
        paths = [next(work_dir.glob(f'{name}/seed_{seed}/*/vis_data/scalars.json')) for seed in (3, 5)]
        rows = [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]
        return np.array([[row[key] for row in run if key in row][-1] for run in rows])

    def cell(values: np.ndarray) -> str:
        return f'{values.mean():.2f} ± {abs(values[0] - values[1]) / 2**0.5:.2f}'

    lines = (work_dir / 'ablation.md').read_text().splitlines()
    assert lines[0] == '| config | seeds | rgb mIoU | depth mIoU | ensemble mIoU | aAcc | exchanged | minutes |'
    rows = [[text.strip() for text in line.strip('|').split('|')] for line in lines[2:]]
    exchanged = (scores('one', 'exchange/rgb') + scores('one', 'exchange/depth')) / 2
    want = [cell(scores('one', key)) for key in ('rgb/mIoU', 'depth/mIoU', 'mIoU', 'aAcc')]
    assert rows[0][:-1] == ['one', '2', *want, cell(100 * exchanged)]
    assert rows[1][:-1] == ['two', '2', '', '', cell(scores('two', 'mIoU')), cell(scores('two', 'aAcc')), '']
    assert scores('two', 'loss')[0] != scores('two', 'loss')[1]  # the seeds reach the runs
    assert cv2.imread(str(work_dir / 'ablation.png')).size > 0

    starts = sorted(work_dir.glob('*/*/*/'))
    assert 'seed_' not in run(made_nyudv2, *command, *options).split('|')[0]
    (next(work_dir.glob('one/seed_5/*/vis_data/scalars.json'))).unlink()
    out = run(made_nyudv2, *command, *options[:-1], 'train_cfg.max_epochs=0', fails=True)
    assert f'failed: {one}, seed 5: mend what {work_dir}/one/seed_5/train.log says' in out
    assert len(sorted(work_dir.glob('*/*/*/'))) == len(starts) + 1


def test_mistakes_end_in_a_sentence(run, made_nyudv2, tmp_path):
    log = run(made_nyudv2, 'test.py', CONFIG, tmp_path / 'none.pth', fails=True)
    assert log.strip().endswith('none.pth does not exist: give the path of a .pth file.')
    log = run(made_nyudv2, 'analysis_tools/report.py', tmp_path, fails=True)
    assert log.strip().endswith('give the work dir of a training run.')
    (made_nyudv2 / 'depth/000000.png').unlink()
    log = run(made_nyudv2, 'train.py', CONFIG, '--work-dir', tmp_path, '--cfg-options', *SMALL, fails=True)
    assert 'depth/000000.png' in log.strip().splitlines()[-1]
    assert log.strip().endswith('does not exist: add it, or drop the line.')
