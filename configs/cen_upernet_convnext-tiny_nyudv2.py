_base_ = [
    '_base_/models/cen_upernet_convnext-tiny.py',
    '_base_/datasets/nyudv2.py',
    '_base_/schedules/adamw_300e.py',
    '_base_/default_runtime.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor)
