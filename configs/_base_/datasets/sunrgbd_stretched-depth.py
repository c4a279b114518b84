# SUN RGB-D with depth as the authors feed it: (d - min) * 255 / (max - min) of each cropped and padded image, without
# mean and standard deviation. They pad depth with the integer part of ImageNet's mean, in the units of their files,
# which are not published; those of our converter are 1/5000 m.
_base_ = 'sunrgbd.py'
pack = [dict(type='cen_mm.StretchModality', modality='depth'), dict(type='cen_mm.PackModalities')]
pad_val = dict(img=[103, 116, 123], depth=[123, 116, 103])
train_pipeline = [dict(step, pad_val=pad_val) if 'pad_val' in step else step for step in _base_.train_pipeline[:-1]]
train_pipeline += pack
test_pipeline = [*_base_.test_pipeline[:-1], *pack]
tta_pipeline = _base_.tta_pipeline
tta_pipeline[-1]['transforms'][-1:] = [[step] for step in pack]  # each list has alternatives
depth = dict(depth=dict(scale=None))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, modalities=depth))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline, modalities=depth))
del pack, pad_val, depth  # changing them in a child config would have no effect
