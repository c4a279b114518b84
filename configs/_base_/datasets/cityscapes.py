# Cityscapes, RGB and depth. tools/dataset_converters/cityscapes.py computes the depth files from disparity and camera.
# The official server has the labels of the test split, so val and test are the validation split, in full size.
_base_ = 'multimodal.py'
# Mean and standard deviation of depth in meters from ESANet's code, which computes depth in the same way.
data_preprocessor = dict(modalities=dict(depth=dict(mean=[31.72] * 3, std=[38.70] * 3)))
train_pipeline = [
    dict(step, **{key: (512, 1024) for key in ('size', 'crop_size') if key in step}) for step in _base_.train_pipeline
]
dataset = dict(
    data_root='{{$CEN_MM_CITYSCAPES:data/cityscapes/}}',
    modalities=dict(
        rgb='leftImg8bit/{}_leftImg8bit.png',
        # Missing depth becomes the mean, which is 0 after normalization, as in ESANet.
        depth=dict(path='depth/{}_depth.png', dtype='uint16', scale=200, invalid=0, pad_val=31.72),
    ),
    label='gtFine/{}_gtFine_labelIds.png',
    label_map=dict(zip([7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33], range(19))),  # labelIds to trainIds
    metainfo=dict(
        classes=[
            'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign', 'vegetation',
            'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle',
        ],
        palette=[
            [128, 64, 128], [244, 35, 232], [70, 70, 70], [102, 102, 156], [190, 153, 153], [153, 153, 153],
            [250, 170, 30], [220, 220, 0], [107, 142, 35], [152, 251, 152], [70, 130, 180], [220, 20, 60], [255, 0, 0],
            [0, 0, 142], [0, 0, 70], [0, 60, 100], [0, 80, 100], [0, 0, 230], [119, 11, 32],
        ],
    ),
)  # fmt: skip
train_dataloader = dict(dataset=dict(filter_cfg=dict(path='/train/'), pipeline=train_pipeline, **dataset))
val_dataloader = test_dataloader = dict(dataset=dict(filter_cfg=dict(path='/val/'), **dataset))
del dataset  # changing it in a child config would have no effect
