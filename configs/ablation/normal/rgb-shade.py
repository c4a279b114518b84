# A target that each input shows in part: RGB the layout of the room, shade the angle of surface and line of sight.
_base_ = '../../cen_unet_shade-texture2rgb_rooms.py'
modalities, target = ['rgb', 'reshading'], 'normal'
model = dict(modalities=modalities)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(inputs=modalities, target=target))
