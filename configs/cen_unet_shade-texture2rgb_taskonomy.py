_base_ = [
    '_base_/models/cen_unet.py',
    '_base_/datasets/taskonomy_shade-texture2rgb.py',
    '_base_/schedules/adam_300e.py',
    '_base_/translation_runtime.py',
]
