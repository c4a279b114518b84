"""Building a trained model from its config and checkpoint."""

from pathlib import Path
from typing import Optional, Union

from mmengine.config import Config
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint


def init_model(
    config: Union[str, Path, Config], checkpoint: Optional[str] = None, device: str = 'cuda:0'
) -> BaseModel:
    """Builds the model of a config in eval mode and loads its weights.

    Args:
        config: file or object.
        checkpoint: file or URL, such as tools/train.py or tools/model_converters/cen_to_mm.py writes it; None: the
            weights stay random.
        device: where the model goes.

    Returns:
        The model; ``model.cfg`` is the config.

    Raises:
        RuntimeError: if the checkpoint is of another model, naming the keys or shapes that differ.
    """
    cfg = config if isinstance(config, Config) else Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = MODELS.build(cfg.model)
    if checkpoint is not None:
        load_checkpoint(model, str(checkpoint), map_location='cpu', strict=True)
    model = revert_sync_batchnorm(model).to(device).eval()
    model.cfg = cfg
    return model
