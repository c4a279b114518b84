# Four modalities: RGB, depth, and surface normals and shading as 8-bit images.
_base_ = 'cen_refinenet_r18_rooms.py'
eight_bit = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(data_preprocessor=dict(modalities=dict(normal=eight_bit, reshading=eight_bit)))
dataset = dict(modalities=dict(normal='normal/{}.png', reshading='reshading/{}.png'))
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dataset)
