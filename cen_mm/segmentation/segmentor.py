"""The segmentor, which runs one network on all modalities and returns one output per branch."""

import math
from typing import Optional, Sequence, Union

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dist import sync_random_seed
from mmengine.logging import MessageHub
from mmseg.models import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor, nn

from ..exchange import (
    ENSEMBLE,
    Ensemble,
    ExchangeNorm,
    FeatureEnsemble,
    PerModalityLayer,
    SparsityPenalty,
    check_available_modalities,
    make_multimodal,
    make_per_modality,
    stack_modalities,
    use_available_modalities,
)
from ..exchange.available import check_no_checkpointing, is_per_modality
from ..registry import MODELS
from .adapter import ChannelAdapter
from .checks import check_auxiliary_heads, check_backbone, check_decode_head, check_test_cfg, explain_unexpected_keys
from .losses import head_losses, keep_class_weights
from .preprocessor import in_order, num_channels


@MODELS.register_module()
class CENSegmentor(EncoderDecoder):
    """Channel exchanging network for semantic segmentation.

    The modalities are stacked on the batch dimension, ``(M * B, 3, H, W)``, and run through any backbone, neck and
    head of mmseg. Their names are those in ``data_preprocessor``; the segmentor passes them to the backbone and
    replaces the norms of neck and head by norms per modality.

    Args:
        backbone: config of a ``CENResNet`` or ``MultimodalBackbone``.
        decode_head: config of the head that classifies every branch.
        data_preprocessor: config of a ``MultimodalDataPreProcessor``.
        sparsity: arguments of :class:`~cen_mm.exchange.SparsityPenalty`. None: no penalty.
        per_modality_norms: whether each modality has its own norms. False: one norm for all and no exchange (an
            ablation in the paper).
        per_modality_convs: whether each modality also has its own copy of all other layers (an ablation in the
            paper), or a regular expression: the layers whose names match (``re.search``) are not shared, such as
            ``'conv_stem|conv_dw'``, the first and the depthwise convolutions of timm's EfficientNet.
        feature_ensemble: whether neck and head compute the ensemble from the weighted mean of the backbone's maps, as
            one more branch (not in the paper). False: the ensemble is the weighted mean of the branches' logits.
        branch_loss_weight: factor of the decode head's losses of the branches, beside that of the ensemble; auxiliary
            heads have their own ``loss_weight``. Below 1, a feature ensemble gains, and the branches alone lose. The
            paper's ensemble trains alpha only, so keep 1 with it.
        available_modalities: names of the available modalities; the pipeline does not need to pack the others. None:
            all.
        modality_dropout: probability of dropping one random modality per training step; in eval mode, none is dropped.
            Between 0 and 1, norms per modality keep separate running statistics for inputs with missing modalities.
        **kwargs: arguments of mmseg's EncoderDecoder. ``test_cfg`` has one more key, ``interpolation``, for resizing
            logits to the image: ``'bilinear'`` (mmseg, the default) or ``'bicubic'`` (the authors' evaluation).

    Raises:
        ValueError: for a backbone without ``modalities``, a head that cannot run on each branch, an ``ignore_index``
            other than 255, an auxiliary head of a map that the neck does not have, sliding windows without sizes,
            unknown available modalities, a ``per_modality_convs`` that matches no layer, a negative
            ``branch_loss_weight``, a ``modality_dropout`` outside [0, 1], or together with activation checkpointing.
        TypeError: if a part has keys that its class does not take.
    """

    stacked = ('backbone', 'neck', 'decode_head', 'auxiliary_head')  # parts that run on the stacked modalities

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        data_preprocessor: dict,
        sparsity: Optional[dict] = None,
        per_modality_norms: bool = True,
        per_modality_convs: Union[bool, str] = False,
        feature_ensemble: bool = False,
        branch_loss_weight: float = 1.0,
        available_modalities: Optional[Sequence[str]] = None,
        modality_dropout: float = 0.0,
        **kwargs,
    ):
        settings = in_order(data_preprocessor['modalities'])
        modalities, channels = list(settings), num_channels(settings)
        owners = modalities if per_modality_norms else ['all']
        check_backbone(backbone)
        backbone = ConfigDict(backbone, modalities=owners)
        if available_modalities is not None:
            check_available_modalities(available_modalities, modalities)
            settings = {name: settings[name] for name in modalities if name in available_modalities}
            data_preprocessor = {**data_preprocessor, 'modalities': settings}
        with explain_unexpected_keys(dict(kwargs, backbone=backbone, decode_head=decode_head)):
            super().__init__(backbone, decode_head, data_preprocessor=data_preprocessor, **kwargs)
        self.adapter = ChannelAdapter(channels)
        is_of_features = feature_ensemble and len(modalities) > 1
        self.ensemble = FeatureEnsemble(modalities) if is_of_features else Ensemble(modalities)
        num_maps = getattr(getattr(self, 'neck', None), 'num_maps', None)
        check_auxiliary_heads(self.auxiliary_heads.values(), num_maps)
        check_test_cfg(self.test_cfg or {})
        for head in (self.decode_head, *self.auxiliary_heads.values()):
            keep_class_weights(head)
        for name, part in self.named_children():
            if name in self.stacked:
                names = modalities if name == 'backbone' else self.ensemble.decoded
                make_multimodal(part, names if per_modality_norms else owners)
                if per_modality_convs:
                    layers = per_modality_convs if isinstance(per_modality_convs, str) else ''
                    make_per_modality(part, names, layers, f'{name}.')
        if per_modality_convs and not any(isinstance(module, PerModalityLayer) for module in self.modules()):
            raise ValueError(
                f'per_modality_convs={per_modality_convs!r} matches no layer with parameters: give a regular '
                "expression for the names in model.named_modules(), such as 'backbone.conv1'."
            )
        self.sparsity = SparsityPenalty(**sparsity) if sparsity else None
        self.available_modalities = tuple(settings)
        self.branch_loss_weight = branch_loss_weight
        self.modality_dropout = modality_dropout
        if not 0 <= branch_loss_weight < math.inf:
            raise ValueError(f'branch_loss_weight={branch_loss_weight} is not a weight: use a number of 0 or more.')
        if not 0 <= modality_dropout <= 1:
            raise ValueError(f'modality_dropout={modality_dropout} is not a probability: use a number from 0 to 1.')
        if modality_dropout:
            check_no_checkpointing(self)
        if 0 < modality_dropout < 1:  # with 1, no training step has all modalities
            for module in self.modules():
                if isinstance(module, ExchangeNorm) and is_per_modality(module, self.modalities):
                    module.keep_partial_statistics()
        self.to(memory_format=torch.channels_last)  # faster convolutions, above all in bfloat16 on the CPU

    def _init_decode_head(self, decode_head: dict) -> None:
        if isinstance(decode_head, (list, tuple)):
            check_decode_head(decode_head)
        super()._init_decode_head(decode_head)
        check_decode_head(self.decode_head)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs of :meth:`branches`, in their order."""
        return (*self.available_modalities, ENSEMBLE)

    @property
    def auxiliary_heads(self) -> dict[str, nn.Module]:
        """Auxiliary heads by the prefix of their losses, as in mmseg."""
        if not self.with_auxiliary_head:
            return {}
        if isinstance(self.auxiliary_head, nn.ModuleList):
            return {f'aux_{i}': head for i, head in enumerate(self.auxiliary_head)}
        return {'aux': self.auxiliary_head}

    @property
    def in_channels(self) -> int:
        """Number of channels of the input."""
        return sum(self.data_preprocessor.channels.values())

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order in which they are stacked."""
        return self.ensemble.modalities

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Computes the feature maps of the neck, each ``(M * B, C_i, H_i, W_i)``, from inputs ``(B, 3M, H, W)``.

        With ``feature_ensemble``, they are ``((M + 1) * B, C_i, H_i, W_i)``.
        """
        stacked = stack_modalities(inputs, len(self.ensemble.names))
        maps = self.backbone(stacked.contiguous(memory_format=torch.channels_last))
        maps = tuple(self.ensemble.add_to(x) for x in maps)
        return self.neck(maps) if self.with_neck else maps

    def branches(self, inputs: Tensor, available_modalities: Optional[Sequence[str]] = None) -> dict[str, Tensor]:
        """Computes the logits of every branch and of the ensemble, before they are resized.

        Args:
            inputs: normalized images, ``(B, 3M, H, W)``; ``(B, 3P, H, W)`` if only P modalities are available. A
                modality with ``channels`` in the preprocessor has as many instead of three.
            available_modalities: names of the modalities in ``inputs``, in their order. None: those of the model's
                argument ``available_modalities``.

        Returns:
            ``{'rgb': .., 'depth': .., 'ensemble': ..}``, each ``(B, K, h, w)``, with a branch for each available
            modality.

        Raises:
            ValueError: for unknown names, or another number of channels.
        """
        names = self.available_modalities if available_modalities is None else available_modalities
        inputs = self.adapter(inputs, names)
        with use_available_modalities(self, names, inputs):
            return self.ensemble(self.decode_head(self.extract_feat(inputs)))

    def _forward(self, inputs: Tensor, data_samples: Optional[list] = None) -> dict[str, Tensor]:
        """Returns the branches; mmseg calls it for ``mode='tensor'``."""
        return self.branches(inputs)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses of every branch and the ensemble (``rgb.loss_ce``, ..) and the penalty.

        Args:
            inputs: normalized images, ``(B, 3M, H, W)``.
            data_samples: B samples with labels ``(1, H, W)`` in ``gt_sem_seg``.

        Returns:
            Losses and accuracies by name; ``loss_sparsity`` is the penalty. A dropped modality has no entries.
        """
        inputs, names = self._drop_modality(self.adapter(inputs, self.available_modalities))
        losses = {}
        with use_available_modalities(self, names, inputs):
            features = self.extract_feat(inputs)
            for name, logits in self.ensemble(self.decode_head(features)).items():
                weight = 1.0 if name == ENSEMBLE else self.branch_loss_weight
                for key, value in head_losses(self.decode_head, logits, data_samples).items():
                    losses[f'{name}.{key}'] = weight * value if 'loss' in key else value
            samples = data_samples * len(self.ensemble.decoded)
            losses.update(self._auxiliary_head_forward_train(features, samples))
        if self.sparsity is not None:
            losses['loss_sparsity'] = self.sparsity(self)
        return losses

    def _auxiliary_head_forward_train(
        self, inputs: Sequence[Tensor], data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        losses = {}
        for name, head in self.auxiliary_heads.items():
            losses.update(add_prefix(head_losses(head, head(inputs), data_samples), name))
        return losses

    def _drop_modality(self, inputs: Tensor) -> tuple[Tensor, tuple[str, ...]]:
        """Drops one random modality with probability ``modality_dropout``; returns inputs and their names."""
        names = self.available_modalities
        if not self.training or not self.modality_dropout or len(names) == 1:
            return inputs, names
        hub = MessageHub.get_current_instance()  # checkpoints contain its entries
        # The seed is that of the first process, so that all processes drop the same modality.
        seed, step = hub.get_info('modality_dropout') or (sync_random_seed(), 0)
        hub.update_info('modality_dropout', (seed, step + 1))
        rng = np.random.default_rng((seed, step))
        if rng.random() < self.modality_dropout:
            dropped = rng.integers(len(names))
            keep = [i for i in range(len(names)) if i != dropped]
            parts = inputs.chunk(len(names), dim=1)
            inputs, names = torch.cat([parts[i] for i in keep], dim=1), tuple(names[i] for i in keep)
        return inputs, names

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Computes the resized logits of all outputs, concatenated on the channels, ``(B, (M + 1) * K, H, W)``."""
        logits = torch.cat(list(self.branches(inputs).values()), dim=1)
        mode = self.test_cfg.get('interpolation', 'bilinear')
        return resize(logits, inputs.shape[2:], mode=mode, align_corners=self.align_corners)

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """mmseg's sliding window, on the logits of all outputs, ``(B, (M + 1) * K, H, W)``."""
        self.out_channels = len(self.outputs) * self.decode_head.out_channels
        try:
            return super().slide_inference(inputs, batch_img_metas)
        finally:
            self.out_channels = self.decode_head.out_channels

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: Optional[list[SegDataSample]] = None
    ) -> list[SegDataSample]:
        """Adds the predictions to the samples, as ``seg_logits`` and ``pred_sem_seg``.

        Args:
            seg_logits: logits of all outputs, concatenated on the channels, ``(B, (M + 1) * K, H, W)``.
            data_samples: one sample per image. None: new samples.

        Returns:
            The samples. In both elements, the field ``data`` holds the ensemble and a field with the name of a
            modality holds its branch: ``sample.pred_sem_seg.depth`` has shape ``(1, H, W)`` and
            ``sample.seg_logits.depth`` has shape ``(K, H, W)``.
        """
        parts = {}
        for name, part in zip(self.outputs, seg_logits.chunk(len(self.outputs), dim=1)):
            samples = super().postprocess_result(part, data_samples)
            parts[name] = [(sample.seg_logits.data, sample.pred_sem_seg.data) for sample in samples]
        for i, sample in enumerate(samples):
            # The ensemble is last, so its elements are in the sample already.
            for name in self.outputs[:-1]:
                logits, prediction = parts[name][i]
                sample.seg_logits.set_field(logits, name)
                sample.pred_sem_seg.set_field(prediction, name)
        return samples
