# Norms per modality and shared convolutions, without penalty and exchange.
_base_ = 'cen.py'
model = dict(backbone=dict(exchange=None), sparsity=None)
