# MFNet in the layout of CMX and CMNeXt: RGB and thermal images in separate folders.
_base_ = 'mfnet.py'
train_dataloader = val_dataloader = test_dataloader = dict(
    dataset=dict(
        modalities=dict(
            rgb=dict(path='rgb/{}.jpg', channels=None),
            thermal=dict(path='ther/{}.jpg', channels=None),
        )
    )
)
