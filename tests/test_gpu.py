"""Training steps and inference on a GPU agree with the CPU. `CEN_MM_TEST_DEVICE=cpu` runs the tests without a GPU."""

import os
from contextlib import nullcontext

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

DEVICE = os.environ.get('CEN_MM_TEST_DEVICE', 'cuda')
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == 'cuda' and not torch.cuda.is_available(), reason='there is no GPU'),
]
# Data type of autocast, loss scale, and relative tolerance of the gradients
PRECISIONS = {
    'float32': (None, 1.0, 2e-3),
    'tf32': (None, 1.0, 2e-2),
    'bfloat16': (torch.bfloat16, 1.0, 0.35),
    'float16': (torch.float16, 1024.0, 0.1),
}
NAMES = ('rgb', 'depth', 'normal')


@pytest.fixture(params=PRECISIONS)
def precision(request):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision('high' if request.param == 'tf32' else 'highest')
    torch.backends.cudnn.allow_tf32 = request.param == 'tf32'
    yield PRECISIONS[request.param]
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def gradients(model, loss_of, device, dtype=None, scale=1.0) -> torch.Tensor:
    """Gradients of all parameters after one step, concatenated."""
    model.to(device).zero_grad()
    with nullcontext() if dtype is None else torch.autocast(device, dtype):
        loss = loss_of(model, device)
    (scale * loss).backward()
    return torch.cat([(p.grad / scale).flatten().cpu() for p in model.parameters() if p.grad is not None])


def compare(model, loss_of, precision):
    dtype, scale, tolerance = precision
    want = gradients(model, loss_of, 'cpu')
    ours = gradients(model, loss_of, DEVICE, dtype, scale)
    assert torch.isfinite(ours).all()
    assert (ours - want).norm() <= tolerance * want.norm()


@pytest.mark.parametrize('num_modalities', [2, 3])
def test_segmentation_step(config, precision, num_modalities):
    cfg = config('cen_refinenet_r18_rooms_rgb-depth-normal.py').model
    if num_modalities == 2:
        del cfg.data_preprocessor.modalities['normal']
    cfg.backbone.threshold = 0.0  # a scale that rounds to the other side of the threshold would replace a channel
    cfg.neck.dropout_ratio = cfg.decode_head.dropout_ratio = 0.0
    model = MODELS.build(cfg).train()
    inputs = torch.randn(2, 3 * num_modalities, 64, 96)
    labels = torch.randint(0, 17, (2, 1, 64, 96))

    def loss_of(model, device):
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label.to(device))) for label in labels]
        return model.parse_losses(model.loss(inputs.to(device), samples))[0]

    compare(model, loss_of, precision)


@pytest.mark.parametrize('num_modalities', [2, 3])
def test_translation_step(config, precision, num_modalities):
    pytest.importorskip('mmagic')
    init_default_scope('mmagic')
    cfg = config('cen_unet_shade-texture2rgb_rooms.py').model
    cfg.modalities = list(NAMES[:num_modalities])
    cfg.generator.update(dropout_ratio=0.0, threshold=0.0)
    model = MODELS.build(cfg).train()
    inputs, target = torch.rand(2, 3 * num_modalities, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1

    def loss_of(model, device):
        images = model.branches(inputs.to(device)).values()
        return sum((image - target.to(device)).abs().mean() for image in images) + model.sparsity(model.generators)

    compare(model, loss_of, precision)


@torch.no_grad()
def test_cached_inference(config, precision):
    dtype, _, tolerance = precision
    cfg = config('cen_refinenet_r18_rooms.py').model
    model = MODELS.build(cfg).eval()
    for name, parameter in model.named_parameters():
        if '.norms.' in name and name.endswith('weight'):
            parameter[::2] = 0.01  # half of the channels are replaced
    inputs = torch.randn(1, 6, 64, 96)
    want = model.branches(inputs)
    model.to(DEVICE)
    for _ in range(2):  # the second run uses the cached constants
        with nullcontext() if dtype is None else torch.autocast(DEVICE, dtype):
            ours = model.branches(inputs.to(DEVICE))
        for name, logits in ours.items():
            assert (logits.float().cpu() - want[name]).norm() <= tolerance * want[name].norm()
