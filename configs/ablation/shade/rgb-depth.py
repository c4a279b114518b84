# RGB and depth, without edges.
_base_ = '../../cen_unet_rgb-depth-edge2shade_rooms.py'
modalities = ['rgb', 'depth_euclidean']
model = dict(modalities=modalities)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(inputs=modalities))
