# The ensemble of the branches' features, trained with a quarter of the losses of the branches. Nothing is exchanged,
# so a branch needs no other modality.
_base_ = 'feature_ensemble_no_exchange.py'
model = dict(branch_loss_weight=0.25)
