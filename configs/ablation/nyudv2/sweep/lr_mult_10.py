# The exchanging norms learn at 10 times the rate of the network instead of 30.
_base_ = 'penalty_2e-4.py'
optim_wrapper = dict(paramwise_cfg=dict(exchanging_norms=dict(lr_mult=10)))
