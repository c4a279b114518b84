# Convolutions and norms per modality, and exchange: what sharing costs.
_base_ = 'sweep/penalty_2e-4.py'
model = dict(per_modality_convs=True)
