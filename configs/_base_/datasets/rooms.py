# The embedded data set (tools/dataset_converters/render_rooms.py), in NYUDv2's layout: 17 of its 40 classes.
dataset_type = 'cen_mm.NYUDepthV2Dataset'
data_root = 'data/rooms/nyudv2/'
depth_scale = 5000  # steps of the 16-bit depth PNG a metre
metainfo = dict(
    classes=[
        'wall', 'floor', 'cabinet', 'bed', 'table', 'door', 'window', 'bookshelf', 'picture', 'counter', 'floor mat',
        'ceiling', 'box', 'lamp', 'otherstructure', 'otherfurniture', 'otherprop',
    ]
)  # fmt: skip

data_preprocessor = dict(
    type='cen_mm.MultimodalDataPreProcessor',
    modalities=dict(
        rgb=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
        depth=dict(mean=[2.5, 2.5, 2.5], std=[1.5, 1.5, 1.5]),  # metres
    ),
    size_divisor=1,
)

load = [
    dict(type='LoadImageFromFile'),
    dict(type='cen_mm.LoadDepth', scale=depth_scale),
]
train_pipeline = [
    *load,
    dict(type='cen_mm.LoadLabels'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', crop_size=(96, 128)),
    dict(type='cen_mm.PackModalities', modalities=['rgb', 'depth']),
]
test_pipeline = [
    *load,
    dict(type='cen_mm.LoadLabels', augment=False),
    dict(type='cen_mm.PackModalities', modalities=['rgb', 'depth']),
]
tta_pipeline = [
    *load,
    dict(type='cen_mm.LoadLabels', augment=False),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (0.75, 1.0, 1.25)],
            [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
            [dict(type='cen_mm.PackModalities', modalities=['rgb', 'depth'])],
        ],
    ),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='train.txt', metainfo=metainfo, pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='val.txt',
        metainfo=metainfo,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='cen_mm.MultimodalIoUMetric')
test_evaluator = val_evaluator
