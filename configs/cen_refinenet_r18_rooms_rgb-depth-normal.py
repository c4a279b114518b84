# Three modalities: RGB, depth, and surface normals as 8-bit images.
_base_ = 'cen_refinenet_r18_rooms.py'
normal = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(data_preprocessor=dict(modalities=dict(normal=normal)))
# A horizontal flip negates the normals' x, too. The authors' code for translation only moves the pixels.
dataset = dict(modalities=dict(normal=dict(path='normal/{}.png', vectors='y_up')))
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dataset)
del normal, dataset
