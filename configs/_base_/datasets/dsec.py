# DSEC-Semantic, RGB and events, as written by tools/dataset_converters/dsec.py. There is no validation split: val and
# test are the test sequences.
_base_ = 'multimodal.py'
# Voxel grids of five bins; not normalized, as in the data set's code. modality_statistics.py prints mean and standard
# deviation. A 1x1 convolution converts the five channels to three.
data_preprocessor = dict(modalities=dict(events=dict(channels=5, mean=[0.0] * 5, std=[1.0] * 5)))
train_pipeline = [
    dict(step, **{key: (440, 640) for key in ('size', 'crop_size') if key in step}) for step in _base_.train_pipeline
]
dataset = dict(
    data_root='{{$CEN_MM_DSEC:data/dsec/}}',
    modalities=dict(
        rgb='images/{}.png',
        events=dict(path='events/{}.npz', dtype='float16', interpolation='bilinear'),
    ),
    label='labels/{}.png',
    metainfo=dict(
        classes=[
            'background', 'building', 'fence', 'person', 'pole', 'road', 'sidewalk', 'vegetation', 'car', 'wall',
            'traffic sign',
        ],
        palette=[  # of Cityscapes
            [70, 130, 180], [70, 70, 70], [190, 153, 153], [220, 20, 60], [153, 153, 153], [128, 64, 128],
            [244, 35, 232], [107, 142, 35], [0, 0, 142], [102, 102, 156], [220, 220, 0],
        ],
    ),
)  # fmt: skip
train_dataloader = dict(dataset=dict(ann_file='train.txt', pipeline=train_pipeline, **dataset))
val_dataloader = test_dataloader = dict(dataset=dict(ann_file='test.txt', **dataset))
del dataset  # changing it in a child config would have no effect
