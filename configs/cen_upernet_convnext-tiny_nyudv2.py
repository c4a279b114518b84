_base_ = [
    '_base_/models/cen_upernet_convnext-tiny.py',
    '_base_/datasets/nyudv2.py',
    '_base_/schedules/adamw_300e.py',
    '_base_/default_runtime.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor)
# With the backbone's 6e-5, a scale would hardly fall from 1 to the threshold in 40,000 iterations.
optim_wrapper = dict(paramwise_cfg=dict(exchanging_norms=dict(lr_mult=10, decay_mult=0)))
