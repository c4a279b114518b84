# A light network for NYUDv2 with small crops, which also trains on a CPU.
_base_ = [
    '_base_/models/cen_refinenet_r18.py',
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
model = dict(data_preprocessor=_base_.data_preprocessor)
