# The network of one modality: there is nothing to exchange.
_base_ = '../../cen_unet_shade-texture2rgb_rooms.py'
model = dict(modalities=['edge_texture'], sparsity=None)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(inputs=['edge_texture']))
