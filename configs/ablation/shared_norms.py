# All shared: one network, norms too, for both modalities; the ensemble is learnt as CEN's.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(private_norms=False, backbone=dict(exchange=None), sparsity=None)
