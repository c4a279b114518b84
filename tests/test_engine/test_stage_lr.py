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


def test_group_that_matches_no_row_raises_clear_error():
    wrapper = OptimWrapper(torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.1))
    with pytest.raises(ValueError, match=r'starts with lr=0.1, but the rows of stage_lrs start with \[0.2\]'):
        PARAM_SCHEDULERS.build(
            dict(type='cen_mm.StageLR', milestones=[1], stage_lrs=[[0.2, 0.1]]), default_args=dict(optimizer=wrapper)
        )
