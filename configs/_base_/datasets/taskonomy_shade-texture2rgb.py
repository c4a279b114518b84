# Taskonomy, shade and texture to RGB, through the authors' pipeline. A child that sets `inputs` and `target` of the
# loaders' data sets reads any other modalities.
dataset_type = 'cen_mm.TaskonomyDataset'
data_root = '{{$CEN_MM_TASKONOMY:data/taskonomy/}}'
modalities = ['reshading', 'edge_texture']
target = 'rgb'
resize_size = (286, 286)
crop_size = (256, 256)

train_pipeline = [
    dict(type='cen_mm.LoadTaskonomyImages'),
    dict(type='cen_mm.ResizeImages', size=resize_size),
    dict(type='cen_mm.CropImages', size=crop_size),
    dict(type='cen_mm.FlipImages', prob=0.5),
    dict(type='cen_mm.PackTranslation'),
]
test_pipeline = [
    dict(type='cen_mm.LoadTaskonomyImages'),
    dict(type='cen_mm.ResizeImages', size=crop_size),
    dict(type='cen_mm.PackTranslation'),
]

train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='train_domain.txt',
        inputs=modalities,
        target=target,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='test_domain.txt',
        inputs=modalities,
        target=target,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
# Both files are fetched if they are not there; without a network, features=dict(type='cen_mm.EfficientNetLite0') and
# lpips=None need neither.
val_evaluator = dict(
    type='cen_mm.TranslationMetric',
    features=dict(type='cen_mm.InceptionV3', weights='checkpoints/weights-inception-2015-12-05-6726825d.pth'),
    lpips=dict(type='cen_mm.LPIPS', weights='checkpoints/alexnet-owt-7be5be79.pth'),
)
test_evaluator = val_evaluator
