"""robustness.py: the corruptions against hand-made images, and the table against test.py."""

import json
from pathlib import Path

import corruptions
import cv2
import numpy as np
import pytest
import torch
from corruptions import AMOUNTS, Corrupt
from mmengine.registry import MODELS

from cen_mm.datasets.modality import Modality

ROOT = Path(__file__).parents[2]
SMALL = [
    'model.backbone.base_channels=16', 'model.neck.in_channels=[16,32,64,128]', 'model.neck.channels=16',
    'model.neck.top_channels=16', 'model.decode_head.in_channels=16', 'model.decode_head.num_classes=40',
    'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False',
    'test_dataloader.dataset.metainfo=None',
]  # fmt: skip
DEPTH = np.tile(np.linspace(1, 8, 100, dtype=np.float32), (80, 1))
DEPTH[10:20, 30:50] = 0  # invalid
IMAGE = np.random.default_rng(0).integers(30, 256, (80, 100, 3), np.uint8)


THERMAL = IMAGE[..., 0] // 2  # contains its padding value, too
IMAGES = dict(img=IMAGE, depth=DEPTH, thermal=THERMAL, broken=np.zeros((8, 8), np.float32))
SETTINGS = dict(
    rgb=Modality(),
    depth=Modality(dtype='float32', invalid=0),
    thermal=Modality(pad_val=101),
    broken=Modality(dtype='float32', invalid=0),
)


def corrupt(modality: str, kind: str, amount: float, index: int = 0) -> np.ndarray:
    """Corrupts one of the images above, and checks that the others stay."""
    results = {name: image.copy() for name, image in IMAGES.items()}
    results.update(modality_settings=SETTINGS, sample_idx=index)
    results = Corrupt(modality, kind, amount)(results)
    key = 'img' if modality == 'rgb' else modality
    assert all(np.array_equal(results[name], image) for name, image in IMAGES.items() if name != key)
    assert (results[key].dtype, results[key].shape) == (IMAGES[key].dtype, IMAGES[key].shape)
    return results[key]


def test_corruptions():
    assert np.array_equal(corrupt('rgb', 'dark', 0.5), (IMAGE / np.float32(2)).round().astype(np.uint8))
    assert np.array_equal(corrupt('depth', 'shift', 0.05)[:, 5:], DEPTH[:, :-5])
    assert not corrupt('depth', 'shift', 0.05)[:, :5].any()

    for modality, clean in (('depth', DEPTH), ('rgb', IMAGE)):
        holes = corrupt(modality, 'holes', 0.3)
        removed = (holes == 0).reshape(80, 100, -1).all(axis=2)
        assert 0.3 <= removed.mean() < 0.33  # 2.5 % were invalid before
        assert np.array_equal(holes[~removed], clean[~removed])
        assert not corrupt(modality, 'holes', 1.0).any()

    valid = DEPTH > 0
    noisy = corrupt('depth', 'noise', 0.1)
    assert np.array_equal(noisy > 0, valid)
    assert np.std((noisy - DEPTH)[:, 20:80][valid[:, 20:80]]) == pytest.approx(0.1 * DEPTH[valid].std(), rel=0.05)
    assert not np.array_equal(noisy, corrupt('depth', 'noise', 0.1, index=1))
    assert np.array_equal(noisy, corrupt('depth', 'noise', 0.1))

    blurred = corrupt('depth', 'blur', 0.02)
    assert np.array_equal(blurred > 0, valid)
    assert np.abs(blurred - DEPTH)[:, 10:90].max() < 0.15  # a ramp stays a ramp, also beside invalid pixels
    assert (THERMAL == 101).any()
    assert np.abs(corrupt('thermal', 'blur', 0.01).astype(int) - cv2.GaussianBlur(THERMAL, (0, 0), 1)).max() <= 1
    assert (corrupt('thermal', 'holes', 1.0) == 101).all()
    for kind in ('holes', 'noise', 'blur', 'shift'):
        assert not corrupt('broken', kind, 0.2).any()  # without a single measurement
    step = cv2.GaussianBlur(IMAGE, (0, 0), 1).astype(int)
    assert np.abs(corrupt('rgb', 'blur', 0.01).astype(int) - step).max() <= 1


def test_compares_networks_with_test_py(run_tool, made_nyudv2, tmp_path, config, monkeypatch):
    monkeypatch.setattr(corruptions, 'AMOUNTS', {kind: amounts[-1:] for kind, amounts in AMOUNTS.items()})  # faster
    options = [*SMALL, f'test_dataloader.dataset.data_root={made_nyudv2}']
    networks, checkpoints = [], {}
    for path in ('cen_refinenet_r18_rooms', 'ablation/rgb'):
        cfg = config(f'{path}.py')
        cfg.merge_from_dict({k: eval(v) for k, v in (option.split('=') for option in SMALL) if k.startswith('model')})
        state = MODELS.build(cfg.model).state_dict()
        checkpoints[path] = tmp_path / f'{Path(path).stem}.pth'
        torch.save(dict(state_dict=state), checkpoints[path])
        networks += [ROOT / f'configs/{path}.py', checkpoints[path]]
    command = ['analysis_tools/robustness.py', *networks, '--out-dir', tmp_path / 'out', '--cfg-options', *options]
    log = run_tool(*command)
    assert 'cen_refinenet_r18_rooms [11/11] depth missing: mIoU' in log
    assert 'rgb [5/5] rgb blur' in log  # it cannot do without RGB
    table = (tmp_path / 'out/robustness.md').read_text()
    rows = {cells[1]: cells[2:4] for cells in ([c.strip() for c in line.split('|')] for line in table.splitlines())}
    assert rows['corruption'] == ['cen_refinenet_r18_rooms', 'rgb']
    assert rows['depth noise 1'][1] == rows['depth missing'][1] == rows['rgb missing'][1] == ''
    cen, rgb = json.loads((tmp_path / 'out/scores.json').read_text()).values()
    assert rows['rgb dark 0.95'] == [f'{run["rgb dark 0.95"]["mIoU"]:.1f}' for run in (cen, rgb)]
    assert len({str(scores) for scores in cen.values()}) > 8  # all corruptions have an effect
    for name in ('robustness', 'corruptions'):
        assert cv2.imread(str(tmp_path / f'out/{name}.png')).std() > 10

    first = networks[:2]
    for available, key in (((), 'clean'), (('rgb',), 'depth missing')):
        test = ['test.py', *first, '--work-dir', tmp_path / 'test', '--cfg-options', *options]
        run_tool(*test, *(('--available-modalities', *available) if available else ()))
        scores = json.loads(max((tmp_path / 'test').glob('*/2*.json'), key=lambda p: p.stat().st_mtime_ns).read_text())
        assert cen[key] == {name: value for name, value in scores.items() if 'time' not in name}

    # A second run does not test again, unless the settings changed.
    known = json.loads((tmp_path / 'out/scores.json').read_text())
    for run in known.values():
        run['clean']['mIoU'] = 77.7
    (tmp_path / 'out/scores.json').write_text(json.dumps(known))
    assert '[1/11] clean: mIoU 77.70' in run_tool(*command)
    alone = [*command[:3], *command[5:], 'test_dataloader.dataset.indices=1', 'model.available_modalities=[rgb]']
    assert 'cen_refinenet_r18_rooms [5/5] rgb blur 0.02: mIoU' in (log := run_tool(*alone))
    assert 'mIoU 77.70' not in log

    checkpoints['ablation/rgb'].unlink()
    assert 'rgb.pth does not exist: give the path of a .pth file.' in run_tool(*command, fails=True)
    assert 'give a checkpoint after each config' in run_tool(*command[:2], fails=True)
    for config in ('missing.py', 'cen_mm::missing.py'):
        log = run_tool(command[0], config, *command[2:], fails=True)
        assert 'missing.py' in log.splitlines()[-1]
        assert 'Traceback' not in log
