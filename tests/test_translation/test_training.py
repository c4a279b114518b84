"""tools/train.py trains with any modalities and with unknown target pixels, and resumes after it was killed."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmagic')

ROOT = Path(__file__).parents[2]
KILLER = """
import os, signal
import torch
from cen_mm.translation import CENTranslation

calls, losses = [], CENTranslation._gen_losses

def kill_in_fifth_step(self, *images):
    calls.extend([1] * torch.is_grad_enabled())  # not in the check before training
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return losses(self, *images)

CENTranslation._gen_losses = kill_in_fifth_step
"""


@pytest.fixture(scope='module')
def rooms_with_unknown_depth(rooms, tmp_path_factory) -> Path:
    """The rooms, with unknown depth in the right part of each image."""
    out = shutil.copytree(rooms, tmp_path_factory.mktemp('unknown_depth') / 'taskonomy')
    for path in (out / 'depth_euclidean').rglob('*.png'):
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        depth[:, 50:] = 65535
        cv2.imwrite(str(path), depth)
    return out


@pytest.fixture
def train(rooms_with_unknown_depth, tmp_path, run_tool):
    """Returns a function that trains with tools/train.py on the rooms, one image per iteration, and returns the log.

    The config is derived from a Taskonomy config.
    """
    options = [
        'model.generator.base_channels=4',
        'model.generator.dropout_ratio=0',
        'model.discriminator.base_channels=4',
        'default_hooks.checkpoint.interval=1',
        'default_hooks.logger.interval=1',
        'train_dataloader.batch_size=1',
        'train_dataloader.dataset.indices=3',
        'val_dataloader.dataset.indices=1',
    ]
    for loader in ('train_dataloader', 'val_dataloader'):
        options += [f'{loader}.num_workers=0', f'{loader}.persistent_workers=False']
        options.append(f'{loader}.dataset.data_root={rooms_with_unknown_depth}')

    def run(name: str, *more: str, work_dir: str = 'work', resume: bool = False, killed: bool = False) -> str:
        config = (ROOT / f'configs/cen_unet_{name}_taskonomy.py').read_text().replace('rgb_taskonomy', 'rgb_rooms')
        config = config.replace("_base_ = '", f"_base_ = '{ROOT}/configs/")
        if killed:
            (tmp_path / 'killer.py').write_text(KILLER)
            config += "custom_imports = dict(imports=['cen_mm.translation', 'killer'])\n"
        (tmp_path / 'config.py').write_text(config)
        command = ['train.py', tmp_path / 'config.py', '--verbose', '--work-dir', tmp_path / work_dir]
        command = [str(argument) for argument in (*command, *['--resume'] * resume, '--cfg-options', *options, *more)]
        if killed:
            env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
            process = subprocess.run(
                [sys.executable, ROOT / 'tools' / command[0], *command[1:]], env=env, capture_output=True
            )
            assert process.returncode == -signal.SIGKILL, process.stderr[-3000:]
        else:
            run_tool(*command)
        return sorted((tmp_path / work_dir).glob('*/*.log'))[-1].read_text()

    return run


@pytest.mark.parametrize(
    ('name', 'branches'),
    [
        ('depth-normal-texture-shade2rgb', ['depth_euclidean', 'normal', 'edge_texture', 'reshading', 'ensemble']),
        ('rgb-edge2depth', ['rgb', 'edge_occlusion', 'ensemble']),
    ],
)
def test_training_with_other_modalities(train, name, branches):
    options = ['train_dataloader.dataset.indices=2', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    log = train(name, *options)
    scores = log.partition('Epoch(train)')[2]  # after the tables of the check before training
    assert re.findall(r'^\| +(\w+) +\| +\d', scores, re.MULTILINE) == branches
    losses = [float(value) for value in re.findall(r' loss\w*: (\S+)', log)]
    assert len(losses) == 2 * 5
    assert np.isfinite(losses).all()


def test_training_resumes_after_a_kill_inside_train_step(train, tmp_path):
    """After two epochs of three iterations with dropout, random crops and flips, weights and optimizers are equal."""
    name = 'depth-normal2rgb'
    options = ['train_cfg.max_epochs=2', 'model.generator.dropout_ratio=0.5']
    log = train(name, *options, killed=True)
    assert 'Epoch(train) [2][1/3]' in log
    assert 'Epoch(train) [2][2/3]' not in log
    assert not (tmp_path / 'work/epoch_2.pth').exists()
    assert 'resumed epoch: 1, iter: 3' in train(name, *options, resume=True)
    train(name, *options, work_dir='uninterrupted')
    want, got = (torch.load(tmp_path / folder / 'epoch_2.pth') for folder in ('uninterrupted', 'work'))
    assert got['meta']['iter'] == 6
    for part in ('state_dict', 'optimizer'):
        torch.testing.assert_close(got[part], want[part], rtol=0, atol=0)
