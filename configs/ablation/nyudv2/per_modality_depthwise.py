# CEN whose first and depthwise convolutions are not shared: 4 % more parameters and no more operations.
_base_ = 'sweep/penalty_2e-4.py'
model = dict(per_modality_convs='conv_stem|conv_dw')
