# The ensemble of the branches' features without penalty and exchange.
_base_ = 'no_exchange.py'
model = dict(feature_ensemble=True)
