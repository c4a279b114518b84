# Exchange with the penalty on all channels: the same channel may be replaced in both modalities.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(sparsity=dict(channels='all'))
