# The embedded data set (tools/dataset_converters/render_rooms.py) in Taskonomy's layout: shade and texture to RGB.
_base_ = 'taskonomy_shade-texture2rgb.py'
data_root = 'data/rooms/taskonomy/'
resize_size = (72, 72)  # the files are 160x120; the authors resize to a square, too
crop_size = (64, 64)

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

train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
# Its weights come with the package: nothing to download.
val_evaluator = dict(_delete_=True, type='cen_mm.TranslationMetric', features=dict(type='cen_mm.EfficientNetLite0'))
test_evaluator = val_evaluator
