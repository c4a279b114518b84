# mmseg's schedule for SegFormer, in epochs: AdamW, linear warm-up, then linear decay to zero.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='cen_mm.GroupingOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(norm=dict(decay_mult=0), head=dict(lr_mult=10), ensemble=dict(lr_mult=10)),
        # With the backbone's 6e-5, a scale would hardly fall from 1 to the threshold in 40,000 iterations.
        exchanging_norms=dict(lr_mult=10, decay_mult=0),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=10, by_epoch=True, convert_to_iter_based=True),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=10, end=300, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='cen_mm.ResumableTrainLoop', max_epochs=300, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=6)  # images on all GPUs together; used by --auto-scale-lr
