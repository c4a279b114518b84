import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import BaseDataElement

from cen_mm.engine import FiniteLossHook


def break_weights(runner) -> None:
    runner.model.layer.weight.data[0, 0] = torch.nan


def test_nan_stops_training_with_the_files_and_keeps_good_checkpoints(toy_run, tmp_path):
    runner = toy_run(act={6: break_weights})  # the losses of iterations 7 to 10 are NaN
    with pytest.raises(FloatingPointError, match=r'NaN or infinite in 3 iterations in a row') as error:
        runner.train()
    sampler = runner.train_dataloader.sampler.sampler
    sampler.set_epoch(1)
    first = [f'{folder}/{index}.png' for index in list(sampler)[2:4] for folder in ('rgb', 'label')]
    assert f'iteration 7 ({", ".join(first)})' in str(error.value)
    assert [path.name for path in tmp_path.glob('work/*.pth')] == ['epoch_1.pth']
    saved = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in saved.values())


@pytest.mark.parametrize(('bad', 'stops'), [((1, 2), False), ((2, 4, 6), False), ((3, 4, 5), True)])
def test_only_losses_in_a_row_stop_training(bad, stops):
    """Mixed precision with a loss scale skips the steps after single infinite losses."""
    hook, hub = FiniteLossHook(patience=3), MessageHub('test_only_losses_in_a_row')
    samples = [BaseDataElement(metainfo=dict(img_path='a.png'))]
    for i in range(6):
        runner = SimpleNamespace(iter=i, message_hub=hub, optim_wrapper=SimpleNamespace(cast_dtype=torch.float16))
        losses = dict(loss_disc=1.0, loss_gen=math.inf if i in bad else 1.0, accuracy=math.nan)
        hub.update_scalars({f'train/{key}': value for key, value in losses.items()})
        expected = pytest.raises(
            FloatingPointError, match=r'in 3 iterations .* iteration 4 \(a.png\), resume with --amp-dtype bf'
        )
        with expected if stops and i == 5 else nullcontext():
            hook.after_train_iter(runner, i, dict(data_samples=samples), losses)
