# Exchange with the penalty on all channels: both modalities may give up the same one.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(sparsity=dict(channels='all'))
