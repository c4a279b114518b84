_base_ = [
    '_base_/models/cen_deeplabv3plus_r50.py',
    '_base_/datasets/nyudv2.py',
    '_base_/schedules/sgd_3x100e.py',
    '_base_/default_runtime.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor)
