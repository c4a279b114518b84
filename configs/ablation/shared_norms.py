# Everything is shared, norms included. The ensemble is trained as in CEN.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(per_modality_norms=False, backbone=dict(exchange=None), sparsity=None)
