_base_ = [
    '_base_/models/cen_segformer_mit-b2.py',
    '_base_/datasets/sunrgbd_rgb-hha.py',
    '_base_/schedules/adamw_300e.py',
    '_base_/default_runtime.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor, decode_head=dict(num_classes=37))
