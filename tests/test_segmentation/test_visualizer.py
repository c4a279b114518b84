import cv2
import numpy as np
import torch
from mmengine.registry import VISUALIZERS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from cen_mm.segmentation.visualizer import read_modality


def test_draws_modalities_label_and_branches(tmp_path):
    rgb, depth = str(tmp_path / 'rgb.png'), str(tmp_path / 'depth.png')
    cv2.imwrite(rgb, np.full((180, 330, 3), (0, 0, 200), np.uint8))
    cv2.imwrite(depth, np.full((180, 330), 1000, np.uint16))
    label = torch.zeros(1, 160, 320, dtype=torch.long)  # the center of the image
    sample = SegDataSample(metainfo=dict(modality_paths=dict(rgb=rgb, depth=depth), modalities=('rgb', 'depth')))
    sample.gt_sem_seg = PixelData(data=label.clone().fill_(255))
    sample.pred_sem_seg = PixelData(data=label, rgb=label + 1, depth=label + 2)
    visualizer = VISUALIZERS.build(dict(type='cen_mm.MultimodalVisualizer', name='tiles'))
    visualizer.dataset_meta = dict(classes=['a', 'b', 'c'], palette=[[10, 0, 0], [0, 20, 0], [0, 0, 30]])
    visualizer.add_datasample('x', np.zeros((180, 330, 3), np.uint8), sample, out_file=str(tmp_path / 'x.png'))
    image = cv2.imread(str(tmp_path / 'x.png'))[..., ::-1]
    assert image.shape == (2 * (160 + 24) + 24, 3 * 320, 3)  # two rows of three titled images, and the legend
    centers = [image[24 + 80 + row * 184, 160 + column * 320].tolist() for row in range(2) for column in range(3)]
    assert centers[0] == [200, 0, 0]
    assert centers[2:] == [[0, 0, 0], [0, 20, 0], [0, 0, 30], [10, 0, 0]]


def test_draws_a_model_with_one_modality_and_one_output(tmp_path):
    paths = dict(rgb=str(tmp_path / 'rgb.png'), depth=str(tmp_path / 'depth.png'))
    for path in paths.values():
        cv2.imwrite(path, np.full((160, 320, 3), (0, 0, 200), np.uint8))
    sample = SegDataSample(metainfo=dict(modality_paths=paths, modalities=('rgb',)))
    sample.pred_sem_seg = PixelData(data=torch.zeros(1, 160, 320, dtype=torch.long))
    visualizer = VISUALIZERS.build(dict(type='cen_mm.MultimodalVisualizer', name='one'))
    visualizer.dataset_meta = dict(classes=['a'], palette=[[10, 0, 0]])
    visualizer.add_datasample('x', np.zeros((160, 320, 3), np.uint8), sample, out_file=str(tmp_path / 'x.png'))
    assert cv2.imread(str(tmp_path / 'x.png')).shape == (2 * (160 + 24) + 24, 320, 3)  # rgb above the ensemble


def test_depth_is_colored_and_missing_depth_is_black(tmp_path):
    depth = np.linspace(1000, 9000, 100, dtype=np.uint16).reshape(10, 10)
    depth[0, 0] = 0
    cv2.imwrite(str(tmp_path / 'depth.png'), depth)
    image = read_modality(str(tmp_path / 'depth.png'))
    assert image[0, 0].tolist() == [0, 0, 0]
    luminance = image.astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(luminance.ravel()[1:]) > -1).all()  # viridis: the luminance increases with depth
