# The embedded data set (made by tools/render_rooms.py) in Taskonomy's layout: shade and texture to RGB.
_base_ = 'taskonomy_shade-texture2rgb.py'
data_root = 'data/rooms/taskonomy/'
resize_size = (72, 72)  # the files are 160x120; the authors, too, resize to a square
crop_size = (64, 64)

train_pipeline = [
    _base_.load,
    dict(type='cen_mm.ResizeImages', size=resize_size),
    dict(type='cen_mm.CropImages', size=crop_size),
    *_base_.flip_and_pack,
]
test_pipeline = [_base_.load, dict(type='cen_mm.ResizeImages', size=crop_size), _base_.flip_and_pack[1]]

train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
# The weights of these features are a package: nothing is downloaded.
val_evaluator = dict(_delete_=True, type='cen_mm.TranslationMetric', features=dict(type='cen_mm.EfficientNetLite0'))
test_evaluator = val_evaluator
