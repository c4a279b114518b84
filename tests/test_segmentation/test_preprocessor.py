import pytest
import torch
from mmengine.registry import MODELS
from mmseg.structures import SegDataSample

from cen_mm.segmentation import MultimodalDataPreProcessor

RGB = dict(mean=[1.0, 2.0, 3.0], std=[2.0, 2.0, 2.0], bgr_to_rgb=True, pad_val=[5.0, 6.0, 7.0])
DEPTH = dict(mean=[0.0] * 3, std=[10.0] * 3, pad_val=1.0)


def test_channel_order_normalization_and_padding():
    preprocessor = MODELS.build(
        dict(type='cen_mm.MultimodalDataPreProcessor', modalities=dict(rgb=RGB, depth=DEPTH), size_divisor=1)
    )
    small = torch.tensor([30, 20, 10, 40, 50, 60]).view(6, 1, 1).expand(6, 1, 2)  # BGR, then depth
    large = torch.zeros(6, 2, 3)
    meta = dict(modalities=('rgb', 'depth'))
    data = dict(inputs=[small, large], data_samples=[SegDataSample(metainfo=meta) for _ in range(2)])
    out = preprocessor(data, training=True)['inputs']
    assert out.shape == (2, 6, 2, 3)
    want = torch.tensor([4.5, 9.0, 13.5, 4.0, 5.0, 6.0])
    pad = torch.tensor([2.0, 2.0, 2.0, 0.1, 0.1, 0.1])
    torch.testing.assert_close(out[0, :, 0, :2], want[:, None].expand(6, 2))
    torch.testing.assert_close(out[0, :, 1], pad[:, None].expand(6, 3))
    torch.testing.assert_close(out[0, :, :, 2], pad[:, None].expand(6, 2))
    torch.testing.assert_close(out[1, :, 0, 0], torch.tensor([-0.5, -1, -1.5, 0, 0, 0]))


def test_selects_modalities_by_name():
    image = torch.arange(9.0).view(9, 1, 1)
    sample = SegDataSample(metainfo=dict(modalities=('normal', 'depth', 'rgb')))
    out = MultimodalDataPreProcessor(dict(rgb=RGB, depth=DEPTH))(dict(inputs=[image], data_samples=[sample]))
    torch.testing.assert_close(out['inputs'].flatten(), torch.tensor([3.5, 2.5, 1.5, 0.3, 0.4, 0.5]))
    assert out['data_samples'][0].modalities == ('rgb', 'depth')


def test_missing_modality_or_key_raises_clear_error():
    preprocessor = MultimodalDataPreProcessor(dict(rgb=RGB, depth=DEPTH))
    sample = SegDataSample(metainfo=dict(modalities=('rgb', 'normal')))
    with pytest.raises(ValueError, match=r"packs \['rgb', 'normal'\].* also has \['depth'\]"):
        preprocessor(dict(inputs=[torch.zeros(6, 2, 2)], data_samples=[sample]))
    with pytest.raises(ValueError, match='mean and std are required'):
        MultimodalDataPreProcessor(dict(rgb=dict(mean=[0.0] * 3)))
