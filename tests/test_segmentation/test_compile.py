"""The losses and the branches compile into one graph for any size."""

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
