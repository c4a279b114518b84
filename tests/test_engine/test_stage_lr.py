import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS
from mmengine.runner.runner import Runner


def test_config_has_the_authors_learning_rates_and_resets_the_momentum(config):
    cfg = config('cen_refinenet_r101_nyudv2.py')
    model = MODELS.build(cfg.model)
    wrapper = Runner.build_optim_wrapper(type('', (), dict(model=model)), cfg.optim_wrapper)
    scheduler = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler[0]), default_args=dict(optimizer=wrapper))
    group_of = {id(p): group for group in wrapper.param_groups for p in group['params']}
    encoder, rest = (group_of[id(p)] for p in (model.backbone.conv1.weight, model.ensemble.alpha))
    lrs = {}
    for epoch in range(300):
        lrs[epoch] = (round(encoder['lr'], 9), round(rest['lr'], 9))
        wrapper.optimizer.state[rest['params'][0]]['momentum_buffer'] = torch.ones(1)
        scheduler.step()
        was_reset = not wrapper.optimizer.state
        assert was_reset == (epoch + 1 in (100, 200))
    assert lrs[0] == lrs[99] == (5e-4, 3e-3)
    assert lrs[100] == lrs[199] == (2.5e-4, 1.5e-3)
    assert lrs[200] == lrs[299] == (1e-4, 7e-4)


def build(lrs: list[float], stage_lrs: list[list[float]]):
    groups = [dict(params=[torch.nn.Parameter(torch.ones(1))], lr=lr) for lr in lrs]
    wrapper = OptimWrapper(torch.optim.SGD(groups, lr=lrs[0]))
    config = dict(type='cen_mm.StageLR', milestones=[1], stage_lrs=stage_lrs)
    return wrapper, PARAM_SCHEDULERS.build(config, default_args=dict(optimizer=wrapper))


def test_scaled_learning_rates_keep_their_factors():
    """As after auto_scale_lr with four times the batch size."""
    wrapper, scheduler = build([0.4, 0.04], [[0.1, 0.05], [0.01, 0.002]])
    assert [group['lr'] for group in wrapper.param_groups[:2]] == pytest.approx([0.4, 0.04])
    scheduler.step()
    assert [group['lr'] for group in wrapper.param_groups[:2]] == pytest.approx([0.2, 0.008])


def test_groups_that_do_not_match_the_rows_raise_clear_error():
    with pytest.raises(ValueError, match=r'but the rows of stage_lrs start with \[0.1, 0.01\]'):
        build([0.1, 0.02], [[0.1, 0.05], [0.01, 0.002]])
