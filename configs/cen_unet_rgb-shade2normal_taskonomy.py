_base_ = 'cen_unet_shade-texture2rgb_taskonomy.py'
modalities, target = ['rgb', 'reshading'], 'normal'
model = dict(modalities=modalities)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(inputs=modalities, target=target))
