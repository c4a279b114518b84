# Mean of the features of one backbone with shared convolutions and norms per modality: a fusion without parameters.
_base_ = 'concat_shared.py'
model = dict(fusion=dict(type='cen_mm.AlignFusion', loss_weight=0.0))
