# Exchange after the last norm of every block instead of that of its depthwise convolution.
_base_ = 'penalty_2e-4.py'
model = dict(backbone=dict(exchange=r'blocks\.[1-6]\.\d\.bn3$'))
