"""The forward pass has no constants for the batch size: torch.export and torch.compile."""

import pytest
import torch
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmengine.utils import digit_version
from mmseg.structures import SegDataSample
from torch._dynamo.testing import CompileCounter


@pytest.fixture
def model(config):
    cfg = config('cen_refinenet_r18_rooms.py').model
    cfg.backbone.base_channels = 8
    cfg.neck.update(in_channels=[8, 16, 32, 64], channels=8, top_channels=8)
    cfg.decode_head.in_channels = 8
    model = MODELS.build(cfg).eval()
    for name, parameter in model.named_parameters():
        if '.norms.' in name and name.endswith('weight'):
            torch.nn.init.uniform_(parameter, 0, 0.04)  # half of the channels are replaced
    return model


class Branches(torch.nn.Module):
    """The branches as a tuple, because exported programs have no dicts of names."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return tuple(self.model.branches(inputs).values())


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.4'), reason='torch 2.1 has no torch.export.Dim'
)
def test_exported_program_takes_any_batch(model):
    module = Branches(model)
    batch = torch.export.Dim('batch', min=1, max=16)
    program = torch.export.export(module, (torch.randn(2, 6, 64, 96),), dynamic_shapes=({0: batch},), strict=False)
    for size in (1, 3):
        inputs = torch.randn(size, 6, 64, 96)
        for ours, want in zip(program.module()(inputs), module(inputs)):
            torch.testing.assert_close(ours, want, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.7'), reason='torch < 2.7 breaks the graph at a context manager'
)
@pytest.mark.parametrize('training', [False, True])
def test_one_graph_for_any_size(model, training):
    """Without graph breaks. In training, the number of labels is a constant, so only the size changes."""

    def run(inputs, labels):
        if not training:
            return model.branches(inputs)['ensemble']
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
        return model.parse_losses(model.loss(inputs, samples))[0]

    model.train(training)
    graphs = CompileCounter()
    compiled = torch.compile(run, backend=graphs, fullgraph=True, dynamic=True)
    for batch, height, width in ((2, 64, 96), (2 if training else 3, 96, 128)):
        inputs, labels = torch.randn(batch, 6, height, width), torch.randint(0, 17, (batch, 1, height, width))
        torch.manual_seed(0)  # for dropout
        ours = compiled(inputs, labels)
        torch.manual_seed(0)
        torch.testing.assert_close(ours, run(inputs, labels), rtol=1e-4, atol=1e-5)
    assert graphs.frame_count == 1


@pytest.mark.skipif(digit_version(torch.__version__) < digit_version('2.6'), reason='torch.onnx has no dynamic_shapes')
def test_onnx_takes_any_batch(model, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    module, path = Branches(model).eval(), tmp_path / 'model.onnx'
    batch = torch.export.Dim('batch', min=1, max=16)
    torch.onnx.export(
        module, (torch.randn(2, 6, 64, 96),), path, dynamo=True, dynamic_shapes=({0: batch},), input_names=['inputs']
    )
    session = onnxruntime.InferenceSession(str(path))
    for size in (1, 3):
        inputs = torch.randn(size, 6, 64, 96)
        for ours, want in zip(session.run(None, {'inputs': inputs.numpy()}), module(inputs)):
            torch.testing.assert_close(torch.from_numpy(ours), want, rtol=1e-3, atol=1e-4)
