"""Building a trained model from its config and checkpoint."""

import copy
from pathlib import Path
from typing import Union

from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint

from ..compat import config_path


def init_model(
    config: Union[str, Path, Config], checkpoint: Union[str, Path, None] = None, device: str = 'cuda:0'
) -> BaseModel:
    """Builds the model of a config in eval mode and loads its weights. Pretrained weights are not downloaded.

    Args:
        config: path of a config file, ``'cen_mm::NAME'`` for a config of this package, or a config.
        checkpoint: path or URL of a checkpoint written by tools/train.py or tools/model_converters/cen_to_mm.py.
            None: the weights are random.
        device: device of the model.

    Returns:
        The model; ``model.cfg`` is the config.

    Raises:
        RuntimeError: if the checkpoint belongs to another model. The message lists the keys or shapes that differ.
    """
    cfg = config if isinstance(config, Config) else Config.fromfile(config_path(config))
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = MODELS.build(_without_downloads(cfg.model))
    if checkpoint is not None:
        load_checkpoint(model, str(checkpoint), map_location='cpu', strict=True)
    model = revert_sync_batchnorm(model).to(device).eval()
    model.cfg = cfg
    return model


def _without_downloads(model: ConfigDict) -> ConfigDict:
    """Returns a copy of a model config whose timm backbone does not download weights when it is built."""
    model = copy.deepcopy(model)
    part = model
    while part := part.get('backbone', {}):
        if part.get('pretrained') is True:
            part.pretrained = False
    return model
