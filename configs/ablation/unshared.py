# Nothing shared: convolutions and norms are private, nothing is exchanged; the ensemble is learnt as CEN's.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(private_convs=True, backbone=dict(exchange=None), sparsity=None)
