# Your own data. A child config sets data_root, modalities, label and metainfo of the data sets, and adds the other
# modalities than RGB to data_preprocessor.
data_preprocessor = dict(
    type='cen_mm.MultimodalDataPreProcessor',
    modalities=dict(rgb=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)),
    size_divisor=1,
)
train_pipeline = [
    dict(type='cen_mm.LoadModalities'),
    dict(type='cen_mm.LoadLabels'),
    dict(type='cen_mm.RandomScale', low=0.5, high=1.5, min_side=256),
    dict(type='cen_mm.CenterPad', size=(256, 320), pad_val=dict(img=(103, 116, 123))),
    dict(type='cen_mm.RandomFlip', prob=0.5),
    dict(type='cen_mm.RandomCrop', crop_size=(256, 320)),
    dict(type='cen_mm.PackModalities'),
]
test_pipeline = [
    dict(type='cen_mm.LoadModalities'),
    dict(type='cen_mm.LoadLabels', augment=False),
    dict(type='cen_mm.PackModalities'),
]
tta_pipeline = [
    *test_pipeline[:2],
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='cen_mm.Resize', scale_factor=r, keep_ratio=True) for r in (0.75, 1.0, 1.25)],
            [dict(type='cen_mm.RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
            test_pipeline[2:],
        ],
    ),
]
train_dataloader = dict(
    batch_size=6,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='cen_mm.MultimodalDataset', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='cen_mm.MultimodalDataset', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='cen_mm.MultimodalIoUMetric')
test_evaluator = val_evaluator
