# NYUDv2, RGB and depth, with the authors' pipeline. A child config changes the folder or the depth units with
# train_dataloader = val_dataloader = test_dataloader = dict(
#     dataset=dict(data_root='FOLDER', modalities=dict(depth=dict(scale=1000))))
data_preprocessor = dict(
    type='cen_mm.MultimodalDataPreProcessor',
    modalities=dict(
        rgb=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
        depth=dict(mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0]),  # in meters, not normalized
    ),
    size_divisor=1,
)

load = [
    dict(type='cen_mm.LoadModalities'),
    dict(type='cen_mm.LoadLabels', augment=False, crop_to_label=True),
]
train_pipeline = [
    dict(type='cen_mm.LoadModalities'),
    dict(type='cen_mm.LoadLabels', crop_to_label=True),
    dict(type='cen_mm.RandomScale', low=0.5, high=2.0, min_side=350),
    dict(
        type='cen_mm.CenterPad',
        size=(500, 500),
        # The authors pad both images with the integer part of ImageNet's mean: the image in BGR, depth in its units.
        pad_val=dict(img=[103, 116, 123], depth=[123 / 5000, 116 / 5000, 103 / 5000]),
    ),
    dict(type='cen_mm.RandomFlip', prob=0.5),
    dict(type='cen_mm.RandomCrop', crop_size=(500, 500)),
    dict(type='cen_mm.PackModalities'),
]
test_pipeline = [*load, dict(type='cen_mm.PackModalities')]
tta_pipeline = [
    *load,
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='cen_mm.Resize', scale_factor=r, keep_ratio=True) for r in (0.75, 1.0, 1.25)],
            [dict(type='cen_mm.RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
            [dict(type='cen_mm.PackModalities')],
        ],
    ),
]

dataset = dict(
    type='cen_mm.NYUDepthV2Dataset',
    data_root='{{$CEN_MM_NYUDV2:data/nyudv2/}}',
    modalities=dict(rgb=dict(), depth=dict(dtype='uint16', scale=5000, invalid=0)),  # 5000 units per meter
)
train_dataloader = dict(
    batch_size=6,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(ann_file='train.txt', pipeline=train_pipeline, **dataset),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='val.txt', pipeline=test_pipeline, test_mode=True, **dataset),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='cen_mm.MultimodalIoUMetric')
test_evaluator = val_evaluator
del load, dataset  # changing them in a child config would have no effect
