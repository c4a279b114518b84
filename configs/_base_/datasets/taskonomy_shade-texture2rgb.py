# Taskonomy, shade and texture to RGB, with the authors' pipeline. For other modalities, a child config
# sets `inputs` and `target` of the data sets in the three dataloaders.
data_root = '{{$CEN_MM_TASKONOMY:data/taskonomy/}}'
modalities = ['reshading', 'edge_texture']
target = 'rgb'
resize_size = (286, 286)
crop_size = (256, 256)

load = dict(type='cen_mm.LoadTaskonomyImages')
flip_and_pack = [dict(type='cen_mm.FlipImages', prob=0.5), dict(type='cen_mm.PackTranslation')]
train_pipeline = [
    load,
    dict(type='cen_mm.ResizeImages', size=resize_size),
    dict(type='cen_mm.CropImages', size=crop_size),
    *flip_and_pack,
]
test_pipeline = [load, dict(type='cen_mm.ResizeImages', size=crop_size), flip_and_pack[1]]

dataset = dict(type='cen_mm.TaskonomyDataset', data_root=data_root, inputs=modalities, target=target)
loader = dict(batch_size=1, num_workers=4, persistent_workers=True)
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(ann_file='train_domain.txt', pipeline=train_pipeline, **dataset),
    **loader,
)
val_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='test_domain.txt', pipeline=test_pipeline, test_mode=True, **dataset),
    **loader,
)
test_dataloader = val_dataloader
# Both files are downloaded if they do not exist. Without a network connection, use
# features=dict(_delete_=True, type='cen_mm.EfficientNetLite0') and lpips=None, which need neither.
val_evaluator = dict(
    type='cen_mm.TranslationMetric',
    features=dict(type='cen_mm.InceptionV3', weights='checkpoints/weights-inception-2015-12-05-6726825d.pth'),
    lpips=dict(type='cen_mm.LPIPS', weights='checkpoints/alexnet-owt-7be5be79.pth'),
)
test_evaluator = val_evaluator
