import pytest
import torch
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from cen_mm.segmentation import MultimodalDataPreProcessor

RGB = dict(mean=[1.0, 2.0, 3.0], std=[2.0, 2.0, 2.0], bgr_to_rgb=True, pad_val=[5.0, 6.0, 7.0])
DEPTH = dict(mean=[0.0] * 3, std=[10.0] * 3, pad_val=1.0)


def test_channel_order_normalization_and_padding():
    preprocessor = MODELS.build(
        dict(type='cen_mm.MultimodalDataPreProcessor', modalities=dict(rgb=RGB, depth=DEPTH), size_divisor=1)
    )
    small = torch.tensor([30, 20, 10], dtype=torch.uint8).view(3, 1, 1).expand(3, 1, 2)  # BGR
    rgb, depth = [small, torch.zeros(3, 2, 3)], [torch.full((1, 1, 2), 50.0), torch.zeros(3, 2, 3)]
    samples = [SegDataSample() for _ in range(2)]
    out = preprocessor(dict(inputs=dict(rgb=rgb, depth=depth), data_samples=samples), training=True)['inputs']
    assert out.dtype == torch.float32
    assert out.shape == (2, 6, 2, 3)
    want = torch.tensor([4.5, 9.0, 13.5, 5.0, 5.0, 5.0])
    pad = torch.tensor([2.0, 2.0, 2.0, 0.1, 0.1, 0.1])
    torch.testing.assert_close(out[0, :, 0, :2], want[:, None].expand(6, 2))
    torch.testing.assert_close(out[0, :, 1], pad[:, None].expand(6, 3))
    torch.testing.assert_close(out[0, :, :, 2], pad[:, None].expand(6, 2))
    torch.testing.assert_close(out[1, :, 0, 0], torch.tensor([-0.5, -1, -1.5, 0, 0, 0]))


def test_selects_modalities_by_name():
    inputs = {name: [3.0 * i + torch.arange(3.0).view(3, 1, 1)] for i, name in enumerate(['normal', 'depth', 'rgb'])}
    data = dict(inputs=inputs, data_samples=[SegDataSample(metainfo=dict(modalities=tuple(inputs)))])
    out = MultimodalDataPreProcessor(dict(rgb=RGB, depth=DEPTH))(data)
    torch.testing.assert_close(out['inputs'].flatten(), torch.tensor([3.5, 2.5, 1.5, 0.3, 0.4, 0.5]))
    assert out['data_samples'][0].modalities == ('rgb', 'depth')


def test_padding_is_the_mean_by_default():
    preprocessor = MultimodalDataPreProcessor(dict(rgb=dict(mean=[9.0, 8.0, 7.0], std=[2.0] * 3)), size_divisor=4)
    data = dict(inputs=dict(rgb=[torch.zeros(3, 2, 2)]), data_samples=[SegDataSample()])
    out = preprocessor(data, training=True)['inputs']
    assert out.shape == (1, 3, 4, 4)
    assert (out[..., 2:, :] == 0).all()
    assert (out[..., :2, :2] != 0).all()


def test_labels_become_long_on_the_device():
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.full((1, 2, 2), 255, dtype=torch.uint8)))
    data = dict(inputs=dict(rgb=[torch.zeros(3, 2, 2)], depth=[torch.zeros(1, 2, 2)]), data_samples=[sample])
    (sample,) = MultimodalDataPreProcessor(dict(rgb=RGB, depth=DEPTH))(data)['data_samples']
    assert sample.gt_sem_seg.data.dtype == torch.long
    assert (sample.gt_sem_seg.data == 255).all()


EVENTS = dict(mean=[0.0] * 5, std=[1.0] * 5, channels=5)
WRONG = [
    (dict(rgb=dict(mean=[0.0] * 3)), 'mean and std are required'),
    *(({name: RGB}, f'{name!r} is not a valid modality name') for name in ('near-ir', 'lambda', 'self')),
    (dict(rgb=dict(RGB, scale=3)), 'other keys are not allowed'),
    (dict(rgb=dict(mean=[0.0], std=[1.0])), r'modalities.rgb.mean is \[0.0\]: give a list of 3 values'),
    (dict(rgb=dict(mean=0.0, std=1.0)), 'modalities.rgb.mean is 0.0: give a list of 3 values'),
    (dict(events=dict(EVENTS, std=[1.0] * 3)), r'modalities.events.std is .*: give a list of 5 values'),
    (dict(rgb=dict(RGB, pad_val=[1.0])), r'modalities.rgb.pad_val is \[1.0\]: give a list of 3 values'),
]


@pytest.mark.parametrize(('modalities', 'message'), WRONG)
def test_wrong_settings_raise_clear_errors(modalities, message):
    with pytest.raises(ValueError, match=message):
        MultimodalDataPreProcessor(modalities)


def test_wrong_inputs_raise_clear_errors():
    preprocessor = MultimodalDataPreProcessor(dict(rgb=RGB, events=EVENTS))
    images = torch.zeros(3, 2, 2)
    with pytest.raises(ValueError, match=r'inputs is a list, but must be a dict .* end the pipeline with cen_mm.Pack'):
        preprocessor(dict(inputs=[images]))
    with pytest.raises(ValueError, match=r"packs \['rgb', 'normal'\].* also has \['events'\]"):
        preprocessor(dict(inputs=dict(rgb=[images], normal=[images])))
    sizes = dict(inputs=dict(rgb=[torch.zeros(3, 4, 4), torch.zeros(3, 4, 6)]))
    with pytest.raises(ValueError, match=r'sizes \[\(4, 4\), \(4, 6\)\]: set batch_size=1 for validation and test'):
        MultimodalDataPreProcessor(dict(rgb=RGB))(sizes)
    with pytest.raises(ValueError, match=r'images of events have 3 channels, but .*events is for 5: set channels=3'):
        preprocessor(dict(inputs=dict(rgb=[images], events=[images])))
