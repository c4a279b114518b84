"""Trained models of both tasks, on small data sets."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

SEGMENTATION = {
    'model.backbone.base_channels': 16,
    'model.neck': dict(in_channels=[16, 32, 64, 128], channels=16, top_channels=16),
    'model.decode_head': dict(in_channels=16, num_classes=40),
    'test_dataloader.dataset.metainfo': None,
}


class Trained(NamedTuple):
    """A config whose test data set exists, its checkpoint, and the paths of the test samples."""

    cfg: Config
    checkpoint: Path
    samples: list


def _save(cfg: Config, path: Path) -> Path:
    """Saves a checkpoint with random norms, many of whose channels are exchanged."""
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    for name, tensor in model.state_dict().items():
        if '.norms.' in name and tensor.is_floating_point():
            tensor.uniform_(0.01, 1.5)
    torch.save(dict(state_dict=model.state_dict()), path)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False, batch_size=1)
    return path


@pytest.fixture
def segmentation(made_nyudv2, config, tmp_path) -> Trained:
    """RGB and 16-bit depth, two test images."""
    cfg = config('cen_refinenet_r18_rooms.py')
    cfg.merge_from_dict({**SEGMENTATION, 'test_dataloader.dataset.data_root': str(made_nyudv2)})
    samples = [
        dict(rgb=str(made_nyudv2 / f'rgb/{i:06d}.png'), depth=str(made_nyudv2 / f'depth/{i:06d}.png')) for i in (4, 5)
    ]
    return Trained(cfg, _save(cfg, tmp_path / 'segmentation.pth'), samples)


@pytest.fixture
def translation(rooms, config, tmp_path) -> Trained:
    """Shading and 16-bit texture edges to RGB, two test images."""
    pytest.importorskip('mmagic')
    root = shutil.copytree(rooms, tmp_path / 'taskonomy')
    cfg = config('cen_unet_shade-texture2rgb_rooms.py')
    cfg.merge_from_dict({'model.generator.base_channels': 4, 'model.discriminator.base_channels': 4})
    cfg.test_dataloader.dataset.data_root = str(root)
    names = (root / 'test_domain.txt').read_text().split()
    samples = [{m: str(root / name.replace('{domain}', m)) for m in cfg.model.modalities} for name in names]
    return Trained(cfg, _save(cfg, tmp_path / 'translation.pth'), samples)


@pytest.fixture(params=['segmentation', 'translation'])
def trained(request) -> Trained:
    """Runs the test for both tasks."""
    return request.getfixturevalue(request.param)
