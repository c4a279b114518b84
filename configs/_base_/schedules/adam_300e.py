# The authors' schedule for translation: Adam with a constant learning rate for each network.
adam = dict(type='cen_mm.fused_adam', lr=2e-4, betas=(0.5, 0.999))
optim_wrapper = dict(
    constructor='MultiOptimWrapperConstructor',
    generators=dict(type='OptimWrapper', optimizer=adam),
    discriminators=dict(type='OptimWrapper', optimizer=adam),
)
param_scheduler = None
train_cfg = dict(type='cen_mm.ResumableTrainLoop', max_epochs=300, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=1)  # images on all GPUs together; used by --auto-scale-lr
