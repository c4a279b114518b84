# One modality is dropped in half of the iterations, so that each branch also works alone.
_base_ = 'sweep/penalty_2e-4.py'
model = dict(modality_dropout=0.5)
