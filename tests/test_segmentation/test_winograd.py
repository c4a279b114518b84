"""Winograd's way against torch's direct convolution."""

import pytest
import torch
import torch.nn.functional as F

from cen_mm.segmentation import winograd
from cen_mm.segmentation.winograd import Conv3x3


@pytest.fixture(autouse=True)
def small_strips(monkeypatch):
    """Several strips in small images."""
    monkeypatch.setattr(winograd, 'TILES', 8)


def run(convolve, x, weight, bias, grad):
    """Output and gradients."""
    leaves = [t.detach().requires_grad_() for t in (x, weight, bias)]
    y = convolve(*leaves)
    return [y, *torch.autograd.grad(y, leaves, grad)]


@pytest.mark.parametrize('channels_last', [True, False])
@pytest.mark.parametrize('size', [(4, 4), (13, 18), (30, 9), (17, 40), (1, 3)])
def test_equals_the_direct_convolution(size, channels_last):
    x = torch.randn(3, 5, *size, dtype=torch.float64)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    weight, bias, grad = (torch.randn(*shape).double() for shape in ((7, 5, 3, 3), (7,), (3, 7, *size)))
    direct = run(lambda *args: F.conv2d(*args, padding=1), x, weight, bias, grad)
    for ours, theirs in zip(run(winograd._Winograd.apply, x, weight, bias, grad), direct):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_float32_stays_close_and_autocast_goes_the_direct_way(monkeypatch):
    monkeypatch.setattr(winograd, 'TILES', 400)
    conv = Conv3x3(128, 160, bias=True).to(memory_format=torch.channels_last)
    wide = torch.randn(2, 256, 30, 41)
    x = wide[:, ::2]  # no memory format at all
    args = (conv.weight.detach(), conv.bias.detach(), torch.randn(2, 160, 30, 41))
    calls = []
    monkeypatch.setattr(winograd, 'winograd', lambda *a, f=winograd.winograd: calls.append(a) or f(*a))
    ours = run(lambda x, *params: torch.func.functional_call(conv, dict(zip(('weight', 'bias'), params)), x), x, *args)
    assert len(calls) == 2, 'forward and backward'
    exact = run(lambda *a: F.conv2d(*a, padding=1), x.double(), *(t.double() for t in args))
    for fast, right in zip(ours, exact):
        assert (fast - right).abs().max() < 2e-5 * right.abs().max()
    with torch.autocast('cpu', torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
    assert 'Winograd' not in str(torch.jit.trace(conv, x, check_trace=False).inlined_graph)
    small = x[:, :, :8, :8]
    assert torch.equal(conv(small), F.conv2d(small, conv.weight, conv.bias, padding=1))
    assert len(calls) == 2


def test_an_activation_in_place_may_follow():
    conv = Conv3x3(128, 128)
    x = torch.randn(1, 128, 32, 32)
    conv(x).relu_().sum().backward()
    direct = torch.autograd.grad(F.conv2d(x, conv.weight, padding=1).relu_().sum(), conv.weight)[0]
    torch.testing.assert_close(conv.weight.grad, direct, rtol=1e-3, atol=1e-3 * direct.abs().max().item())
