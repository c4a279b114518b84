"""Any backbone of mmseg becomes multimodal without code. MiT, ConvNeXt and EfficientNet are in test_networks.py."""

from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import MODELS

from cen_mm.exchange import exchanging_norms

README = Path(__file__).parents[2] / 'configs/README.md'
HRNET = {
    f'stage{i + 1}': dict(
        num_modules=1,
        num_branches=i + 1,
        block='BASIC' if i else 'BOTTLENECK',
        num_blocks=(1,) * (i + 1),
        num_channels=(8, 16, 32, 64)[: i + 1],
    )
    for i in range(4)
}
SMALL_VIT = dict(img_size=(64, 64), embed_dims=16, num_layers=2, num_heads=2, out_indices=(0, 1))
# Config of a small backbone, regular expression of the norms inside the residual blocks, number of these norms.
BACKBONES = [
    (dict(type='mmseg.ResNet', depth=18, base_channels=8), r'layer\d\.\d+\.bn1$', 8),
    (dict(type='mmseg.ResNet', depth=50, base_channels=8), r'layer\d\.\d+\.bn2$', 16),
    (dict(type='mmseg.ResNeXt', depth=50, base_channels=16, groups=4, base_width=4), r'layer\d\.\d+\.bn2$', 16),
    (
        dict(type='mmseg.HRNet', extra=HRNET, norm_cfg=dict(type='BN')),
        r'(layer1\.\d+\.bn2|branches\.\d\.\d+\.bn1)$',
        1 + 2 + 3 + 4,
    ),
    (
        dict(type='mmseg.MobileNetV2', widen_factor=0.25, out_indices=(1, 2, 4, 6)),
        r'layer(1\.0\.conv\.0|[2-7]\.\d\.conv\.1)\.bn$',  # the first block has no expansion
        17,
    ),
    (dict(type='mmseg.MobileNetV3', out_indices=(0, 1, 12)), r'depthwise_conv\.bn$', 11),
    (
        dict(type='mmseg.SwinTransformer', embed_dims=16, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 2)),
        r'blocks\.\d+\.norm[12]$',
        10,
    ),
    (dict(type='mmseg.VisionTransformer', **SMALL_VIT), r'layers\.\d+\.ln[12]$', 4),
    (dict(type='mmseg.BEiT', **SMALL_VIT, qv_bias=True, init_values=0.1), r'layers\.\d+\.ln[12]$', 4),
]


@pytest.mark.parametrize(
    ('backbone', 'exchange', 'count'), BACKBONES, ids=lambda value: value['type'] if isinstance(value, dict) else ''
)
def test_backbone_equals_the_plain_one_until_channels_are_replaced(backbone, exchange, count, tmp_path, request):
    assert f'`{exchange}`'.replace('|', r'\|') in README.read_text()
    MMLogger.get_instance(request.node.name)
    plain = MODELS.build(backbone)
    plain.eval()  # mmseg's backbones return None
    for parameter in plain.parameters():
        parameter.data = torch.rand_like(parameter) - 0.5 if parameter.dim() > 1 else torch.rand_like(parameter) + 0.5
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'plain.pth'))
    config = dict(type='cen_mm.MultimodalBackbone', backbone=dict(backbone, init_cfg=init_cfg), exchange=exchange)
    model = MODELS.build(dict(config, modalities=['rgb', 'depth']))
    model.init_weights()

    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        expected = [torch.cat(maps) for maps in zip(plain(x[:2]), plain(x[2:]))]
        torch.testing.assert_close(list(model.eval()(x)), expected, rtol=1e-3, atol=1e-4)

    sum(each.square().mean() for each in model.train()(x)).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert len(gradients) > count
    assert all(gradient.isfinite().all() for gradient in gradients)

    norms = dict(exchanging_norms(model.eval()))
    assert len(norms) == count
    outputs = {}
    for name, norm in norms.items():
        assert all(each.weight.grad.any() for each in norm.norms)
        norm.norms[1].weight.data.zero_()
        norm.register_forward_hook(lambda _, __, out, name=name: outputs.update({name: out}))
    with torch.no_grad():
        model(x)
    assert all(torch.equal(*outputs[name].chunk(2)) for name in norms)
