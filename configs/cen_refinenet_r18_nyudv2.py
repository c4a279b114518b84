# A light network for NYUDv2 with small crops, which also trains on a CPU.
_base_ = [
    '_base_/models/cen_refinenet_r18.py',
    '_base_/datasets/nyudv2_192x256.py',
    '_base_/schedules/adamw_80e.py',
    '_base_/default_runtime.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor)
