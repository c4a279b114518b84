# Three modalities: RGB, depth, and surface normals as 8-bit images.
_base_ = 'cen_refinenet_r18_rooms.py'
normal = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(data_preprocessor=dict(modalities=dict(normal=normal)))
dataset = dict(modalities=['rgb', 'depth', 'normal'])
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dataset)
