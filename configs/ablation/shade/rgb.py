# The network of one modality: there is nothing to exchange.
_base_ = '../../cen_unet_rgb-depth-edge2shade_rooms.py'
model = dict(modalities=['rgb'], sparsity=None)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(inputs=['rgb']))
