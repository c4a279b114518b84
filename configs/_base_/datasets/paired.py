# Own folders: a child config sets `data_root`, `inputs` and `target` of the data sets in the three dataloaders.
resize_size = (286, 286)  # of any files, also if they are not square; the authors' sizes
crop_size = (256, 256)

load = dict(type='cen_mm.LoadPairedImages')
flip_and_pack = [dict(type='cen_mm.FlipImages', prob=0.5), dict(type='cen_mm.PackTranslation')]
train_pipeline = [
    load,
    dict(type='cen_mm.ResizeImages', size=resize_size),
    dict(type='cen_mm.CropImages', size=crop_size),
    *flip_and_pack,
]
test_pipeline = [load, dict(type='cen_mm.ResizeImages', size=crop_size), flip_and_pack[1]]

# Names in list files. With ann_file='', all names that have a file in every folder.
dataset = dict(type='cen_mm.PairedImageDataset')
loader = dict(batch_size=1, num_workers=4, persistent_workers=True)
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(ann_file='train.txt', pipeline=train_pipeline, **dataset),
    **loader,
)
val_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='val.txt', pipeline=test_pipeline, test_mode=True, **dataset),
    **loader,
)
test_dataloader = val_dataloader
# The weights of these features are a package. See taskonomy_shade-texture2rgb.py for Inception and LPIPS.
val_evaluator = dict(
    type='cen_mm.TranslationMetric', features=dict(type='cen_mm.EfficientNetLite0'), authors_protocol=False
)
test_evaluator = val_evaluator
