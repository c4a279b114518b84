"""No checkpoint runs code, whoever opens it, even if torch.load would (its default before 2.6)."""

import importlib.util
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import _load_checkpoint

from cen_mm.apis import init_model
from cen_mm.engine.checkpoint_hook import latest_checkpoint

ROOT = Path(__file__).parents[1]
REFUSED = 'which could run code, so it is not loaded|is not a checkpoint, or it is damaged'
CONFIG = ROOT / 'configs/cen_refinenet_r18_rooms.py'


class Code:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture(params=['zip', 'legacy', 'pickle'])
def malicious(request, tmp_path, monkeypatch):
    """Writes a checkpoint with code in it, checks that it runs, and returns its path."""
    load = torch.load
    monkeypatch.setattr(
        torch, 'load', lambda *args, weights_only=False, **kw: load(*args, weights_only=weights_only, **kw)
    )
    path, folder = tmp_path / 'malicious.pth', tmp_path / 'code_ran'
    content = dict(state_dict={'conv1.weight': Code(folder)}, meta={}, message_hub={}, optimizer={})
    if request.param == 'pickle':
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=request.param == 'zip')
    try:
        torch.load(path)
    except Exception:  # a plain pickle is no checkpoint, but its code runs
        assert request.param == 'pickle'
    folder.rmdir()
    yield path
    assert not folder.exists()


def test_functions_refuse_code(malicious, config, converter, monkeypatch, tmp_path):
    resnet = dict(type='cen_mm.CENResNet', depth=18, modalities=['rgb'])

    def start_from(checkpoint: str, **kwargs) -> None:
        MODELS.build(dict(resnet, init_cfg=dict(type='Pretrained', checkpoint=checkpoint, **kwargs))).init_weights()

    monkeypatch.setattr(torch.hub, 'download_url_to_file', lambda url, file, **_: shutil.copy(malicious, file))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    for load in (
        lambda: init_model(config(CONFIG.name), malicious, device='cpu'),
        lambda: load_checkpoint(torch.nn.Linear(1, 1), str(malicious)),
        lambda: start_from(str(malicious)),
        lambda: start_from(str(malicious), prefix='backbone'),
        lambda: start_from('https://example.com/malicious.pth'),
        lambda: start_from('torchvision://resnet18'),
    ):
        with pytest.raises(ValueError, match=REFUSED):
            load()
    with pytest.raises(SystemExit, match=REFUSED):
        converter.read(str(malicious))
    with pytest.raises(FileNotFoundError, match='contains no checkpoint to resume from'):
        latest_checkpoint(str(malicious.parent))


def test_config_in_a_checkpoint_is_not_run(tmp_path):
    """mmengine's Runner.resume runs meta['config']."""
    torch.save(dict(meta=dict(config='import os; os.mkdir("code_ran")', epoch=1), state_dict={}), tmp_path / 'a.pth')
    assert _load_checkpoint(str(tmp_path / 'a.pth'))['meta'] == dict(epoch=1)


def test_weights_of_metrics_refuse_code(malicious):
    pytest.importorskip('mmagic')
    from cen_mm.translation import LPIPS, InceptionV3

    kinds = [InceptionV3]
    if importlib.util.find_spec('lpips'):
        kinds.append(LPIPS)
    for kind in kinds:
        with pytest.raises(ValueError, match=REFUSED):
            kind(str(malicious))


@pytest.mark.parametrize('malicious', ['zip'], indirect=True)
def test_commands_refuse_code(malicious, run_tool, made_nyudv2, tmp_path, monkeypatch):
    monkeypatch.setenv('CEN_MM_NYUDV2', str(made_nyudv2))
    config = ROOT / 'configs/cen_refinenet_r18_nyudv2.py'
    options = ['--work-dir', tmp_path, '--cfg-options', 'model.backbone.init_cfg=None']
    options += ['train_dataloader.batch_size=2']
    for command in (
        ['test.py', config, malicious, *options],
        ['train.py', config, '--resume', malicious, *options],
        ['train.py', config, *options, f'load_from={malicious}'],
    ):
        assert 'malicious.pth contains posix.mkdir, which could run code' in run_tool(*command, fails=True)
