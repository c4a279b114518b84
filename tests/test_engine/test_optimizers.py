import copy

import pytest
import torch
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import OPTIMIZERS
from torch import nn

import cen_mm.engine  # noqa: F401
from cen_mm.exchange import make_multimodal


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Conv2d(5, 4, 1), nn.BatchNorm2d(4)).double()


def train(wrapper: OptimWrapper, model: nn.Module, steps: int) -> None:
    for i in range(steps):
        x = torch.randn(2, 3, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(i))
        wrapper.update_params(model(x).square().mean())


@pytest.mark.parametrize('kind', ['SGD', 'AdamW'])
def test_joined_groups_train_and_resume_like_one_group_per_parameter(kind):
    options = dict(custom_keys={'0': dict(lr_mult=0.1), '3': dict(decay_mult=0.0)}, norm_decay_mult=0.5)
    optimizer = dict(type=kind, lr=0.01, weight_decay=0.1, **(dict(momentum=0.9) if kind == 'SGD' else {}))
    first, models, wrappers = network(), [], []
    for constructor in ('DefaultOptimWrapperConstructor', 'cen_mm.GroupingOptimWrapperConstructor'):
        cfg = dict(type='OptimWrapper', constructor=constructor, optimizer=optimizer, paramwise_cfg=dict(options))
        models.append(copy.deepcopy(first))
        wrappers.append(build_optim_wrapper(models[-1], cfg))
        train(wrappers[-1], models[-1], 3)
    assert [len(wrapper.optimizer.param_groups) for wrapper in wrappers] == [8, 4]
    model = copy.deepcopy(models[1])
    resumed = build_optim_wrapper(model, cfg)
    resumed.load_state_dict(copy.deepcopy(wrappers[1].state_dict()))
    for wrapper, trained in zip([*wrappers, resumed], [*models, model]):
        train(wrapper, trained, 2)
    for a, b, c in zip(*(trained.parameters() for trained in (*models, model))):
        assert torch.equal(a, b)
        assert torch.equal(b, c)


def test_fused_adam_matches_torch():
    # Without norms: the gradient of a bias before a norm is only rounding error, which Adam amplifies.
    models = [nn.Sequential(nn.Conv2d(3, 5, 3), nn.SiLU(), nn.Conv2d(5, 4, 1)).double()]
    models.append(copy.deepcopy(models[0]))
    for model, kind in zip(models, ('Adam', 'cen_mm.fused_adam')):
        cfg = dict(type=kind, lr=0.01, betas=(0.5, 0.999), params=model.parameters())
        train(OptimWrapper(OPTIMIZERS.build(cfg)), model, 5)
    for a, b in zip(*(model.parameters() for model in models)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_options_of_the_exchanging_norms_do_not_depend_on_names():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    make_multimodal(model, ['rgb', 'depth'], exchange='3')
    paramwise = dict(exchanging_norms=dict(lr_mult=10, decay_mult=0), custom_keys={'1': dict(lr_mult=2)})
    optimizer = dict(type='SGD', lr=0.01, weight_decay=0.1)
    cfg = dict(constructor='cen_mm.GroupingOptimWrapperConstructor', optimizer=optimizer, paramwise_cfg=paramwise)
    for _ in range(2):  # the config is not changed
        wrapper = build_optim_wrapper(model, dict(cfg, type='OptimWrapper'))
        options = {id(p): (g['lr'], g['weight_decay']) for g in wrapper.param_groups for p in g['params']}
        assert options[id(model[3].norms[1].weight)] == options[id(model[3].norms[0].bias)] == (0.1, 0)
        assert options[id(model[1].norms[0].weight)] == (0.02, 0.1)
        assert options[id(model[0].weight)] == (0.01, 0.1)


def test_bfloat16_wrapper_computes_in_bfloat16_and_trains_in_float32():
    conv = nn.Conv2d(3, 4, 1)
    wrapper = build_optim_wrapper(conv, dict(type='cen_mm.BFloat16OptimWrapper', optimizer=dict(type='SGD', lr=0.1)))
    before = conv.weight.detach().clone()
    with wrapper.optim_context(conv):
        out = conv(torch.ones(1, 3, 4, 4))
    assert out.dtype == torch.bfloat16
    wrapper.update_params(out.float().sum())
    assert conv.weight.dtype == torch.float32
    torch.testing.assert_close(conv.weight, before - 0.1 * 16)
