"""Scores against values computed by hand and by the authors' code, and the networks that compute the features."""

import numpy as np
import pytest
import torch

pytest.importorskip('mmagic')

from mmengine.registry import MODELS
from torch import nn

from cen_mm.translation import LPIPS, EfficientNetLite0, InceptionV3, TranslationMetric
from cen_mm.translation.metric import as_drawn, frechet_distance, kernel_distance


@MODELS.register_module()
class MeanColor(nn.Module):
    """Mean color of each image: features simple enough to compute scores by hand."""

    scores = ('FD-Mean', 'KD-Mean')

    def forward(self, images):
        return images.float().mean((2, 3))


def evaluate(samples: list[dict], **options) -> dict:
    metric = TranslationMetric(features=dict(type='MeanColor'), **options)
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_scores_equal_hand_computed_values():
    real = torch.full((3, 16, 16), -1.0)
    wrong = real.clone()
    wrong[:, :4] = 1.0  # a quarter of the pixels is white instead of black
    samples = [dict(gt_img=real, branches=dict(reshading=real, edge_texture=wrong, ensemble=wrong))] * 2
    scores = evaluate(samples)
    assert '/' not in next(iter(scores))  # save_best='auto' takes the first score
    standard = evaluate(samples, authors_protocol=False)
    assert standard == {name: value for name, value in scores.items() if 'authors_' not in name} != scores
    assert scores['reshading/L1'] == 0
    assert scores['reshading/PSNR'] == 100  # of equal images, which have none
    assert scores['reshading/SSIM'] == pytest.approx(1)
    assert scores['L1'] == pytest.approx(0.25)
    assert scores['RMSE'] == pytest.approx(0.5)
    assert scores['edge_texture/PSNR'] == pytest.approx(20 * np.log10(1 / 0.5))
    assert scores['reshading/FD-Mean'] == pytest.approx(0, abs=1e-9)
    assert scores['FD-Mean'] == pytest.approx(3 * (255 / 4) ** 2)  # the variance is 0: squared distance of the means


def test_l1_excludes_unknown_pixels():
    real, fake = torch.full((3, 16, 16), -1.0), torch.full((3, 16, 16), -1.0)
    fake[:, 0] = 1.0  # only the first row is wrong
    known = torch.ones(1, 16, 16)
    known[:, 2:] = 0  # only the first two rows are known
    sample = dict(gt_img=real, mask=known, branches=dict(ensemble=fake))
    unknown = dict(gt_img=real, mask=torch.zeros(1, 16, 16), branches=dict(ensemble=fake))
    assert evaluate([sample, unknown])['L1'] == pytest.approx(0.5)


def test_fid_and_kid_equal_the_authors(parity):
    data = parity('data_and_metrics.npz')
    fake, real = torch.from_numpy(data['feat_a']), torch.from_numpy(data['feat_b'])
    assert frechet_distance(fake, real) == pytest.approx(data['fid'].item(), abs=1e-6)
    assert 100 * kernel_distance(fake, real) == pytest.approx(data['kid_x100'].item(), abs=1e-6)


def test_authors_protocol_stretches_and_draws_images():
    image = torch.zeros(3, 256, 256)
    image[:, :, 128:] = 0.1
    drawn = as_drawn(image)
    assert drawn.shape == (3, 500, 500)
    assert (drawn[:, :, :240] == 0).all()
    assert (drawn[:, :, 260:] == 255).all()
    assert (as_drawn(torch.ones(3, 8, 8)) == 0).all()  # a constant image cannot be stretched


def test_efficientnet_lite0_recognizes_a_ball():
    """The weights are the trained ones, and the images are normalized as the network expects."""
    rows, columns = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing='ij')
    ball = torch.where((rows - 112) ** 2 + (columns - 112) ** 2 < 80**2, 230.0, 40.0)
    images = torch.stack([ball, ball * 0.45, ball * 0.1]).byte()[None]  # orange
    network = EfficientNetLite0()
    features = network(images)
    assert features.shape == (1, 1280)
    top5 = network.network._fc(features).topk(5).indices[0].tolist()
    assert {852, 574, 722, 890, 429, 430, 805, 768} & set(top5)  # classes of tennis, golf, ping-pong and other balls


def test_lpips_loads_torchvision_weights(tmp_path):
    from torchvision.models import alexnet

    alexnet_reference = alexnet().eval()
    torch.save(alexnet_reference.state_dict(), tmp_path / 'alexnet.pth')
    lpips = LPIPS(str(tmp_path / 'alexnet.pth'))
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        got = lpips.network.net(x)
        torch.testing.assert_close(got.relu5, alexnet_reference.features[:12](x))
    assert (lpips(images, images) == 0).all()
    assert (lpips(images, images.flip(0)) > 0).all()


def test_inception_loads_torch_fidelity_weights(tmp_path, monkeypatch):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with monkeypatch.context() as patch:  # builds the network with random weights
        patch.setattr(FeatureExtractorInceptionV3, 'load_state_dict', lambda *args: None)
        patch.setattr('torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url', lambda *a, **k: None)
        reference = FeatureExtractorInceptionV3('inception-v3-compat', ['2048'])
    torch.save(reference.state_dict(), tmp_path / 'inception.pth')
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    features = InceptionV3(str(tmp_path / 'inception.pth'))(images)
    assert features.shape == (1, 2048)
    torch.testing.assert_close(features, reference(images)[0])
