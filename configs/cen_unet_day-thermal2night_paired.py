_base_ = [
    '_base_/models/cen_unet.py',
    '_base_/datasets/paired.py',
    '_base_/schedules/adam_300e.py',
    '_base_/translation_runtime.py',
]
inputs = dict(day='day/{}.png', thermal=dict(path='thermal/{}.png', dtype='uint16', range=(28000, 32000)))
data = dict(data_root='data/street/', inputs=inputs, target=dict(night='night/{}.png'))
model = dict(modalities=list(inputs))
train_dataloader = val_dataloader = test_dataloader = dict(dataset=data)
