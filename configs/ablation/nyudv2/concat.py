# Feature-level fusion by concatenation: one backbone per modality, fused after every stage.
_base_ = 'cen.py'
model = dict(
    type='cen_mm.FusionSegmentor',
    backbone=dict(exchange=None),
    fusion=dict(type='cen_mm.ConcatFusion', in_channels=_base_.model.neck.in_channels),
    sparsity=None,
)
