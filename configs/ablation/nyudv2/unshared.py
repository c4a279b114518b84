# Nothing is shared or exchanged: convolutions and norms per modality. The ensemble is trained as in CEN.
_base_ = 'cen.py'
model = dict(per_modality_convs=True, backbone=dict(exchange=None), sparsity=None)
