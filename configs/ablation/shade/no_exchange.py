# All three modalities with norms per modality, without penalty and exchange.
_base_ = '../../cen_unet_rgb-depth-edge2shade_rooms.py'
model = dict(generator=dict(threshold=0), sparsity=None)
