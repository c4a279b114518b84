# The embedded data set (made by tools/render_rooms.py) in NYUDv2's layout, with 17 of its 40 classes.
_base_ = 'nyudv2.py'
classes = [
    'wall', 'floor', 'cabinet', 'bed', 'table', 'door', 'window', 'bookshelf', 'picture', 'counter', 'floor mat',
    'ceiling', 'box', 'lamp', 'otherstructure', 'otherfurniture', 'otherprop',
]  # fmt: skip
data_preprocessor = dict(modalities=dict(depth=dict(mean=[2.5, 2.5, 2.5], std=[1.5, 1.5, 1.5])))  # meters

train_pipeline = [
    dict(type='cen_mm.LoadModalities'),
    dict(type='cen_mm.LoadLabels'),
    dict(type='cen_mm.RandomFlip', prob=0.5),
    dict(type='cen_mm.RandomCrop', crop_size=(96, 128)),
    dict(type='cen_mm.PackModalities'),
]
dataset = dict(data_root='data/rooms/nyudv2/', metainfo=dict(classes=classes))
train_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(pipeline=train_pipeline, **dataset))
val_dataloader = dict(num_workers=1, dataset=dataset)
test_dataloader = val_dataloader
del classes, dataset  # changing them in a child config would have no effect
