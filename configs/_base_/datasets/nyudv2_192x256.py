# NYUDv2 with small crops, for light networks and for training on a CPU.
_base_ = 'nyudv2.py'
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
