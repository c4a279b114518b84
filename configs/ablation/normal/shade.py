# The network of one modality: there is nothing to exchange.
_base_ = 'rgb-shade.py'
model = dict(modalities=['reshading'], sparsity=None)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(inputs=['reshading']))
