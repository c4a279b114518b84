# MFNet, RGB and thermal: images of four channels and the official lists. All nine classes count in the mean, also
# `unlabeled`. Day and night:
# tools/test.py CONFIG CHECKPOINT --cfg-options test_dataloader.dataset.ann_file=test_day.txt
_base_ = 'multimodal.py'
# Mean and standard deviation of the training images in CMX's configuration (0.39541 and 0.07578, times 255).
data_preprocessor = dict(modalities=dict(thermal=dict(mean=[100.83] * 3, std=[19.32] * 3)))
train_pipeline = [
    dict(step, **{key: (480, 640) for key in ('size', 'crop_size') if key in step}) for step in _base_.train_pipeline
]
dataset = dict(
    data_root='{{$CEN_MM_MFNET:data/mfnet/}}',
    modalities=dict(
        rgb=dict(path='images/{}.png', channels=[0, 1, 2]),
        thermal=dict(path='images/{}.png', channels=[3], interpolation='bilinear', pad_val=101),
    ),
    label='labels/{}.png',
    metainfo=dict(
        classes=['unlabeled', 'car', 'person', 'bike', 'curve', 'car_stop', 'guardrail', 'color_cone', 'bump'],
        palette=[
            [0, 0, 0], [64, 0, 128], [64, 64, 0], [0, 128, 192], [0, 0, 192], [128, 128, 0], [64, 64, 128],
            [192, 128, 128], [192, 64, 0],
        ],
    ),
)  # fmt: skip
train_dataloader = dict(dataset=dict(ann_file='train.txt', pipeline=train_pipeline, **dataset))
val_dataloader = dict(dataset=dict(ann_file='val.txt', **dataset))
test_dataloader = dict(dataset=dict(ann_file='test.txt', **dataset))
del dataset  # changing it in a child config would have no effect
