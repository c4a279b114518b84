"""Runs that are killed, stopped or go wrong: nothing is lost, and a resumed run ends as an uninterrupted one."""

import os
import shutil
import signal
import time
from multiprocessing import Process
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get('CEN_MM_KILLS', 2))  # 20 for the table in docs/faults.md, which also kills translation
SEGMENTATION = f"""
_base_ = '{ROOT}/configs/cen_refinenet_r18_nyudv2.py'
model = dict(
    backbone=dict(init_cfg=None, base_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128], channels=8, top_channels=8, dropout_ratio=0.5),
    decode_head=dict(in_channels=8, dropout_ratio=0.5),
    modality_dropout=0.5,
)
"""
TRANSLATION = f"""
_base_ = '{ROOT}/configs/cen_unet_shade-texture2rgb_rooms.py'
model = dict(generator=dict(base_channels=4, dropout_ratio=0.5), discriminator=dict(base_channels=4))
"""
COMMON = """
train_dataloader = dict(batch_size=1, num_workers=2, dataset=DATASET)
val_dataloader = dict(num_workers=1, dataset=DATASET)
train_cfg = dict(max_epochs=3, val_interval=1)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1, max_keep_ckpts=1))
"""


@pytest.fixture(params=['segmentation', *['translation'] * ('CEN_MM_KILLS' in os.environ)])
def config(request, tmp_path, monkeypatch) -> Path:
    """Writes a config of a small network with dropout, random transforms and two workers."""
    if request.param == 'segmentation':
        monkeypatch.setenv('CEN_MM_NYUDV2', str(request.getfixturevalue('made_nyudv2')))
        lines, dataset = SEGMENTATION, {}
    else:
        pytest.importorskip('mmagic')
        lines, dataset = TRANSLATION, dict(data_root=str(request.getfixturevalue('rooms')))
    path = tmp_path / f'{request.param}.py'
    path.write_text(lines + COMMON.replace('DATASET', repr(dataset)))
    return path


class Trainer:
    """Starts tools/train.py in forked processes."""

    def __init__(self, fork_tool, config: Path, folder: Path):
        self.fork_tool, self.config, self.folder = fork_tool, config, folder
        self.log = folder / 'log.txt'

    def start(self, work_dir: str, *options: str, sabotage=None) -> Process:
        command = ['train.py', self.config, '--no-memory-tuning', '--work-dir', self.folder / work_dir, *options]
        return self.fork_tool(*command, log=self.log, sabotage=sabotage)

    def run(self, *args, sabotage=None) -> int:
        """Trains to the end; returns the exit status."""
        process = self.start(*args, sabotage=sabotage)
        process.join()
        return process.exitcode


@pytest.fixture
def trainer(fork_tool, config, tmp_path) -> Trainer:
    return Trainer(fork_tool, config, tmp_path)


def kill_when_syncing(number: int):
    """Returns a function that makes the process kill itself when it has written a part of its n-th file."""
    count = iter(range(1, 1000))
    fsync = os.fsync

    def fsync_or_die(descriptor: int) -> None:
        if next(count) == number:
            os.truncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    def sabotage() -> None:
        os.fsync = fsync_or_die

    return sabotage


def assert_same_training(one: Path, two: Path) -> None:
    """Asserts that two checkpoints have exactly the same weights and states of optimizers and schedules."""
    one, two = (torch.load(path, weights_only=True) for path in (one, two))
    torch.testing.assert_close(one['state_dict'], two['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(one['optimizer'], two['optimizer'], rtol=0, atol=0)
    assert one.get('param_schedulers') == two.get('param_schedulers')
    assert one['meta']['iter'] == two['meta']['iter'] == 12


def test_killed_runs_end_as_an_uninterrupted_one(trainer, tmp_path):
    """Half of the kills are at random moments, half while a file is written."""
    started = time.time()
    assert trainer.run('whole') == 0
    duration = time.time() - started
    rng = np.random.default_rng(int(os.environ.get('CEN_MM_KILL_SEED', 0)))
    counts = dict(killed=0, scratch=0, resumed=0, finished=0)
    while counts['killed'] < KILLS:
        resume = ['--resume'] * (tmp_path / 'work/last_checkpoint').exists()
        counts['resumed' if resume else 'scratch'] += 1
        if counts['killed'] % 2:
            process = trainer.start('work', *resume, sabotage=kill_when_syncing(int(rng.integers(1, 9))))
            process.join()
        else:
            process = trainer.start('work', *resume)
            process.join(rng.uniform(0.2, 0.9) * duration)
            process.kill()
            process.join()
        if process.exitcode == 0:
            assert_same_training(tmp_path / 'whole/epoch_3.pth', tmp_path / 'work/epoch_3.pth')
            counts['finished'] += 1
            shutil.rmtree(tmp_path / 'work')
            continue
        assert process.exitcode == -signal.SIGKILL, trainer.log.read_text()[-3000:]
        counts['killed'] += 1
        assert 'Not resumed' not in trainer.log.read_text()
    if trainer.run('work', *['--resume'] * (tmp_path / 'work/last_checkpoint').exists()):
        raise AssertionError(trainer.log.read_text()[-3000:])
    assert_same_training(tmp_path / 'whole/epoch_3.pth', tmp_path / 'work/epoch_3.pth')
    print(counts)
