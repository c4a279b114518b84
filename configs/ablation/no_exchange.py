# Norms per modality and shared convolutions, without penalty and exchange.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(backbone=dict(exchange=None), sparsity=None)
