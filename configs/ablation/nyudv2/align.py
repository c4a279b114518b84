# Feature-level fusion by alignment: a loss aligns the features of both backbones; their mean goes to the neck.
_base_ = 'concat.py'
model = dict(fusion=dict(type='cen_mm.AlignFusion', loss_weight=0.1))
