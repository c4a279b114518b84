"""Every config in configs/ablation runs a training step and has the properties that its first line states."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from cen_mm.exchange import ExchangeNorm, PerModalityLayer, exchanging_norms, make_per_modality
from cen_mm.segmentation.fusion_baselines import squared_mmd

CONFIGS = sorted((Path(__file__).parents[2] / 'configs/ablation').glob('*.py'))
WIDTHS = [16, 32, 64, 128]


@pytest.fixture
def small(config):
    """Returns a function that builds config and model of an ablation with 5 classes and a quarter of the channels."""

    def build(name: str):
        cfg = config(name if name.startswith('cen_') else f'ablation/{name}.py')
        cfg.model.backbone.base_channels = WIDTHS[0]
        cfg.model.neck.update(in_channels=WIDTHS, channels=16, top_channels=16)
        cfg.model.decode_head.update(in_channels=16, num_classes=5)
        if 'fusion' in cfg.model:
            cfg.model.fusion.in_channels = WIDTHS
        return cfg, MODELS.build(cfg.model)

    return build


def train_step(cfg, model, inputs):
    label = PixelData(data=torch.randint(0, 5, (1, *inputs.shape[2:])))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    losses = model.train()(inputs, [SegDataSample(gt_sem_seg=label) for _ in inputs], mode='loss')
    optimizer.update_params(model.parse_losses(losses)[0])
    return losses


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_trains_and_predicts(path, small):
    cfg, model = small(path.stem)
    model.init_weights()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    inputs = torch.randn(2, 3 * len(model.modalities), 64, 64)
    losses = train_step(cfg, model, inputs)
    has_one_output = 'Fusion' in cfg.model.type
    branches = ['ensemble'] if has_one_output else [*cfg.model.data_preprocessor.modalities, 'ensemble']
    assert {name.split('.')[0] for name in losses if name.endswith('loss_ce')} == set(branches)
    unchanged = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    assert unchanged == ({'ensemble.alpha'} if path.stem == 'late_fusion' else set())
    with torch.no_grad():
        meta = dict(ori_shape=(64, 64), img_shape=(64, 64))
        sample = model.eval()(inputs[:1], [SegDataSample(metainfo=meta)], mode='predict')[0]
    assert set(sample.pred_sem_seg.keys()) == {'data', *branches[:-1]}
    assert sample.seg_logits.data.shape == (5, 64, 64)


def state_without_alpha(model) -> dict:
    """Returns the state dict without ``ensemble.alpha``, whose shape depends on the number of modalities."""
    return {name: tensor for name, tensor in model.state_dict().items() if name != 'ensemble.alpha'}


def test_unshared_equals_two_separate_networks(small):
    rgb, unshared = small('rgb')[1].eval(), small('unshared')[1].eval()
    count = [sum(parameter.numel() for parameter in model.parameters()) for model in (rgb, unshared)]
    assert count[1] - 2 == 2 * (count[0] - 1)  # without alpha, which has one value per modality
    unshared.load_state_dict(state_without_alpha(rgb), strict=False)
    images = torch.randn(2, 1, 3, 64, 64)
    with torch.no_grad():
        branches = unshared.branches(torch.cat(list(images), 1))
        for name, image in zip(('rgb', 'depth'), images):
            torch.testing.assert_close(branches[name], rgb.branches(image)['rgb'])

    unshared.train().branches(torch.randn(2, 6, 64, 64))['depth'].square().sum().backward()
    for module in unshared.modules():
        if isinstance(module, (PerModalityLayer, ExchangeNorm)):
            rgb_layer, depth_layer = module.copies if isinstance(module, PerModalityLayer) else module.norms
            assert not any(parameter.grad.any() for parameter in rgb_layer.parameters())
            assert all(parameter.grad.any() for parameter in depth_layer.parameters())


def test_only_layers_that_match_are_copied_per_modality(tiny_model):
    model = tiny_model({'per_modality_convs': r'^backbone\.conv1$|reduce_conv'})
    copied = [name for name, module in model.named_modules() if isinstance(module, PerModalityLayer)]
    assert copied == ['backbone.conv1', *(f'neck.blocks.{i}.reduce_conv' for i in range(4))]
    model.train()
    model.branches(torch.randn(2, 6, 64, 64))['depth'].square().sum().backward()
    assert [layer.weight.grad.any().item() for layer in model.backbone.conv1.copies] == [False, True]

    with pytest.raises(ValueError, match="per_modality_convs='conv_dw' matches no layer with parameters"):
        tiny_model({'per_modality_convs': 'conv_dw'})


def test_fusion_of_one_shared_backbone_has_its_maps_and_its_penalty(small, tiny_model):
    """As in CEN, with the same weights; only the place of the fusion differs."""
    cen = small('cen_refinenet_r18_rooms.py')[1].eval()
    fused = {'backbone.base_channels': 16, 'decode_head.in_channels': 16, 'type': 'cen_mm.FusionSegmentor'}
    fused['neck'] = dict(in_channels=WIDTHS, channels=16, top_channels=16)
    fused['fusion'] = dict(type='cen_mm.ConcatFusion', in_channels=WIDTHS)
    model = tiny_model({**fused, 'per_modality_convs': False}).eval()
    assert not any(isinstance(module, PerModalityLayer) for module in model.modules())
    for _, norm in exchanging_norms(cen):
        for copied in norm.norms:
            copied.weight.data.uniform_(0, 0.04)  # half of them are below the threshold
    model.backbone.load_state_dict(cen.backbone.state_dict())
    inputs = torch.randn(2, 6, 64, 64)
    with torch.no_grad():
        for got, want in zip(model.maps(inputs), cen.backbone(torch.cat(inputs.split(3, dim=1)))):
            torch.testing.assert_close(got, want)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 5, (1, 64, 64)))) for _ in inputs]
    assert torch.equal(model.loss(inputs, samples)['loss_sparsity'], cen.sparsity(cen))
    model.fusion.in_channels = WIDTHS[:-1]
    with pytest.raises(
        ValueError, match=rf'fusion.in_channels=.*, but the maps of the backbone have \[{WIDTHS[0]}, .* use'
    ):
        model.branches(inputs)


def test_module_that_cannot_be_copied_per_modality_raises_clear_error():
    with pytest.raises(ValueError, match='MultiheadAttention has both parameters and child layers'):
        make_per_modality(nn.Sequential(nn.MultiheadAttention(8, 2)), ['rgb', 'depth'])
    with pytest.raises(ValueError, match='MultiheadAttention has both parameters and child layers'):
        make_per_modality(nn.Sequential(nn.MultiheadAttention(8, 2)), ['rgb', 'depth'], 'out_proj')


def test_shared_norms_do_not_distinguish_modalities(small):
    image = torch.randn(2, 3, 64, 64)
    for name, is_equal in (('shared_norms', True), ('no_exchange', False)):
        cfg, model = small(name)
        train_step(cfg, model, torch.randn(2, 6, 64, 64))
        with torch.no_grad():
            branches = model.eval().branches(torch.cat([image, image], 1))
        assert torch.allclose(branches['rgb'], branches['depth'], atol=1e-5) == is_equal


def test_early_fusion_of_two_equal_images_equals_one_modality(small):
    rgb, early = small('rgb')[1].eval(), small('early_fusion')[1].eval()
    assert early.backbone.conv1.in_channels == 6
    early.load_state_dict(state_without_alpha(rgb), strict=True)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        fused = early.branches(torch.cat([image, image], 1))['ensemble']
        torch.testing.assert_close(fused, rgb.branches(image)['rgb'])


def test_late_fusion_is_the_mean_of_the_branches(small):
    cfg, model = small('late_fusion')
    train_step(cfg, model, torch.randn(2, 6, 64, 64))
    with torch.no_grad():
        branches = model.eval().branches(torch.randn(1, 6, 64, 64))
    torch.testing.assert_close(branches['ensemble'], (branches['rgb'] + branches['depth']) / 2)


@pytest.mark.parametrize('name', ['concat', 'self_attention'])
def test_fusion_can_select_one_modality(small, name):
    fusion = small(name)[1].fusion
    maps = [torch.randn(6, width, 4, 5) for width in WIDTHS]  # two modalities, three images
    for stage in fusion.stages:
        conv = stage if name == 'concat' else stage[1]
        nn.init.zeros_(conv.bias)
        nn.init.zeros_(conv.weight)
        center = conv.kernel_size[0] // 2
        width = conv.out_channels
        conv.weight.data[:, width:, center, center] = torch.eye(width)  # selects depth
        if name == 'self_attention':
            nn.init.zeros_(stage[0].gates[2].weight)
            nn.init.constant_(stage[0].gates[2].bias, math.log(3))  # the gate is sigmoid(log 3) = 3/4
    gate = 1 if name == 'concat' else 0.75
    for fused, stacked in zip(fusion(maps), maps):
        torch.testing.assert_close(fused, gate * stacked[3:])
    assert fusion.loss(maps) == {}


def test_align_fusion_and_its_loss(small):
    fusion = small('align')[1].fusion
    maps = [torch.randn(6, width, 4, 5) for width in WIDTHS]
    for fused, stacked in zip(fusion(maps), maps):
        torch.testing.assert_close(fused, (stacked[:3] + stacked[3:]) / 2)
    terms = [mmd_by_hand(*stacked.mean((2, 3)).double().numpy().reshape(2, 3, -1)) for stacked in maps]
    assert fusion.loss(maps)['loss_align'].item() == pytest.approx(0.1 * np.mean(terms), rel=1e-4)
    equal = [torch.cat([stacked[:3], stacked[:3]]) for stacked in maps]
    assert fusion.loss(equal)['loss_align'].item() == pytest.approx(0, abs=1e-6)
    x = torch.randn(3, 4)
    assert squared_mmd(x, x + 5) > squared_mmd(x, x + 1) > squared_mmd(x, x.flip(0)) - 1e-6


def mmd_by_hand(x: np.ndarray, y: np.ndarray) -> float:
    """Computes eq. 5 of Gretton et al. (2012) in plain sums, with the kernel widths documented in squared_mmd."""
    both = np.concatenate([x, y])
    spread = np.mean([((a - b) ** 2).sum() for a in both for b in both])

    def kernel(a, b):
        return np.mean([math.exp(-((a - b) ** 2).sum() / (factor * spread)) for factor in (0.25, 0.5, 1, 2, 4)])

    n = len(x)
    within = sum(kernel(a, b) for z in (x, y) for a in z for b in z)
    return (within - 2 * sum(kernel(a, b) for a in x for b in y)) / n**2


def test_ablations_of_exchange_and_penalty(small):
    torch.manual_seed(0)
    models = {
        name: small(name)[1].eval()
        for name in ('cen_refinenet_r18_rooms.py', 'penalty_no_exchange', 'no_exchange', 'exchange_no_penalty')
    }
    cen = models['cen_refinenet_r18_rooms.py']
    for _, norm in exchanging_norms(cen):
        nn.init.constant_(norm.norms[0].weight[:4], 0.01)
        nn.init.constant_(norm.norms[1].bias[:4], 1.0)
    inputs = torch.randn(1, 6, 64, 64)
    out = {}
    for name, model in models.items():
        model.load_state_dict(cen.state_dict())
        with torch.no_grad():
            out[name] = model.branches(inputs)['rgb']
    assert torch.equal(out['penalty_no_exchange'], out['no_exchange'])
    assert torch.equal(out['exchange_no_penalty'], out['cen_refinenet_r18_rooms.py'])
    assert not torch.allclose(out['no_exchange'], out['exchange_no_penalty'])
    assert models['no_exchange'].sparsity is models['exchange_no_penalty'].sparsity is None
    untrained = {name: small(name)[1] for name in ('penalty_no_exchange', 'exchange_all')}
    parts, all_channels = (model.sparsity(model).item() for model in untrained.values())
    assert parts == pytest.approx(2e-3 * 2 * sum(WIDTHS))  # two blocks per stage, all scales are 1
    assert all_channels == pytest.approx(2 * parts)
