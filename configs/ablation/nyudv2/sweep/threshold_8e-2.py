# Four times the threshold.
_base_ = 'penalty_2e-4.py'
model = dict(backbone=dict(threshold=8e-2))
