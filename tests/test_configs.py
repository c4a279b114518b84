"""Every config builds what it names, and a child of three lines works."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, METRICS, MODELS, TRANSFORMS, VISUALIZERS

CONFIGS = sorted((Path(__file__).parents[1] / 'configs').rglob('cen_*.py'))
CONFIGS = [path for path in CONFIGS if '_base_' not in path.parts]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_builds(path, config):
    cfg = config(path)
    model = MODELS.build(cfg.model).eval()
    inputs = torch.randn(1, 3 * len(model.modalities), 64, 64)
    with torch.no_grad():
        branches = model.branches(inputs)
    classes = cfg.train_dataloader.dataset.get('metainfo', {}).get('classes', range(cfg.model.decode_head.num_classes))
    assert list(branches) == [*cfg.model.data_preprocessor.modalities, 'ensemble']
    assert all(logits.shape[:2] == (1, len(classes)) for logits in branches.values())
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for transform in loader.dataset.pipeline:
            assert TRANSFORMS.build(transform)
    assert VISUALIZERS.build(dict(cfg.visualizer, name=f'visualizer of {path.stem}', vis_backends=None))
    for hook in (*cfg.default_hooks.values(), *cfg.custom_hooks):
        assert HOOKS.build(hook)
    assert METRICS.build(cfg.val_evaluator)
    assert MODELS.build(dict(cfg.tta_model, module=model))


def test_child_of_three_lines(tmp_path, config):
    parent = CONFIGS[0].parent / 'cen_refinenet_r18_rooms.py'
    child = tmp_path / 'child.py'
    lines = [f"_base_ = '{parent}'", 'model = dict(backbone=dict(threshold=0.05))', 'train_cfg = dict(max_epochs=5)']
    child.write_text('\n'.join(lines))
    cfg = Config.fromfile(child)
    model = MODELS.build(cfg.model)
    assert {norm.threshold for norm in model.backbone.modules() if getattr(norm, 'threshold', None)} == {0.05}
    assert cfg.train_cfg.max_epochs == 5


def test_size_of_the_papers_network(config):
    model = MODELS.build(config('cen_refinenet_r101_nyudv2.py').model)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == 118.2
