"""The segmentor: splits the modalities once, runs one network on all of them, and gathers the branches."""

from typing import Optional, Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor

from ..exchange import (
    ENSEMBLE,
    Ensemble,
    SparsityPenalty,
    check_present,
    make_multimodal,
    make_private,
    only_present,
    stack_modalities,
)
from ..registry import MODELS


@MODELS.register_module()
class CENSegmentor(EncoderDecoder):
    """Channel exchanging network for semantic segmentation.

    Modalities travel stacked on the batch, ``(M * B, 3, H, W)``, through any backbone, neck and head of mmseg. The
    modalities are those of ``data_preprocessor``; the backbone is told of them, and the norms of neck and head become
    private to them.

    Args:
        backbone: config of a ``CENResNet`` or ``MultimodalBackbone``.
        decode_head: config of the head that classifies every branch.
        data_preprocessor: config of a ``MultimodalDataPreProcessor``.
        sparsity: arguments of :class:`~cen_mm.exchange.SparsityPenalty`; None: no penalty.
        private_norms: whether each modality has norms of its own; without, nothing is exchanged (paper's ablation).
        private_convs: whether each modality has all other layers, too, for itself (paper's ablation).
        present: names of the modalities that there are; the pipeline need not pack the others. None: all.
        modality_dropout: how often, 0 to 1, a training step goes without one of them, whichever chance picks.
        **kwargs: of mmseg's EncoderDecoder. Beyond its keys, ``test_cfg`` takes ``interpolation``: ``'bilinear'``
            (mmseg's, the default) or ``'bicubic'`` (the authors' evaluation), for resizing logits to the image.
    """

    stacked = ('backbone', 'neck', 'decode_head', 'auxiliary_head')  # parts that see the modalities on the batch

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        data_preprocessor: dict,
        sparsity: Optional[dict] = None,
        private_norms: bool = True,
        private_convs: bool = False,
        present: Optional[Sequence[str]] = None,
        modality_dropout: float = 0.0,
        **kwargs,
    ):
        modalities = list(data_preprocessor['modalities'])
        owners = modalities if private_norms else ['all']
        backbone = {**backbone, 'modalities': owners}
        if present is not None:
            check_present(present, modalities)
            settings = {name: data_preprocessor['modalities'][name] for name in present}
            data_preprocessor = {**data_preprocessor, 'modalities': settings}
        super().__init__(backbone, decode_head, data_preprocessor=data_preprocessor, **kwargs)
        for name, part in self.named_children():
            if name in self.stacked:
                make_multimodal(part, owners)
                if private_convs:
                    make_private(part, modalities)
        self.ensemble = Ensemble(modalities)
        self.sparsity = SparsityPenalty(**sparsity) if sparsity else None
        self.present = tuple(present or modalities)
        self.modality_dropout = modality_dropout
        if not 0 <= modality_dropout <= 1:
            raise ValueError(f'modality_dropout={modality_dropout} is no probability: give a number from 0 to 1.')
        if modality_dropout and any(getattr(module, 'with_cp', False) for module in self.modules()):
            raise ValueError(
                'modality_dropout does not go with with_cp=True, whose second forward would forget which modality is '
                'missing: take one of them out.'
            )
        self.to(memory_format=torch.channels_last)  # faster convolutions, on the CPU in bfloat16 above all
        # mmseg's sliding window and resizing see the branches side by side on the channels.
        self.out_channels = len(self.outputs) * self.decode_head.out_channels

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what :meth:`branches` gives, in its order."""
        return (*self.present, ENSEMBLE)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order in which they are stacked."""
        return self.ensemble.modalities

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """``(B, 3M, H, W)`` to the neck's maps, each ``(M * B, C_i, H_i, W_i)``."""
        stacked = stack_modalities(inputs, len(self.ensemble.names))
        return super().extract_feat(stacked.contiguous(memory_format=torch.channels_last))

    def branches(self, inputs: Tensor, present: Optional[Sequence[str]] = None) -> dict[str, Tensor]:
        """Logits of every branch and the ensemble, before any resize.

        Args:
            inputs: normalised, ``(B, 3M, H, W)``; of the present modalities alone, ``(B, 3P, H, W)``.
            present: names of the modalities in ``inputs``, in their order, where others are missing; None: the model's
                ``present``, which is all if not set.

        Returns:
            ``{'rgb': .., 'depth': .., 'ensemble': ..}``, each ``(B, K, h, w)``; of the present modalities alone.

        Raises:
            ValueError: for unknown names, or another number of channels.
        """
        with only_present(self, self.present if present is None else present, inputs):
            return self.ensemble(self.decode_head(self.extract_feat(inputs)))

    def _forward(self, inputs: Tensor, data_samples: Optional[list] = None) -> dict[str, Tensor]:
        """``mode='tensor'``: the branches."""
        return self.branches(inputs)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses of every branch and the ensemble (``rgb.loss_ce``, ..) and the penalty (``loss_sparsity``).

        A branch whose modality is dropped has none.
        """
        inputs, present = self._drop_modality(inputs)
        losses = {}
        with only_present(self, present, inputs):
            features = self.extract_feat(inputs)
            for name, logits in self.ensemble(self.decode_head(features)).items():
                losses.update(add_prefix(self.decode_head.loss_by_feat(logits, data_samples), name))
            if self.with_auxiliary_head:
                losses.update(self._auxiliary_head_forward_train(features, data_samples * len(present)))
        if self.sparsity is not None:
            losses['loss_sparsity'] = self.sparsity(self)
        return losses

    def _drop_modality(self, inputs: Tensor) -> tuple[Tensor, tuple[str, ...]]:
        """Takes one modality out of ``(B, 3P, H, W)``, where chance says so; gives the rest and its names."""
        present = self.present
        if len(present) > 1 and torch.rand(()) < self.modality_dropout:
            missing = torch.randint(len(present), ())
            keep = [i for i in range(len(present)) if i != missing]
            parts = inputs.chunk(len(present), dim=1)
            inputs, present = torch.cat([parts[i] for i in keep], dim=1), tuple(present[i] for i in keep)
        return inputs, present

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """``(B, 3M, H, W)`` to the logits of all branches, side by side, ``(B, (M + 1) * K, H, W)``."""
        logits = torch.cat(list(self.branches(inputs).values()), dim=1)
        mode = self.test_cfg.get('interpolation', 'bilinear')
        return resize(logits, inputs.shape[2:], mode=mode, align_corners=self.align_corners)

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: Optional[list[SegDataSample]] = None
    ) -> list[SegDataSample]:
        """Fills ``seg_logits`` and ``pred_sem_seg`` of every sample.

        Args:
            seg_logits: of all branches, side by side, ``(B, (M + 1) * K, H, W)``.
            data_samples: one for each image; None: new ones.

        Returns:
            The samples. The field ``data`` of both is the ensemble's, the fields named as the modalities are the
            branches': ``sample.pred_sem_seg.depth`` is ``(1, H, W)``, ``sample.seg_logits.depth`` ``(K, H, W)``.
        """
        if data_samples is None:
            data_samples = [SegDataSample() for _ in seg_logits]
        logits = [PixelData() for _ in data_samples]
        predictions = [PixelData() for _ in data_samples]
        for name, part in zip(self.outputs, seg_logits.chunk(len(self.outputs), dim=1)):
            for i, sample in enumerate(super().postprocess_result(part, data_samples)):
                field = 'data' if name == ENSEMBLE else name
                logits[i].set_field(sample.seg_logits.data, field)
                predictions[i].set_field(sample.pred_sem_seg.data, field)
        for sample, sample_logits, prediction in zip(data_samples, logits, predictions):
            sample.seg_logits, sample.pred_sem_seg = sample_logits, prediction
        return data_samples
