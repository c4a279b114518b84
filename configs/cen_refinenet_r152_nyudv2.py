_base_ = 'cen_refinenet_r101_nyudv2.py'
model = dict(backbone=dict(depth=152, init_cfg=dict(checkpoint='torchvision://resnet152')))
# The authors train ResNet-152 for three stages of 150 epochs.
param_scheduler = [
    dict(
        type='cen_mm.StageLR',
        milestones=[150, 300],
        rates=[[5e-4, 2.5e-4, 1e-4], [3e-3, 1.5e-3, 7e-4]],
        by_epoch=True,
    )
]
train_cfg = dict(max_epochs=450)
