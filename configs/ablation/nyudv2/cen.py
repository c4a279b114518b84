# Comparison on real images: NYUDv2 at 320x240, from ImageNet weights, in 16 epochs.
_base_ = '../../cen_refinenet_efficientnet-lite0_nyudv2.py'
crop = (144, 192)
pipeline = [
    dict(step, **{key: crop for key in ('size', 'crop_size') if key in step}) for step in _base_.train_pipeline
]
pipeline[2] = dict(type='cen_mm.RandomScale', low=0.6, high=1.2, min_side=144)
train_dataloader = dict(batch_size=8, num_workers=2, dataset=dict(pipeline=pipeline))
val_dataloader = test_dataloader = dict(num_workers=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=1, end=16, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=16, val_interval=16)
auto_scale_lr = dict(base_batch_size=8)
