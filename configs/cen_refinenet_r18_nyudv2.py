# A light network for NYUDv2 with a small neck and small crops, which also trains on a CPU.
_base_ = [
    '_base_/models/cen_refinenet_r101.py',
    '_base_/datasets/nyudv2.py',
    '_base_/schedules/adamw_80e.py',
    '_base_/default_runtime.py',
]
train_pipeline = [
    dict(type='cen_mm.LoadModalities'),
    dict(type='cen_mm.LoadLabels', crop_to_label=True),
    dict(type='cen_mm.RandomScale', low=0.5, high=1.25, min_side=192),
    dict(type='cen_mm.CenterPad', size=(192, 256), pad_val=dict(img=(103, 116, 123))),
    dict(type='cen_mm.RandomFlip', prob=0.5),
    dict(type='cen_mm.RandomCrop', crop_size=(192, 256)),
    dict(type='cen_mm.PackModalities'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
model = dict(
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        depth=18,
        exchange=r'layer\d\.\d+\.bn1',  # between the two convolutions of every block
        norm_eval=False,
        zero_init_residual=False,
        init_cfg=dict(checkpoint='torchvision://resnet18'),
    ),
    neck=dict(in_channels=[64, 128, 256, 512], channels=64, top_channels=64, dropout_ratio=0.1),
    decode_head=dict(in_channels=64, dropout_ratio=0.1),
    sparsity=dict(loss_weight=2e-3),
)
optim_wrapper = dict(paramwise_cfg=dict(exchanging_norms=dict(lr_mult=10, decay_mult=0)))
