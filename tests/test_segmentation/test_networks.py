"""Any network becomes multimodal through its config. To test another network, add it to NETWORKS."""

import copy
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from cen_mm.exchange import exchanging_norms

CONFIGS = Path(__file__).parents[2] / 'configs'
RESNET = dict(depth=50, base_channels=16, stem_channels=16)
EFFICIENTNET = dict(
    _delete_=True,
    type='cen_mm.MultimodalBackbone',
    backbone=dict(type='mmseg.TIMMBackbone', model_name='efficientnet_b0', pretrained=False, out_indices=(1, 2, 3, 4)),
    exchange=r'blocks\.(0\.\d\.bn1|[1-6]\.\d\.bn2)$',  # after the depthwise convolution of every block
)
# Name: config, options that make the network small, number of norms that exchange channels.
NETWORKS = {
    'RefineNet, ResNet': ('cen_refinenet_r18_nyudv2.py', {}, 8),
    'PSPNet, ResNet': (
        'cen_pspnet_r101_nyudv2.py',
        dict(backbone=RESNET, decode_head=dict(in_channels=512, channels=32), auxiliary_head=dict(in_channels=256)),
        16,
    ),
    'DeepLabV3+, ResNetV1c': (
        'cen_deeplabv3plus_r50_nyudv2.py',
        dict(
            backbone=dict(backbone=RESNET),
            decode_head=dict(in_channels=512, channels=32, c1_in_channels=64, c1_channels=16),
            auxiliary_head=dict(in_channels=256),
        ),
        16,
    ),
    'UPerNet, ConvNeXt': (
        'cen_upernet_convnext-tiny_nyudv2.py',
        dict(
            backbone=dict(backbone=dict(arch=dict(_delete_=True, depths=[1, 1, 2, 1], channels=[16, 32, 64, 128]))),
            decode_head=dict(in_channels=[16, 32, 64, 128], channels=32),
            auxiliary_head=dict(in_channels=64),
        ),
        5,
    ),
    'SegFormer, MiT-B2': (
        'cen_segformer_mit-b2_nyudv2.py',
        dict(backbone=dict(backbone=dict(embed_dims=16)), decode_head=dict(in_channels=[16, 32, 80, 128])),
        32,
    ),
    'SegFormer, MiT-B0': ('cen_segformer_mit-b0_nyudv2.py', {}, 16),
    'RefineNet, EfficientNet-Lite0 of timm': ('cen_refinenet_efficientnet-lite0_nyudv2.py', {}, 15),
    'SegFormer, EfficientNet of timm': (
        'cen_segformer_mit-b0_nyudv2.py',
        dict(backbone=EFFICIENTNET, decode_head=dict(in_channels=[24, 40, 112, 320])),
        16,
    ),
}


@pytest.fixture(params=NETWORKS)
def network(request, config) -> tuple[Config, int, Config]:
    """Config of a small network, number of its exchanging norms, and config of its backbone with ImageNet weights."""
    if 'timm' in request.param:
        pytest.importorskip('timm')
    name, options, count = NETWORKS[request.param]
    cfg, pretrained = config(name), Config.fromfile(CONFIGS / name)
    for each in (cfg, pretrained):
        each.merge_from_dict(dict(model=copy.deepcopy(options)))
    return cfg, count, pretrained.model.backbone


def test_trains_and_exchanges(network):
    cfg, count, _ = network
    model = MODELS.build(cfg.model).train()
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 40, (1, 64, 64)))) for _ in range(2)]
    inputs = {name: [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)] * 2 for name in model.modalities}
    data = model.data_preprocessor(dict(inputs=inputs, data_samples=samples), True)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert loss.isfinite()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]
    wrapper.step()
    assert all(parameter.isfinite().all() for parameter in model.parameters())

    norms = dict(exchanging_norms(model.eval()))
    assert len(norms) == count
    equal = {}
    for name, norm in norms.items():
        norm.register_forward_hook(lambda _, __, out, name=name: equal.update({name: torch.equal(*out.chunk(2))}))
    with torch.no_grad():
        branches = model.branches(data['inputs'])
        assert not torch.equal(branches['rgb'], branches['depth'])
        assert set(equal) == set(norms)
        assert not any(equal.values())
        for norm in norms.values():
            norm.norms[1].weight.zero_()
        model.branches(data['inputs'])
    assert all(equal.values())


def test_pretrained_weights_fill_every_parameter(network, tmp_path, capfd, request):
    _, _, backbone = network
    plain = dict(backbone.get('backbone') or {**backbone, 'type': 'mmseg.ResNet'})
    init_cfg = plain.pop('init_cfg', None)
    plain.pop('exchange', None), plain.pop('threshold', None)
    weights = MODELS.build(plain).state_dict()
    for tensor in weights.values():
        tensor.copy_(torch.rand(tensor.shape) + 0.5 if tensor.is_floating_point() else torch.tensor(7))
    checkpoint = tmp_path / 'plain.pth'
    if init_cfg is None:  # timm loads the weights when it builds the network
        torch.save({key.replace('timm_model.', ''): value for key, value in weights.items()}, checkpoint)
        inner = dict(plain, pretrained=True, pretrained_cfg_overlay=dict(file=str(checkpoint)))
    else:
        torch.save({init_cfg.get('prefix', '') + key: value for key, value in weights.items()}, checkpoint)
        inner = dict(plain, init_cfg=dict(init_cfg, checkpoint=str(checkpoint)))
    inner = dict(backbone=inner) if 'backbone' in backbone else dict(init_cfg=inner['init_cfg'])
    MMLogger.get_instance(request.node.name)
    model = MODELS.build({**backbone, **inner, 'modalities': ['rgb', 'depth']})
    model.init_weights()
    filled = {}
    for key, tensor in getattr(model, 'backbone', model).state_dict().items():
        key = re.sub(r'\.norms\.\d', '', key)
        torch.testing.assert_close(tensor, weights[key], msg=key)
        filled[key] = filled.get(key, 0) + 1
    assert set(filled) == set(weights)
    assert set(filled.values()) == {1, 2}  # shared layers, per-modality norms
    assert 'missing keys' not in ''.join(capfd.readouterr())


def test_auxiliary_loss_is_the_sum_over_the_modalities(config):
    name, options, _ = NETWORKS['PSPNet, ResNet']
    cfg = config(name)
    cfg.merge_from_dict(dict(model=copy.deepcopy(options)))
    model = MODELS.build(cfg.model).eval()
    labels = torch.randint(0, 40, (2, 1, 64, 64))
    labels[0, :, :9] = 255
    inputs = torch.randn(2, 6, 64, 64)
    losses = model.loss(inputs, [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels])
    logits = model.auxiliary_head(model.extract_feat(inputs)).chunk(2)
    logits = [F.interpolate(each, size=(64, 64), mode='bilinear', align_corners=False) for each in logits]
    want = sum(0.4 * F.cross_entropy(each, labels[:, 0], ignore_index=255) for each in logits)
    torch.testing.assert_close(losses['aux.loss_ce'], want)


def test_missing_library_raises_clear_error():
    backbone = dict(type='nowhere.Net')
    with pytest.raises(ImportError, match='nowhere.Net needs nowhere, which is not installed: run `pip install nowhe'):
        MODELS.build(dict(type='cen_mm.MultimodalBackbone', backbone=backbone, modalities=['rgb']))
