# Private norms alone: convolutions shared, no penalty, no exchange.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(backbone=dict(exchange=None), sparsity=None)
