# Exchange without the penalty: what gets below the threshold by itself.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(sparsity=None)
