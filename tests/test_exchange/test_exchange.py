import pytest
import torch

from cen_mm.exchange import channel_exchange, stack_modalities


def test_stacking_is_modality_major():
    x = torch.arange(2 * 6).view(2, 6, 1, 1)
    assert stack_modalities(x, 2).flatten(1).tolist() == [[0, 1, 2], [6, 7, 8], [3, 4, 5], [9, 10, 11]]
    with pytest.raises(ValueError, match='6 channels'):
        stack_modalities(x, 4)


@pytest.mark.parametrize('num_modalities', [1, 2, 3, 4])
def test_threshold_zero_is_the_identity(num_modalities):
    x = torch.randn(num_modalities * 2, 5, 3, 4)
    assert torch.equal(channel_exchange(x, torch.zeros(num_modalities, 5), 0.0), x)


def test_two_modalities_swap_all_channels_below_the_threshold():
    x = torch.randn(2 * 3, 5, 4, 4)
    assert torch.equal(channel_exchange(x, torch.zeros(2, 5), 0.1), torch.cat([x[3:], x[:3]]))


@pytest.mark.parametrize('channels_last', [False, True])
def test_replaced_channels_match_hand_computed_values(channels_last):
    x = torch.arange(2 * 3.0).view(2, 3, 1, 1).expand(2, 3, 2, 2)  # rgb 0 1 2, depth 3 4 5
    scale = torch.tensor([[0.01, 1.0, -0.01], [1.0, -0.02, 0.5]])  # -0.02 is not below 0.02
    want = [[3, 1, 5], [3, 4, 5]]
    if channels_last:
        out = channel_exchange(x.permute(0, 2, 3, 1), scale, 0.02, channel_dim=-1)[:, 0, 0]
    else:
        out = channel_exchange(x.contiguous(memory_format=torch.channels_last), scale, 0.02)[:, :, 0, 0]
    assert out.tolist() == want


def test_replaced_channel_is_the_mean_of_the_other_modalities():
    x = torch.tensor([[1.0, 1], [2, 2], [6, 6]])[..., None, None]  # (3 * 1, 2, 1, 1)
    scale = torch.tensor([[0.0, 1], [1, 0], [1, 1]])
    out = channel_exchange(x, scale, 0.5)[..., 0, 0]
    assert out.tolist() == [[4, 1], [2, 3.5], [6, 6]]


def test_gradient_of_a_replaced_channel_reaches_only_the_other_modality():
    x = torch.randn(2, 1, 2, 2, requires_grad=True)
    out = channel_exchange(x, torch.tensor([[0.0], [1.0]]), 0.5)  # the channel of rgb is replaced by that of depth
    out[0].sum().backward()
    assert torch.equal(x.grad, torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)]))
