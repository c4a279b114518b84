# The network of the best result in the paper.
_base_ = [
    '_base_/models/cen_pspnet_r101.py',
    '_base_/datasets/nyudv2.py',
    '_base_/schedules/sgd_3x150e.py',
    '_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(depth=152, init_cfg=dict(checkpoint='torchvision://resnet152')),
)
