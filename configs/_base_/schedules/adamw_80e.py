_base_ = 'adamw_15e.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=4, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=4, end=80, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=80, val_interval=10)
auto_scale_lr = dict(base_batch_size=6)
