_base_ = [
    '_base_/models/cen_segformer_mit-b2.py',
    '_base_/datasets/nyudv2.py',
    '_base_/schedules/adamw_300e.py',
    '_base_/default_runtime.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor)
# At the backbone's 6e-5 a scale would hardly get from 1 to the threshold in the 40000 steps.
exchanging = dict(lr_mult=10, decay_mult=0)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'norm1.norms': exchanging, 'norm2.norms': exchanging}))
