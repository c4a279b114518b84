# Edges of the surfaces as a third input.
_base_ = 'rgb-shade.py'
modalities = ['rgb', 'reshading', 'edge_occlusion']
model = dict(modalities=modalities)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(inputs=modalities))
