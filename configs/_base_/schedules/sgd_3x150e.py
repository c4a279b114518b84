# The authors train ResNet-152 for three stages of 150 epochs.
_base_ = 'sgd_3x100e.py'
param_scheduler = [
    dict(
        type='cen_mm.StageLR',
        milestones=[150, 300],
        rates=[[5e-4, 2.5e-4, 1e-4], [3e-3, 1.5e-3, 7e-4]],  # backbone; the rest
        by_epoch=True,
    )
]
train_cfg = dict(max_epochs=450)
