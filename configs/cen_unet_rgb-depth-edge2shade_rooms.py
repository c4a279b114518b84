# A target that the inputs determine, up to their resolution: shade is the angle between surface and line of sight.
_base_ = 'cen_unet_shade-texture2rgb_rooms.py'
modalities, target = ['rgb', 'depth_euclidean', 'edge_occlusion'], 'reshading'
model = dict(modalities=modalities)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(inputs=modalities, target=target))
