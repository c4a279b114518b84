"""Training steps on a simulated GPU: torch's fake tensors have a device and a type, but no values.

They refuse operations between devices and operations that need values on the host, for which a GPU would wait.
"""

from multiprocessing import get_context

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement, PixelData
from mmengine.utils import digit_version
from mmseg.structures import SegDataSample
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

pytestmark = pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.6'), reason='older fake tensors need a GPU'
)
READS_VALUES = ('_local_scalar_dense', 'nonzero', 'masked_select', 'index.Tensor', 'equal.default')


class Recorder(TorchDispatchMode):
    """Records the names of all operations, copies from the host, and the types of convolved and exchanged features.

    Also the types after a ReLU, because features that are only added and rectified keep the type of the wider summand.
    """

    def __init__(self):
        super().__init__()
        self.names, self.copies, self.types, self.rectified = set(), 0, set(), set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = str(func)
        self.names.add(name)
        if 'copy' in name:
            self.copies += args[0].device.type == 'cpu' and out.device.type == 'cuda'
        if name == 'aten.convolution.default' or (name == 'aten.where.self' and args[0].shape[2:] == (1, 1)):
            self.types.add(out.dtype)
        if name == 'aten.relu.default':
            self.rectified.add(out.dtype)
        return out

    @property
    def reads(self) -> list[str]:
        return [name for name in self.names if any(read in name for read in READS_VALUES)]


def move_to_simulated_gpu(model: nn.Module) -> None:
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    moved = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device='cuda')
                    tensors[name] = nn.Parameter(moved) if isinstance(tensor, nn.Parameter) else moved
    model.data_preprocessor._device = torch.device('cuda')


def segmentation(config, name='cen_refinenet_r18_rooms.py', **options):
    cfg = config(name)
    cfg.optim_wrapper.clip_grad = None  # mmengine reads the norm of the gradients in each step
    cfg.merge_from_dict({f'model.{key}': value for key, value in options.items()})
    model = MODELS.build(cfg.model).train()

    def batch():
        inputs = {name: [torch.zeros(channels, 64, 96, dtype=torch.uint8)] * 2
                  for name, channels in dict(rgb=3, depth=1, normal=3).items()}  # fmt: skip
        label = torch.zeros(1, 64, 96, dtype=torch.uint8)
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for _ in range(2)]
        return dict(inputs=inputs, data_samples=samples)

    return model, cfg, batch, 8


def translation(config):
    pytest.importorskip('mmagic')
    init_default_scope('mmagic')
    cfg = config('cen_unet_shade-texture2rgb_rooms.py')

    def batch():
        samples = [BaseDataElement(gt_img=torch.zeros(3, 64, 64), mask=torch.ones(1, 64, 64)) for _ in range(2)]
        return dict(inputs=[torch.zeros(6, 64, 64)] * 2, data_samples=samples)

    return MODELS.build(cfg.model).train(), cfg, batch, 6


CASES = {
    'two modalities': segmentation,
    'two of three modalities': lambda config: segmentation(
        config, 'cen_refinenet_r18_rooms_rgb-depth-normal.py', modality_dropout=1.0
    ),
    'auxiliary head': lambda config: segmentation(config, 'cen_deeplabv3plus_r50_nyudv2.py'),
    'feature ensemble and auxiliary head': lambda config: segmentation(
        config, 'cen_deeplabv3plus_r50_nyudv2.py', feature_ensemble=True, branch_loss_weight=0.25
    ),
    'class weights': lambda config: segmentation(config, **{'decode_head.loss_decode.class_weight': [0.5] * 17}),
    'translation': translation,
}


@pytest.fixture(params=CASES)
def case(request, config):
    return CASES[request.param](config)


def test_training_step_reads_no_values(case):
    """On the CPU, where torch can also simulate the backward pass and the optimizer."""
    model, cfg, batch, _ = case
    if 'optimizer' in cfg.optim_wrapper:  # AdamW reads its counter, which is on the host
        cfg.optim_wrapper.optimizer = dict(type='SGD', lr=0.1)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    with Recorder() as recorder:
        model.train_step(batch(), wrapper)
    assert not recorder.reads


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_training_step_copies_only_the_batch(case, dtype, monkeypatch):
    model, cfg, batch, num_tensors = case
    monkeypatch.setattr(torch.Tensor, 'backward', lambda *args, **kwargs: None)  # torch's needs a GPU

    def train_step():
        with FakeTensorMode():
            move_to_simulated_gpu(model)
            wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
            data = batch()
            torch.set_autocast_enabled('cuda', dtype is not torch.float32)
            torch.set_autocast_dtype('cuda', dtype)
            with Recorder() as recorder:
                losses = model.train_step(data, wrapper)
        devices = {loss.device.type for loss in losses.values()}
        return recorder.copies, recorder.types, recorder.rectified - {dtype}, devices

    float32 = {torch.float32} if dtype is torch.float16 and 'neck' in cfg.model else set()  # RefineNet has no norms
    assert run_forked(train_step) == (num_tensors, {dtype}, float32, {'cuda'})


def test_prediction_stays_on_the_device_and_reads_no_values(case, monkeypatch):
    model, _, batch, num_tensors = case
    monkeypatch.setattr(torch.cuda, 'is_current_stream_capturing', lambda: False)  # torch's needs a driver

    def predict():
        with FakeTensorMode(), torch.no_grad():
            move_to_simulated_gpu(model.eval())
            data = batch()
            for sample in data['data_samples']:
                sample.set_metainfo(dict(ori_shape=(64, 96), img_shape=(64, 96)))
            with Recorder() as recorder:
                sample = model.test_step(data)[0]
        outputs = sample.pred_sem_seg.values() if 'pred_sem_seg' in sample else sample.branches.values()
        return recorder.reads, recorder.copies, {output.device.type for output in outputs}

    assert run_forked(predict) == ([], num_tensors, {'cuda'})


def run_forked(function):
    """Runs a function in a forked process: with a simulated GPU, torch starts threads that forbid forks."""
    context = get_context('fork')
    results = context.SimpleQueue()
    process = context.Process(target=lambda: results.put(function()))
    process.start()
    process.join()
    assert process.exitcode == 0
    return results.get()
