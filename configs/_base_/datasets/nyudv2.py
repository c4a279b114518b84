# NYUDv2, RGB and depth, with the authors' pipeline.
dataset_type = 'cen_mm.NYUDepthV2Dataset'
data_root = '{{$CEN_MM_NYUDV2:data/nyudv2/}}'
depth_scale = 5000  # depth units per meter in the 16-bit PNG files
crop_size = (500, 500)

data_preprocessor = dict(
    type='cen_mm.MultimodalDataPreProcessor',
    modalities=dict(
        rgb=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
        depth=dict(mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0]),  # in meters, not normalized
    ),
    size_divisor=1,
)

load = [
    dict(type='LoadImageFromFile'),
    dict(type='cen_mm.LoadDepth', depth_scale=depth_scale),
    dict(type='cen_mm.LoadModality', key='normal'),  # normal and reshading are loaded if `modalities` of the data set
    dict(type='cen_mm.LoadModality', key='reshading'),  # lists them
]
train_pipeline = [
    *load,
    dict(type='cen_mm.LoadLabels'),
    dict(type='cen_mm.AlignToLabel'),
    dict(type='cen_mm.RandomScale', low=0.5, high=2.0, min_side=350),
    dict(
        type='cen_mm.CenterPad',
        size=crop_size,
        # The authors pad both images with the integer part of ImageNet's mean. The image is BGR, depth in meters.
        pad_val=dict(
            img=[103, 116, 123], depth=[123 / depth_scale, 116 / depth_scale, 103 / depth_scale], gt_seg_map=255
        ),
    ),
    dict(type='cen_mm.RandomFlip', prob=0.5),
    dict(type='cen_mm.RandomCrop', crop_size=crop_size),
    dict(type='cen_mm.PackModalities'),
]
test_pipeline = [
    *load,
    dict(type='cen_mm.LoadLabels', augment=False),
    dict(type='cen_mm.AlignToLabel'),
    dict(type='cen_mm.PackModalities'),
]
tta_pipeline = [
    *load,
    dict(type='cen_mm.LoadLabels', augment=False),
    dict(type='cen_mm.AlignToLabel'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='cen_mm.Resize', scale_factor=r, keep_ratio=True) for r in (0.75, 1.0, 1.25)],
            [dict(type='cen_mm.RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
            [dict(type='cen_mm.PackModalities')],
        ],
    ),
]

train_dataloader = dict(
    batch_size=6,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='train.txt', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='val.txt', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='cen_mm.MultimodalIoUMetric')
test_evaluator = val_evaluator
