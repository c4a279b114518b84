# Concatenation of the features of one backbone with shared convolutions and norms per modality, without exchange.
_base_ = 'concat.py'
model = dict(per_modality_convs=False)
