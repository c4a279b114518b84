"""Compares Winograd convolutions with torch's direct convolution."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from cen_mm.segmentation import winograd
from cen_mm.segmentation.winograd import WinogradConv2d


@pytest.fixture(autouse=True)
def small_strips(monkeypatch):
    """Makes the strips so small that even small images have several."""
    monkeypatch.setattr(winograd, 'TILES', 8)


def output_and_gradients(convolve, x, weight, bias, grad):
    """Returns the output and the gradients of input, weight and bias."""
    leaves = [t.detach().requires_grad_() for t in (x, weight, bias)]
    y = convolve(*leaves)
    return [y, *torch.autograd.grad(y, leaves, grad)]


@pytest.mark.parametrize('channels_last', [True, False])
@pytest.mark.parametrize('size', [(4, 4), (13, 18), (30, 9), (17, 40), (1, 3)])
def test_matches_the_direct_convolution(size, channels_last):
    x = torch.randn(3, 5, *size, dtype=torch.float64)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    weight, bias, grad = (torch.randn(*shape).double() for shape in ((7, 5, 3, 3), (7,), (3, 7, *size)))
    direct = output_and_gradients(lambda *args: F.conv2d(*args, padding=1), x, weight, bias, grad)
    results = output_and_gradients(winograd._Winograd.apply, x, weight, bias, grad)
    for result, reference in zip(results, direct):
        torch.testing.assert_close(result, reference, rtol=1e-9, atol=1e-11)


@pytest.mark.skipif(not winograd.TORCH_SUPPORTED, reason='torch < 2.4 uses the direct convolution')
def test_float32_error_is_small_and_autocast_is_direct(monkeypatch):
    monkeypatch.setattr(winograd, 'TILES', 400)
    conv = WinogradConv2d(128, 160, 3, padding=1).to(memory_format=torch.channels_last)
    wide = torch.randn(2, 256, 30, 41)
    x = wide[:, ::2]  # neither contiguous nor channels last
    args = (conv.weight.detach(), conv.bias.detach(), torch.randn(2, 160, 30, 41))
    calls = []
    monkeypatch.setattr(winograd, 'winograd', lambda *a, f=winograd.winograd: calls.append(a) or f(*a))
    results = output_and_gradients(
        lambda x, *params: torch.func.functional_call(conv, dict(zip(('weight', 'bias'), params)), x), x, *args
    )
    assert len(calls) == 2, 'forward and backward'
    references = output_and_gradients(lambda *a: F.conv2d(*a, padding=1), x.double(), *(t.double() for t in args))
    for result, reference in zip(results, references):
        assert (result - reference).abs().max() < 2e-5 * reference.abs().max()
    with torch.autocast('cpu', torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
    assert 'aten::_convolution' in str(torch.jit.trace(conv, x, check_trace=False).inlined_graph)
    small = x[:, :, :8, :8]
    assert torch.equal(conv(small), F.conv2d(small, conv.weight, conv.bias, padding=1))
    assert len(calls) == 2


def test_in_place_activation_after_the_convolution():
    conv = WinogradConv2d(128, 128, 3, padding=1, bias=False)
    x = torch.randn(1, 128, 32, 32)
    conv(x).relu_().sum().backward()
    direct = torch.autograd.grad(F.conv2d(x, conv.weight, padding=1).relu_().sum(), conv.weight)[0]
    torch.testing.assert_close(conv.weight.grad, direct, rtol=1e-3, atol=1e-3 * direct.abs().max().item())


@pytest.mark.parametrize(
    'options', [dict(stride=2), dict(padding=0), dict(groups=2), dict(dilation=2), dict(kernel_size=5)]
)
def test_other_convolutions_use_the_direct_convolution(options, monkeypatch):
    monkeypatch.setattr(winograd, 'winograd', None)
    conv = WinogradConv2d(128, 128, **{**dict(kernel_size=3, padding=1), **options})
    plain = nn.Conv2d(128, 128, **{**dict(kernel_size=3, padding=1), **options})
    plain.load_state_dict(conv.state_dict())
    x = torch.randn(1, 128, 40, 40)
    assert torch.equal(conv(x), plain(x))


def test_old_torch_uses_the_direct_convolution(monkeypatch):
    monkeypatch.setattr(winograd, 'TORCH_SUPPORTED', False)
    monkeypatch.setattr(winograd, 'winograd', None)
    conv = WinogradConv2d(128, 128, 3, padding=1)
    x = torch.randn(1, 128, 40, 40)
    assert torch.equal(conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1))


@pytest.mark.parametrize(
    ('conv_cfg', 'kind'), [(None, nn.Conv2d), (dict(type='cen_mm.WinogradConv2d'), WinogradConv2d)]
)
def test_neck_uses_the_layer_type_in_conv_cfg(conv_cfg, kind):
    neck = MODELS.build(dict(type='cen_mm.RefineNetNeck', in_channels=[4, 4, 4, 4], channels=4, conv_cfg=conv_cfg))
    assert {type(module) for module in neck.modules() if isinstance(module, nn.Conv2d)} == {kind}
