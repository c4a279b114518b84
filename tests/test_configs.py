"""Every config builds."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import HOOKS, METRICS, MODELS, TRANSFORMS, VISUALIZERS

CONFIGS = sorted((Path(__file__).parents[1] / 'configs').glob('cen_*.py'))
CONFIGS = [path for path in CONFIGS if not path.stem.startswith('cen_unet')]  # tested in test_translation
REAL_IMAGES = sorted((CONFIGS[0].parent / 'ablation/nyudv2').rglob('*.py'))  # those of the rooms: test_ablation.py


@pytest.mark.parametrize('path', CONFIGS + REAL_IMAGES, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_config_builds(path, config):
    cfg = config(path)
    # On this device, tensors have shapes only: a third of the time. The MiT reads a value, so it needs real tensors.
    device = 'meta' if cfg.model.backbone.type == 'cen_mm.CENResNet' else 'cpu'
    with torch.device(device), torch.no_grad():
        model = MODELS.build(cfg.model).eval()
        branches = model.branches(torch.randn(1, sum(model.data_preprocessor.channels.values()), 64, 64))
    classes = cfg.train_dataloader.dataset.get('metainfo', {}).get('classes', range(cfg.model.decode_head.num_classes))
    modalities = [] if cfg.model.type == 'cen_mm.FusionSegmentor' else cfg.model.data_preprocessor.modalities
    assert list(branches) == [*modalities, 'ensemble']
    assert all(logits.shape[:2] == (1, len(classes)) for logits in branches.values())
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for transform in loader.dataset.pipeline:
            assert TRANSFORMS.build(transform)
    assert VISUALIZERS.build(dict(cfg.visualizer, name=f'visualizer of {path.stem}', vis_backends=None))
    for hook in cfg.default_hooks.values():
        assert HOOKS.build(hook)
    assert METRICS.build(cfg.val_evaluator)
    assert MODELS.build(dict(cfg.tta_model, module=model))


def test_number_of_parameters_of_refinenet_r101(config):
    model = MODELS.build(config('cen_refinenet_r101_nyudv2.py').model)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == 118.2
