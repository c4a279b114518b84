# Exchange after every norm of every block but the first.
_base_ = 'penalty_2e-4.py'
model = dict(backbone=dict(exchange=r'blocks\.[1-6]\.\d\.bn\d$'))
