# The network of `make demo`: trains from random weights, in minutes on a CPU with `--amp`.
_base_ = [
    '_base_/models/cen_refinenet_r18.py',
    '_base_/datasets/rooms.py',
    '_base_/schedules/adamw_15e.py',
    '_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(init_cfg=None),
    decode_head=dict(num_classes=17),
)
