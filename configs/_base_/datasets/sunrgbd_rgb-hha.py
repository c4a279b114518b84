# SUN RGB-D, RGB and HHA, with the authors' pipeline. tools/dataset_converters/hha.py computes the HHA files.
_base_ = 'sunrgbd.py'
# ImageNet's mean and standard deviation, as CMX feeds HHA; channels: disparity, height, angle.
rgb = _base_.data_preprocessor.modalities.rgb
data_preprocessor = dict(modalities=dict(_delete_=True, rgb=rgb, hha=dict(mean=rgb.mean, std=rgb.std)))
hha = dict(path='hha/{}.png', interpolation='bilinear', pad_val=[124, 116, 104])
train_pipeline = [
    dict(step, pad_val=dict(img=step['pad_val']['img'])) if 'pad_val' in step else step
    for step in _base_.train_pipeline
]
train_dataloader = val_dataloader = test_dataloader = dict(
    dataset=dict(modalities=dict(_delete_=True, rgb=dict(), hha=hha))
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **train_dataloader['dataset']))
del rgb, hha  # changing them in a child config would have no effect
