"""Modules for mmsegmentation. Importing this package registers them in the scope `cen_mm`."""

from .backbone import CENResNet, MultimodalBackbone
from .fusion_baselines import AlignFusion, ConcatFusion, FusionSegmentor, SelfAttentionFusion
from .head import SharedClassifierHead
from .metric import MultimodalIoUMetric
from .preprocessor import MultimodalDataPreProcessor
from .pretrained import load_from_package  # noqa: F401  registers package://
from .refinenet import RefineNetNeck
from .segmentor import CENSegmentor
from .tta import MultimodalTTAModel
from .visualizer import MultimodalVisualizationHook, MultimodalVisualizer
from .winograd import WinogradConv2d

__all__ = [
    'AlignFusion',
    'CENResNet',
    'CENSegmentor',
    'ConcatFusion',
    'FusionSegmentor',
    'MultimodalBackbone',
    'MultimodalDataPreProcessor',
    'MultimodalIoUMetric',
    'MultimodalTTAModel',
    'MultimodalVisualizationHook',
    'MultimodalVisualizer',
    'RefineNetNeck',
    'SelfAttentionFusion',
    'SharedClassifierHead',
    'WinogradConv2d',
]
