import pytest
import torch
from mmseg.models.backbones import ResNet
from torch import nn

from cen_mm.exchange import Ensemble, ExchangeNorm, SparsityPenalty, exchanging_norms, make_multimodal


def test_norms_become_per_modality_and_matching_norms_exchange():
    model = ResNet(18)
    model.bn1.weight.data.uniform_()
    make_multimodal(model, ['rgb', 'depth'], r'layer\d\.\d+\.bn1', 0.1)
    names = [name for name, _ in exchanging_norms(model)]
    assert names == [f'layer{i}.{j}.bn1' for i in range(1, 5) for j in range(2)]
    assert isinstance(model.bn1, ExchangeNorm)
    assert torch.equal(model.bn1.scales[0], model.bn1.scales[1])
    plain = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    copies = [n for m in model.modules() if isinstance(m, ExchangeNorm) for n in m.norms]
    assert len(plain) == len(copies) == 2 * 20
    before = list(model.state_dict())
    assert list(make_multimodal(model, ['rgb', 'depth']).state_dict()) == before


def test_exchange_that_matches_no_norm_raises_clear_error():
    with pytest.raises(ValueError, match=r"exchange='bn9' matches no norm of ResNet. Its norms are: bn1, layer"):
        make_multimodal(ResNet(18), ['rgb', 'depth'], 'bn9')


@pytest.mark.parametrize('names', [['rgb', 'rgb'], ['ensemble'], ['data'], ['a b'], [], 'rgb'])
def test_invalid_modality_names_raise_clear_errors(names):
    with pytest.raises(ValueError, match='modalit'):
        make_multimodal(ResNet(18), names)


@pytest.mark.parametrize(('channels', 'want'), [('parts', 1 + 2 + 30 + 40 + 500 + 600), ('all', 111 * 21)])
def test_penalty_equals_hand_computed_sum(channels, want):
    norm = ExchangeNorm(nn.BatchNorm2d(6), 'abc', threshold=0.1)
    scales = torch.tensor([1.0, 10, 100])[:, None] * torch.tensor([1.0, -2, 3, -4, 5, -6])
    for m, scale in zip(norm.norms, scales):
        m.weight.data = scale
    penalty = SparsityPenalty(0.5, channels)(nn.Sequential(norm, ExchangeNorm(nn.BatchNorm2d(6), 'abc')))
    torch.testing.assert_close(penalty, 0.5 * torch.tensor(float(want)))


def test_invalid_penalty_raises_clear_errors():
    with pytest.raises(ValueError, match="'parts' or 'all'"):
        SparsityPenalty(1, 'half')
    with pytest.raises(ValueError, match='no exchanging norm'):
        SparsityPenalty(1)(nn.BatchNorm2d(4))


def test_ensemble_averages_detached_branches():
    ensemble = Ensemble(['rgb', 'depth'])
    ensemble.alpha.data = torch.tensor([0.0, 3.0]).log1p()  # softmax: 1/5, 4/5
    x = torch.tensor([[10.0], [20.0]], requires_grad=True)
    out = ensemble(x)
    assert list(out) == ['rgb', 'depth', 'ensemble']
    assert out['rgb'].item() == 10
    assert out['depth'].item() == 20
    torch.testing.assert_close(out['ensemble'].item(), 18.0)
    out['ensemble'].sum().backward()
    assert x.grad is None
    torch.testing.assert_close(ensemble.alpha.grad, torch.tensor([-1.6, 1.6]))
