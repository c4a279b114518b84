# PST900, RGB and 8-bit thermal images. There is no validation split: val and test are the test folder. All five
# classes count in the mean. Thermal images are 0 where no pixel of the thermal camera was projected.
_base_ = 'multimodal.py'
# ImageNet's mean and standard deviation, as CMX feeds every 8-bit modality; modality_statistics.py prints those of the
# files.
rgb = _base_.data_preprocessor.modalities.rgb
data_preprocessor = dict(modalities=dict(thermal=dict(mean=rgb.mean, std=rgb.std)))
train_pipeline = [
    dict(step, **{key: (640, 1280) for key in ('size', 'crop_size') if key in step}) for step in _base_.train_pipeline
]
dataset = dict(
    data_root='{{$CEN_MM_PST900:data/pst900/}}',
    metainfo=dict(
        classes=['background', 'fire extinguisher', 'backpack', 'drill', 'survivor'],
        palette=[[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]],
    ),
)
train, test = (
    dict(
        modalities=dict(
            rgb=f'{split}/rgb/{{}}.png',
            thermal=dict(path=f'{split}/thermal/{{}}.png', interpolation='bilinear'),
            # For 16-bit images: thermal=dict(path=f'{split}/thermal_raw/{{}}.png', dtype='uint16', ..)
        ),
        label=f'{split}/labels/{{}}.png',
    )
    for split in ('train', 'test')
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **train, **dataset))
val_dataloader = test_dataloader = dict(dataset=dict(**test, **dataset))
del rgb, dataset, train, test  # changing them in a child config would have no effect
