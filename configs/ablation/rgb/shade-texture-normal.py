# Normals as a third input. Results: configs/ablation/README.md, "Translation".
_base_ = '../../cen_unet_shade-texture2rgb_rooms.py'
modalities = ['reshading', 'edge_texture', 'normal']
model = dict(modalities=modalities)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(inputs=modalities))
