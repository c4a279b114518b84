# CEN in which each modality also has its own first convolutions of the RefineNet: 9 % more parameters.
_base_ = 'per_modality_depthwise.py'
model = dict(per_modality_convs='conv_stem|conv_dw|reduce_conv')
