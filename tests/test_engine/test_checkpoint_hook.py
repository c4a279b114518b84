"""Checkpoints are whole at any moment, and only whole and fitting ones are loaded."""

import errno
import os
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend

from cen_mm import compat
from cen_mm.engine.checkpoint_hook import latest_checkpoint


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth*'))


def break_weights(runner) -> None:
    runner.model.layer.weight.data[0, 0] = torch.nan


def test_full_disk_leaves_earlier_checkpoints(toy_run, tmp_path, monkeypatch):
    def fsync(descriptor: int) -> None:
        if os.readlink(f'/proc/self/fd/{descriptor}').endswith('epoch_2.pth.tmp'):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', fsync)
    with pytest.raises(OSError, match=r'epoch_2.pth was not written \(No space left on device\). Earlier check'):
        toy_run(checkpoint=dict(max_keep_ckpts=1)).train()
    assert names(tmp_path / 'work') == ['epoch_1.pth']
    monkeypatch.undo()
    toy_run(checkpoint=dict(max_keep_ckpts=1), resume=True).train()
    assert names(tmp_path / 'work') == ['epoch_3.pth']


def test_outdated_checkpoints_are_deleted_after_the_new_one_is_written(toy_run, tmp_path, monkeypatch):
    seen, remove = [], LocalBackend.remove
    monkeypatch.setattr(
        LocalBackend, 'remove', lambda self, path: (seen.append(names(tmp_path / 'work')), remove(self, path))
    )
    toy_run(checkpoint=dict(max_keep_ckpts=1)).train()
    assert seen == [['epoch_1.pth', 'epoch_2.pth'], ['epoch_2.pth', 'epoch_3.pth']]


def test_weights_that_are_not_finite_replace_no_good_ones(toy_run, tmp_path):
    runner = toy_run(checkpoint=dict(max_keep_ckpts=1), act={9: break_weights})  # too late for the check of the loss
    with pytest.raises(FloatingPointError, match='After iteration 10, 2 of 2 tensors .* resume from .*epoch_1.pth'):
        runner.train()
    assert names(tmp_path / 'work') == ['epoch_1.pth']


def test_resuming_skips_broken_checkpoints_and_says_so(toy_run, tmp_path, capfd):
    toy_run().train()
    work_dir = tmp_path / 'work'
    content = (work_dir / 'epoch_3.pth').read_bytes()
    (work_dir / 'epoch_3.pth').write_bytes(content[: len(content) // 2])
    nan = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    nan['state_dict']['layer.bias'][0] = torch.nan
    torch.save(nan, work_dir / 'epoch_2.pth')
    torch.save({'state_dict': nan['state_dict']}, work_dir / 'weights.pth')
    (work_dir / 'last_checkpoint').write_text('')
    capfd.readouterr()
    assert latest_checkpoint(str(work_dir)) == str(work_dir / 'epoch_1.pth')
    log = ''.join(capfd.readouterr())
    assert f'Not resumed from it: {work_dir}/epoch_3.pth is not a checkpoint, or it is damaged or cut off' in log
    assert f'Not resumed from {work_dir}/epoch_2.pth: 1 of 2 tensors (layer.bias, ..) are NaN or infinite.' in log
    with pytest.raises(FileNotFoundError, match='contains no checkpoint to resume from: start without --resume'):
        toy_run('other', resume=True).train()
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
    runner = toy_run(resume=True)
    runner.train()
    assert runner.iter == 15


def test_resuming_finds_checkpoints_in_another_folder(toy_run, tmp_path):
    toy_run(checkpoint=dict(out_dir=str(tmp_path / 'disk'))).train()
    assert names(tmp_path / 'work') == []
    (tmp_path / 'work/last_checkpoint').unlink()  # lost
    assert latest_checkpoint(str(tmp_path / 'work'), str(tmp_path / 'disk')) == str(tmp_path / 'disk/work/epoch_3.pth')
    runner = toy_run(checkpoint=dict(out_dir=str(tmp_path / 'disk')), resume=True)
    runner.train()
    assert runner.iter == 15


@pytest.mark.parametrize('resume', [True, False])
def test_only_fitting_weights_are_resumed_or_started_from(toy_run, tmp_path, resume, capfd):
    toy_run().train()
    good = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=True)
    half = {'layer.weight': good['state_dict']['layer.weight']}
    cases = {
        'half': (half, r'1 of 2 tensors of ToyModel are loaded: 1 missing \(layer.bias, ..\)'),
        'shape': (dict(half, **{'layer.bias': torch.zeros(9)}), r'1 of 2 .*: 1 of another shape \(layer.bias, ..\)'),
        'other': ({'a.b': torch.zeros(1)}, r'0 of 2 .*: 2 missing \(layer.weight, ..\), 1 unknown \(a.b, ..\)'),
        'empty': ({}, '0 of 2 tensors of ToyModel are loaded: 2 missing'),
        'nan': ({**good['state_dict'], 'layer.bias': torch.full((3,), torch.nan)}, 'layer.bias, .* are NaN or infin'),
    }
    for name, (state, message) in cases.items():
        path = str(tmp_path / f'{name}.pth')
        torch.save(dict(good, state_dict=state), path)
        runner = toy_run(name, load_from=path, resume=resume)
        if resume or name not in ('half', 'shape'):
            with pytest.raises(ValueError, match=f'{path}: .*{message}'):
                runner.train()
        else:
            capfd.readouterr()
            runner.train()
            assert f'{path}: 1 of 2 tensors of ToyModel are loaded' in ''.join(capfd.readouterr())
    torch.save(dict(state_dict=good['state_dict']), tmp_path / 'weights.pth')
    runner = toy_run('weights', load_from=str(tmp_path / 'weights.pth'), resume=resume)
    if resume:
        with pytest.raises(ValueError, match='contains no message_hub, meta, optimizer, so it cannot be resumed from'):
            runner.train()
    else:
        runner.train()


def test_checkpoints_need_no_allowed_classes(toy_run, tmp_path):
    """torch < 2.6 cannot allow mmengine's classes, so weights_only=True must read our checkpoints without them."""
    toy_run().train()
    if hasattr(torch.serialization, 'clear_safe_globals'):
        torch.serialization.clear_safe_globals()
    try:
        saved = torch.load(tmp_path / 'work/epoch_3.pth', weights_only=True)
    finally:
        compat._allow_mmengine_checkpoints()
    assert saved['meta']['iter'] == 15


@pytest.mark.parametrize('lr', [0.1, 0.05])
def test_resuming_warns_of_another_learning_rate_without_schedule(toy_run, lr, capfd):
    toy_run(train_cfg=dict(type='cen_mm.ResumableTrainLoop', max_epochs=1)).train()
    toy_run(resume=True, optim_wrapper=dict(optimizer=dict(type='Adam', lr=lr))).train()
    assert ('continues with the learning rates' in ''.join(capfd.readouterr())) == (lr != 0.1)
