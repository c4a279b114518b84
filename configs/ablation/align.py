# Feature fusion by alignment: a loss draws both backbones' features together; their mean goes on, at every stage.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(
    type='cen_mm.FusionSegmentor',
    backbone=dict(exchange=None),
    fusion=dict(type='cen_mm.AlignFusion', in_channels=_base_.model.neck.in_channels, loss_weight=0.1),
    sparsity=None,
)
