# A small network for the embedded rooms: trains in minutes on a CPU.
_base_ = [
    '_base_/models/cen_unet.py',
    '_base_/datasets/rooms_shade-texture2rgb.py',
    '_base_/schedules/adam_300e.py',
    '_base_/translation_runtime.py',
]
model = dict(
    generator=dict(base_channels=16, num_levels=6),  # 64x64 images
    discriminator=dict(base_channels=16),
    sparsity=dict(loss_weight=5e-3),
)
# In 1500 iterations, the scales reach the threshold and alpha converges only with higher learning rates.
custom_keys = {**{f'encoder.{i}.norm': dict(lr_mult=3) for i in range(6)}, 'ensemble.alpha': dict(lr_mult=20)}
optim_wrapper = dict(generators=dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys=custom_keys)))
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=0, end=30, by_epoch=True, convert_to_iter_based=True)
]
auto_scale_lr = dict(base_batch_size=4)
train_cfg = dict(max_epochs=30, val_interval=30)  # an evaluation takes as long as five epochs
