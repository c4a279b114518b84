import cv2
import numpy as np
import torch
from mmengine.registry import VISUALIZERS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from cen_mm.segmentation.visualizer import to_picture


def test_draws_modalities_label_and_branches(tmp_path):
    bgr = torch.tensor([0, 0, 200], dtype=torch.uint8).view(3, 1, 1).expand(3, 160, 320)
    inputs = dict(rgb=bgr, depth=torch.ones(1, 160, 320))
    label = torch.zeros(1, 160, 320, dtype=torch.long)
    sample = SegDataSample(metainfo=dict(modalities=('rgb', 'depth')))
    sample.gt_sem_seg = PixelData(data=label.clone().fill_(255))
    sample.pred_sem_seg = PixelData(data=label, rgb=label + 1, depth=label + 2)
    visualizer = VISUALIZERS.build(dict(type='cen_mm.MultimodalVisualizer', name='tiles'))
    visualizer.dataset_meta = dict(classes=['a', 'b', 'c'], palette=[[10, 0, 0], [0, 20, 0], [0, 0, 30]])
    visualizer.add_datasample('x', inputs, sample, out_file=str(tmp_path / 'x.png'))
    image = cv2.imread(str(tmp_path / 'x.png'))[..., ::-1]
    assert image.shape == (2 * (160 + 24) + 24, 3 * 320, 3)  # two rows of three titled images, and the legend
    centers = [image[24 + 80 + row * 184, 160 + column * 320].tolist() for row in range(2) for column in range(3)]
    assert centers[0] == [200, 0, 0]
    assert centers[2:] == [[0, 0, 0], [0, 20, 0], [0, 0, 30], [10, 0, 0]]


def test_draws_a_model_with_one_modality_and_one_output(tmp_path):
    inputs = dict.fromkeys(['rgb', 'depth'], torch.zeros(3, 160, 320, dtype=torch.uint8))
    sample = SegDataSample(metainfo=dict(modalities=('rgb',)))
    sample.pred_sem_seg = PixelData(data=torch.zeros(1, 160, 320, dtype=torch.long))
    visualizer = VISUALIZERS.build(dict(type='cen_mm.MultimodalVisualizer', name='one'))
    visualizer.dataset_meta = dict(classes=['a'], palette=[[10, 0, 0]])
    visualizer.add_datasample('x', inputs, sample, out_file=str(tmp_path / 'x.png'))
    assert cv2.imread(str(tmp_path / 'x.png')).shape == (2 * (160 + 24) + 24, 320, 3)  # rgb above the ensemble


def test_depth_is_colored_and_missing_depth_is_black():
    depth = torch.linspace(1, 9, 100).view(1, 10, 10)
    depth[..., 0, 0] = 0
    image = to_picture(depth)
    assert image[0, 0].tolist() == [0, 0, 0]
    luminance = image.astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(luminance.ravel()[1:]) > -1).all()  # viridis: the luminance increases with depth
