import copy

import pytest
import torch
import torchvision
from mmengine.utils import digit_version
from torch import nn

from cen_mm.exchange import Ensemble, ExchangeNorm, channel_exchange


class LayerNorm2d(nn.LayerNorm):
    """Has the interface of mmpretrain's LayerNorm2d: channels first, unless ``data_format`` is given."""

    def forward(self, x, data_format='channel_first'):
        return super().forward(x) if data_format == 'channel_last' else super().forward(x.mT).mT


NORMS = {
    'batch': (nn.BatchNorm2d(6), (4, 6, 5, 3)),
    'sync-batch': (nn.SyncBatchNorm(6), (4, 6, 5, 3)),
    'instance': (nn.InstanceNorm2d(6, affine=True, track_running_stats=True), (4, 6, 5, 3)),
    'group': (nn.GroupNorm(2, 6), (4, 6, 5, 3)),
    'layer': (nn.LayerNorm(6), (4, 7, 6)),
    'layer2d': (torchvision.models.convnext.LayerNorm2d(6), (4, 6, 6, 6)),
}


def random_norms(norm: nn.Module, num_modalities: int) -> list[nn.Module]:
    """Returns float64 copies of a norm with different, random parameters and statistics."""
    norms = [copy.deepcopy(norm).double() for _ in range(num_modalities)]
    for tensor in (t for n in norms for t in (*n.parameters(), *n.buffers()) if t.is_floating_point()):
        tensor.data.uniform_(0.5, 1.5)
    norms[0].weight.data[::2] = 0.1  # some channels are below the threshold for every seed
    return norms


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
@pytest.mark.parametrize('name', NORMS)
def test_matches_separate_norms(name, num_modalities, training):
    if name == 'sync-batch' and training:
        pytest.skip('SyncBatchNorm trains on GPUs only')
    norm, shape = NORMS[name]
    norms = random_norms(norm, num_modalities)
    layer = ExchangeNorm(norm, 'abc'[:num_modalities], threshold=0.8).double()
    layer.norms.load_state_dict(nn.ModuleList(norms).state_dict())
    layer.train(training)
    xs = [torch.randn(shape, dtype=torch.float64) for _ in norms]
    want = torch.cat([n.train(training)(x) for n, x in zip(norms, xs)])
    scale = torch.stack([n.weight for n in norms])
    want = channel_exchange(want, scale, 0.8, -1 if name == 'layer' else 1)
    torch.testing.assert_close(layer(torch.cat(xs)), want, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(layer.norms.buffers(), nn.ModuleList(norms).buffers()):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(('data_format', 'channel_dim'), [('channel_first', 1), ('channel_last', -1)])
def test_layer_norm_with_data_format(data_format, channel_dim):
    norms = random_norms(LayerNorm2d(6), 2)
    layer = ExchangeNorm(norms[0], 'ab', threshold=0.8).double()
    layer.norms.load_state_dict(nn.ModuleList(norms).state_dict())
    x = torch.randn(4, 6, 6, dtype=torch.float64)  # both formats have this shape
    want = torch.cat([norm(part, data_format) for norm, part in zip(norms, x.chunk(2))])
    want = channel_exchange(want, layer.scales, 0.8, channel_dim)
    torch.testing.assert_close(layer(x, data_format=data_format), want)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('name', ['BatchNormAct2d', 'GroupNormAct', 'LayerNormAct2d'])
def test_activation_of_a_norm_is_applied_after_the_exchange(name, training):
    layers = pytest.importorskip('timm.layers')
    options = dict(num_groups=2) if name == 'GroupNormAct' else {}
    norms = [norm.train(training) for norm in random_norms(getattr(layers, name)(6, **options, act_layer=nn.SiLU), 2)]
    layer = ExchangeNorm(norms[0], 'ab', threshold=0.8).double().train(training)
    layer.norms.load_state_dict(nn.ModuleList(norms).state_dict())
    for norm in norms:
        norm.act = nn.Identity()
    x = torch.randn(4, 6, 6, 6, dtype=torch.float64)
    want = torch.cat([norm(part) for norm, part in zip(norms, x.chunk(2))])
    torch.testing.assert_close(layer(x), nn.functional.silu(channel_exchange(want, layer.scales, 0.8)))


def test_gradients_of_frozen_batch_norm_match_torch():
    norms = random_norms(nn.BatchNorm2d(6), 2)
    layer = ExchangeNorm(nn.BatchNorm2d(6), 'ab').double().eval()
    layer.norms.load_state_dict(nn.ModuleList(norms).state_dict())
    x = torch.randn(4, 6, 5, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(x)
    (layer(x) * weight).sum().backward()
    got, x.grad = x.grad, None
    (torch.cat([n.eval()(part) for n, part in zip(norms, x.chunk(2))]) * weight).sum().backward()
    torch.testing.assert_close(got, x.grad)
    for ours, theirs in zip(layer.parameters(), nn.ModuleList(norms).parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_weights_of_a_plain_norm_fill_every_copy():
    plain, layer = nn.BatchNorm2d(4), nn.Sequential(ExchangeNorm(nn.BatchNorm2d(4), ['rgb', 'depth']))
    plain.weight.data.uniform_()
    plain.running_mean.uniform_()
    keys = layer.load_state_dict(nn.Sequential(plain).state_dict())
    assert not keys.missing_keys
    assert not keys.unexpected_keys
    for norm in layer[0].norms:
        torch.testing.assert_close(norm.state_dict(), plain.state_dict())


def test_invalid_threshold_or_norm_raises_clear_error():
    with pytest.raises(ValueError, match='threshold=-0.1'):
        ExchangeNorm(nn.BatchNorm2d(4), 'ab', threshold=-0.1)
    with pytest.raises(ValueError, match='no scale'):
        ExchangeNorm(nn.InstanceNorm2d(4), 'ab', threshold=0.1)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('available', [[1], [2, 0]])
@pytest.mark.parametrize('name', NORMS)
def test_available_modalities_match_a_smaller_layer(name, available, training):
    if name == 'sync-batch' and training:
        pytest.skip('SyncBatchNorm trains on GPUs only')
    norm, shape = NORMS[name]
    norms = random_norms(norm, 3)
    large, small = ExchangeNorm(norm, 'abc', 0.8).double(), ExchangeNorm(norm, 'abc'[: len(available)], 0.8).double()
    large.norms.load_state_dict(nn.ModuleList(norms).state_dict())
    small.norms.load_state_dict(nn.ModuleList(norms[i] for i in available).state_dict())
    large.available = available
    x = torch.randn(len(available) * shape[0], *shape[1:], dtype=torch.float64)
    assert torch.equal(large.train(training)(x), small.train(training)(x))
    for i, ours in zip(available, small.norms):
        assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), large.norms[i].buffers()))


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('num_modalities', [2, 3])
def test_memory_formats_with_in_place_activation(num_modalities, training, dtype):
    """Values and gradients match a float64 reference for contiguous, channels-last and sliced inputs of odd size."""
    norms = [norm.to(dtype).train(training) for norm in random_norms(nn.BatchNorm2d(6), num_modalities)]
    for channel in (0, 3):
        norms[1].weight.data[channel] = 1.2
    layer = ExchangeNorm(norms[0], 'abc'[:num_modalities], threshold=0.8).to(dtype).train(training)
    layer.norms.load_state_dict(nn.ModuleList(norms).state_dict())
    x = torch.randn(num_modalities * 2, 6, 7, 5).to(dtype)
    whole = torch.randn(num_modalities * 2, 9, 7, 8).to(dtype)
    whole[:, 1:7, :, 2:7] = x
    results = []
    for start in (x.double(), x, x.contiguous(memory_format=torch.channels_last), whole[:, 1:7, :, 2:7]):
        start = start.detach().requires_grad_()
        if start.dtype != dtype or (dtype == torch.float64 and not results):  # the reference, in float64
            parts = [copy.deepcopy(n).double()(part) for n, part in zip(norms, start.chunk(num_modalities))]
            outs = []
            for m, part in enumerate(parts):
                other = sum(parts[:m] + parts[m + 1 :]) / (num_modalities - 1)
                replaced = (norms[m].weight.abs() < 0.8)[None, :, None, None]
                outs.append(torch.where(replaced, other, part))
            out = torch.cat(outs).relu()
        else:
            out = copy.deepcopy(layer)(start).relu_()
        out.square().sum().backward()
        results.append((out.double(), start.grad.double()))
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.03}[dtype]
    for result in results[1:]:
        for ours, want in zip(result, results[0]):
            assert (ours - want).abs().max() <= tolerance * want.abs().max()


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.4'), reason='torch 2.1 breaks the graph at kwargs.get and sum'
)
@pytest.mark.parametrize('num_modalities', [2, 3])
def test_compiles_as_one_graph(num_modalities):
    norms = random_norms(nn.BatchNorm2d(6), num_modalities)
    norm = ExchangeNorm(norms[0], 'abc'[:num_modalities], threshold=0.8).double().eval()
    norm.norms.load_state_dict(nn.ModuleList(norms).state_dict())
    network = nn.Sequential(norm, nn.ReLU(inplace=True), Ensemble(list('abc')[:num_modalities]))
    compiled = torch.compile(network, backend='eager', fullgraph=True)
    x = torch.randn(num_modalities * 2, 6, 7, 5, dtype=torch.float64)
    for name, out in compiled(x).items():
        torch.testing.assert_close(out, network(x)[name], rtol=1e-12, atol=1e-12)


def test_weights_that_are_loaded_in_inference_mode_are_used():
    """Their versions cannot be seen, so the constants of the norm are computed again."""
    with torch.inference_mode():
        norm, other = (ExchangeNorm(nn.BatchNorm2d(4), ['rgb', 'depth'], 0.02).eval() for _ in range(2))
        for copied in other.norms:
            copied.weight.uniform_(0.5, 1.5)
        x = torch.randn(2, 4, 3, 3)
        before = norm(x)
        norm.load_state_dict(other.state_dict())
        assert torch.equal(norm(x), other(x))
        assert not torch.equal(norm(x), before)


def test_constants_of_every_subset_are_kept():
    """In turns, so that a camera that fails now and then costs nothing."""
    norm = ExchangeNorm(nn.BatchNorm2d(4), ['rgb', 'depth'], 0.02).eval()
    with torch.no_grad():
        norm(torch.randn(2, 4, 3, 3))
        (first,) = norm._cache.values()
        norm.available = [1]
        norm(torch.randn(1, 4, 3, 3))
        norm.available = None
        norm(torch.randn(2, 4, 3, 3))
    assert len(norm._cache) == 2
    assert next(iter(norm._cache.values())) is first
