# The authors' schedule: three stages of 100 epochs, two learning rates, momentum reset at the start of each stage.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='cen_mm.GroupingOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=3e-3, momentum=0.9, weight_decay=1e-5),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=5e-4 / 3e-3))),
)
param_scheduler = [
    dict(
        type='cen_mm.StageLR',
        milestones=[100, 200],
        stage_lrs=[[5e-4, 2.5e-4, 1e-4], [3e-3, 1.5e-3, 7e-4]],  # backbone; all other parameters
        by_epoch=True,
    )
]
train_cfg = dict(type='cen_mm.ResumableTrainLoop', max_epochs=300, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=6)  # images on all GPUs together; used by --auto-scale-lr
