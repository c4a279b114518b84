# The backbone of CEN, whose features are concatenated for one neck and head: no branches, but fewer operations.
_base_ = 'sweep/penalty_2e-4.py'
model = dict(
    type='cen_mm.FusionSegmentor',
    fusion=dict(type='cen_mm.ConcatFusion', in_channels=_base_.model.neck.in_channels),
    per_modality_convs=False,
)
