# CEN whose ensemble is decoded from the mean of the branches' features. It has no more parameters than CEN.
_base_ = 'sweep/penalty_2e-4.py'
model = dict(feature_ensemble=True)
