# A small network for the embedded rooms: minutes on a CPU.
_base_ = [
    '_base_/models/cen_unet.py',
    '_base_/datasets/rooms_shade-texture2rgb.py',
    '_base_/schedules/adam_300e.py',
    '_base_/translation_runtime.py',
]
model = dict(
    generator=dict(base_channels=16, num_levels=7),  # 128x128 images
    discriminator=dict(base_channels=16),
)
train_cfg = dict(max_epochs=10)
