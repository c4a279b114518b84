"""Fusion baselines: early fusion at the input, and feature-level fusion after every stage of the backbones."""

from itertools import combinations
from typing import Optional, Sequence, Union

import torch
from mmengine.model import BaseModule
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor, nn

from ..exchange import ENSEMBLE, stack_modalities
from ..exchange.exchange import split_modalities
from ..registry import MODELS
from .losses import head_losses
from .segmentor import CENSegmentor

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the kernels of squared_mmd


@MODELS.register_module()
class FusionSegmentor(CENSegmentor):
    """Baseline that fuses the modalities inside the network and has one output, named ``ensemble`` as in CEN.

    With ``fusion``, each modality has its own backbone without shared weights, and the maps of every stage are fused
    before neck and head ("Concat", "Align." and "Self-Att." in the CEN paper). With ``per_modality_convs=False``, the
    backbones share their convolutions, and can exchange channels as in CEN. Without ``fusion``, this is early fusion
    (Couprie et al., "Indoor semantic segmentation using depth information", ICLR 2013): one network whose first
    convolution takes the channels of all modalities. Its ImageNet weights are repeated M times and divided by M, as
    Carreira and Zisserman ("Quo vadis, action recognition?", CVPR 2017) repeat them over time.

    Args:
        backbone: as in :class:`CENSegmentor`.
        decode_head: as in :class:`CENSegmentor`.
        data_preprocessor: as in :class:`CENSegmentor`.
        fusion: config of one of the fusion modules below. None: early fusion.
        per_modality_convs: as in :class:`CENSegmentor`, for the backbones. None: True, unless this is early fusion.
        **kwargs: arguments of mmseg's EncoderDecoder.

    Raises:
        ValueError: if an option of missing modalities or of branches is set (``available_modalities``,
            ``modality_dropout``, ``feature_ensemble``, ``branch_loss_weight``).
    """

    stacked = ('backbone',)

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        data_preprocessor: dict,
        fusion: Optional[dict] = None,
        per_modality_convs: Union[bool, str, None] = None,
        **kwargs,
    ):
        without = dict(available_modalities=None, modality_dropout=0, feature_ensemble=False, branch_loss_weight=1)
        refused = [name for name, value in without.items() if kwargs.get(name, value) != value]
        if refused:
            raise ValueError(f'FusionSegmentor needs every modality and has no branches: remove {", ".join(refused)}.')
        separate = fusion is not None
        super().__init__(
            backbone,
            decode_head,
            data_preprocessor,
            per_modality_norms=separate,
            per_modality_convs=separate if per_modality_convs is None else per_modality_convs,
            **kwargs,
        )
        del self.ensemble
        self.fusion = MODELS.build({**fusion, 'num_modalities': len(self.modalities)}) if separate else None
        if self.fusion is None:
            widen_first_conv(self.backbone, len(self.modalities))
        self.to(memory_format=torch.channels_last)

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.data_preprocessor.modalities

    @property
    def outputs(self) -> tuple[str, ...]:
        return (ENSEMBLE,)

    def maps(self, inputs: Tensor) -> Sequence[Tensor]:
        """Computes the maps of the backbones, ``(M * B, C_i, H_i, W_i)``; early fusion: ``(B, C_i, H_i, W_i)``."""
        inputs = self.adapter(inputs, self.modalities)
        x = inputs if self.fusion is None else stack_modalities(inputs, len(self.modalities))
        return self.backbone(x.contiguous(memory_format=torch.channels_last))

    def decode(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        """Fuses the maps of the backbones and runs the neck; each output is ``(B, C_i, H_i, W_i)``."""
        if self.fusion is not None and [x.shape[1] for x in maps] != list(self.fusion.in_channels):
            raise ValueError(
                f'model.fusion.in_channels={list(self.fusion.in_channels)}, but the maps of the backbone have '
                f'{[x.shape[1] for x in maps]} channels: use these numbers.'
            )
        fused = maps if self.fusion is None else self.fusion(maps)
        return self.neck(fused) if self.with_neck else fused

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        return self.decode(self.maps(inputs))

    def branches(self, inputs: Tensor) -> dict[str, Tensor]:
        """Computes ``{'ensemble': ..}``, logits ``(B, K, h, w)``, from inputs ``(B, 3M, H, W)``."""
        return {ENSEMBLE: self.decode_head(self.extract_feat(inputs))}

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses of the head (``ensemble.loss_ce``, ..) and of the fusion module, and the penalty."""
        maps = self.maps(inputs)
        features = self.decode(maps)
        logits = self.decode_head(features)
        losses = add_prefix(head_losses(self.decode_head, logits, data_samples), ENSEMBLE)
        losses.update(self._auxiliary_head_forward_train(features, data_samples))
        if self.sparsity is not None:
            losses['loss_sparsity'] = self.sparsity(self)
        return losses if self.fusion is None else {**losses, **self.fusion.loss(maps)}


def widen_first_conv(model: nn.Module, factor: int) -> None:
    """Multiplies the input channels of the first convolution by ``factor``; its weights are repeated and divided.

    A checkpoint of the original convolution loads too: its weights are widened in the same way.
    """
    conv = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    channels = conv.in_channels
    conv.in_channels = factor * channels
    conv.weight = nn.Parameter(conv.weight.detach().repeat(1, factor, 1, 1) / factor)

    def widen(state_dict: dict, prefix: str, *_) -> None:
        weight = state_dict.get(f'{prefix}weight')
        if weight is not None and weight.shape[1] == channels:
            state_dict[f'{prefix}weight'] = weight.repeat(1, factor, 1, 1) / factor

    conv._register_load_state_dict_pre_hook(widen)


class _Fusion(BaseModule):
    """Fuses the maps of every stage: each ``(M * B, C_i, h, w)``, modality-major, to ``(B, C_i, h, w)``.

    The fused maps are the input of the neck. They are not passed back into the backbones.

    Args:
        in_channels: channels of the backbone's maps.
        num_modalities: M, set by the segmentor.
    """

    def __init__(self, in_channels: Sequence[int], num_modalities: int):
        super().__init__()
        self.in_channels = in_channels
        self.num_modalities = num_modalities
        self.stages = nn.ModuleList(self.stage(channels, num_modalities) for channels in in_channels)

    def stage(self, channels: int, num_modalities: int) -> nn.Module:
        """Builds the layers of one stage, ``(B, M * C, h, w)`` to ``(B, C, h, w)``."""
        raise NotImplementedError

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        parts = (split_modalities(x, self.num_modalities) for x in maps)
        return tuple(stage(torch.cat(part, 1)) for stage, part in zip(self.stages, parts))

    def loss(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Computes losses in addition to those of the head."""
        return {}


@MODELS.register_module()
class ConcatFusion(_Fusion):
    """Concatenation and a 1x1 convolution to C channels ("Concat" at all stages in the CEN paper)."""

    def stage(self, channels: int, num_modalities: int) -> nn.Module:
        return nn.Conv2d(num_modalities * channels, channels, 1)


class _Gate(nn.Module):
    """Multiplies its input ``(B, C, h, w)`` by gates in (0, 1), which a bottleneck computes from the input."""

    def __init__(self, channels: int):
        super().__init__()
        narrow = max(channels // 16, 1)  # 16 is eta in SSMA, for the coarsest map
        self.gates = nn.Sequential(
            nn.Conv2d(channels, narrow, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gates(x)


@MODELS.register_module()
class SelfAttentionFusion(_Fusion):
    """Gated concatenation and a 3x3 convolution to C channels ("Self-Att." in the CEN paper).

    The gates are those of SSMA (Valada et al., "Self-supervised model adaptation for multimodal semantic
    segmentation", IJCV 2019), without the final batch norm, because RefineNet has no norms.
    """

    def stage(self, channels: int, num_modalities: int) -> nn.Module:
        wide = num_modalities * channels
        return nn.Sequential(_Gate(wide), nn.Conv2d(wide, channels, 3, padding=1))


@MODELS.register_module()
class AlignFusion(_Fusion):
    """Mean over the modalities, with a loss that aligns their features ("Align." in the CEN paper).

    The loss is the maximum mean discrepancy between the modalities' spatially averaged features, as in Wang et al.
    ("Learning common and specific features for RGB-D semantic segmentation with deconvolutional networks", ECCV 2016),
    averaged over all stages and pairs of modalities.

    Args:
        in_channels: channels of the backbone's maps.
        num_modalities: M, set by the segmentor.
        loss_weight: weight of ``loss_align``.
    """

    def __init__(self, in_channels: Sequence[int], num_modalities: int, loss_weight: float = 0.1):
        super().__init__(in_channels, num_modalities)
        self.loss_weight = loss_weight

    def stage(self, channels: int, num_modalities: int) -> nn.Module:
        return nn.Identity()

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(x.unflatten(0, (self.num_modalities, -1)).mean(0) for x in maps)

    def loss(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        terms = [
            squared_mmd(x, y)
            for stage in maps
            for x, y in combinations(stage.float().mean((2, 3)).chunk(self.num_modalities), 2)
        ]
        return {'loss_align': self.loss_weight * sum(terms) / max(len(terms), 1)}


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of two samples (Gretton et al., "A kernel two-sample test", JMLR 2012).

    The kernel is the mean of Gaussians ``exp(-d² / (b * s))`` for b in ``BANDWIDTHS``, where s is the mean of d² over
    all pairs of both samples (as in Long et al., "Learning transferable features with deep adaptation networks", ICML
    2015).

    Args:
        x: ``(n, C)``.
        y: ``(n, C)``.

    Returns:
        The biased estimate, a non-negative scalar.
    """
    both = torch.cat([x, y])  # (2n, C)
    distances = (both[:, None] - both[None]).square().sum(2)  # (2n, 2n)
    spread = distances.detach().mean().clamp(min=1e-12)
    kernel = sum(torch.exp(-distances / (b * spread)) for b in BANDWIDTHS) / len(BANDWIDTHS)
    (xx, xy), (_, yy) = (part.chunk(2, 1) for part in kernel.chunk(2))
    return xx.mean() + yy.mean() - 2 * xy.mean()
