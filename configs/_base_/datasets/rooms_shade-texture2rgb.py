# The embedded data set (tools/dataset_converters/render_rooms.py) in Taskonomy's layout: shade and texture to RGB.
dataset_type = 'cen_mm.TaskonomyDataset'
data_root = 'data/rooms/taskonomy/'
modalities = ['reshading', 'edge_texture']
target = 'rgb'
resize_size = (143, 143)  # the files are 160x120; the authors resize to a square, too
crop_size = (128, 128)

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
    batch_size=4,
    num_workers=1,
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
    num_workers=1,
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
val_evaluator = dict(type='cen_mm.TranslationMetric')
test_evaluator = val_evaluator
