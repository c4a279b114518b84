# A short run from random weights: linear warm-up, then cosine decay.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='cen_mm.GroupingOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=8e-4, weight_decay=1e-2),
    # In a short run, a scale falls from 1 to the threshold only with ten times the learning rate of the network.
    paramwise_cfg=dict(exchanging_norms=dict(lr_mult=10, decay_mult=0)),
    clip_grad=dict(max_norm=1.0),  # RefineNet has no norm layers and diverges without clipping
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=3, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=3, end=15, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='cen_mm.ResumableTrainLoop', max_epochs=15, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)  # images on all GPUs together; used by --auto-scale-lr
