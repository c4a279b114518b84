_base_ = [
    '_base_/models/cen_refinenet_r101.py',
    '_base_/datasets/cityscapes.py',
    '_base_/schedules/sgd_3x100e.py',
    '_base_/default_runtime.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor, decode_head=dict(num_classes=19))
