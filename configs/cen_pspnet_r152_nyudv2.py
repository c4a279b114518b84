# The network of the best result in the paper, in three stages of 150 epochs.
_base_ = 'cen_pspnet_r101_nyudv2.py'
model = dict(backbone=dict(depth=152, init_cfg=dict(checkpoint='torchvision://resnet152')))
param_scheduler = [dict(_base_.param_scheduler[0], milestones=[150, 300])]
train_cfg = dict(max_epochs=450)
