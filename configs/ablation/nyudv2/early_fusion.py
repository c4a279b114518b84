# Early fusion: one network whose first convolution takes the channels of both modalities.
_base_ = 'cen.py'
model = dict(type='cen_mm.FusionSegmentor', backbone=dict(exchange=None), sparsity=None)
