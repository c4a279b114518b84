"""float16 with a loss scale: the gradients of parameters are accumulated in float32."""

import pytest
import torch
from mmengine.utils import digit_version
from torch import nn

from cen_mm.exchange import Ensemble, ExchangeNorm

SCALE = 65536.0


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.4'), reason='torch 2.1 has no float16 batch norm on the CPU'
)
@pytest.mark.parametrize('num_modalities', [2, 3])
@pytest.mark.parametrize('training', [False, True])
def test_gradients_of_scale_and_shift(num_modalities, training):
    torch.manual_seed(0)
    names = [f'm{i}' for i in range(num_modalities)]
    half = ExchangeNorm(nn.BatchNorm2d(4), names, 0.5).train(training)
    for norm in half.norms:
        nn.init.uniform_(norm.weight, 0, 1.5)
    exact = ExchangeNorm(nn.BatchNorm2d(4), names, 0.5).train(training)
    exact.load_state_dict(half.state_dict())
    exact.double()
    x = torch.randn(2 * num_modalities, 4, 64, 64).half()
    grad = torch.rand_like(x) * 0.05  # summed over 8192 pixels and scaled, far beyond float16's 65504
    out = half(x)
    assert out.dtype == torch.float16
    out.backward(grad * SCALE)
    exact(x.double()).backward(grad.double())
    for ours, want in zip(half.parameters(), exact.parameters()):
        assert ours.grad.dtype == torch.float32
        torch.testing.assert_close(ours.grad / SCALE, want.grad.float(), rtol=5e-3, atol=5e-2)


def test_gradient_of_alpha():
    ensemble = Ensemble(['rgb', 'depth'])
    x = torch.randn(4, 3, 64, 64).half()
    grad = torch.rand(2, 3, 64, 64)
    ensemble(x)['ensemble'].backward(grad * SCALE)
    half = ensemble.alpha.grad / SCALE
    ensemble.alpha.grad = None
    ensemble.double()(x.double())['ensemble'].backward(grad.double())
    torch.testing.assert_close(half.double(), ensemble.alpha.grad, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize('num_modalities', [2, 3])
def test_autocast_keeps_the_precision_of_the_features(num_modalities):
    norm = ExchangeNorm(nn.BatchNorm2d(4), [f'm{i}' for i in range(num_modalities)], 2.0)
    conv = nn.Conv2d(3, 4, 1)
    for module in (norm.train(), norm.eval()):
        for grad in (True, False):
            with torch.autocast('cpu', torch.bfloat16), torch.set_grad_enabled(grad):
                assert module(conv(torch.randn(2 * num_modalities, 3, 8, 8))).dtype == torch.bfloat16
