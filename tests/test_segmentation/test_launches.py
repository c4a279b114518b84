"""Number of operations that a GPU would launch: at batch 1, it waits for them."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.utils._python_dispatch import TorchDispatchMode


class CallCounter(TorchDispatchMode):
    """Counts ATen calls that are not views."""

    def __init__(self):
        super().__init__()
        self.calls = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view:
            self.calls[str(func)] = self.calls.get(str(func), 0) + 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def cfg(config):
    return config('cen_refinenet_r101_nyudv2.py')


def test_inference_at_batch_1(cfg):
    model = MODELS.build(cfg.model).eval()
    inputs = torch.randn(1, 6, 64, 64)
    with torch.no_grad():
        model.branches(inputs)
        with CallCounter() as counter:
            model.branches(inputs)
    assert sum(counter.calls.values()) <= 700, counter.calls


def test_training_step(cfg):
    model = MODELS.build(cfg.model).train()
    cfg.optim_wrapper.optimizer.foreach = True  # the default of torch's SGD on CUDA
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    label = PixelData(data=torch.randint(0, 40, (1, 64, 64)))
    sample = SegDataSample(metainfo=dict(img_shape=(64, 64), modalities=('rgb', 'depth')), gt_sem_seg=label)
    data = dict(inputs=dict(rgb=[torch.rand(3, 64, 64)], depth=[torch.rand(1, 64, 64)]), data_samples=[sample])
    model.train_step(data, wrapper)
    with CallCounter() as counter:
        model.train_step(data, wrapper)
    assert sum(counter.calls.values()) <= 3000, counter.calls
