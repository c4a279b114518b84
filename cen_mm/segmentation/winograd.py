"""3x3 convolutions with a quarter of the multiplications, for float32 on the CPU, where direct ones are at the limit.

Winograd's F(4x4, 3x3) as in Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016): tiles of
4x4 outputs need 36 products a channel pair instead of 144. The image is worked off in strips that fit the cache.
"""

from typing import Iterator, Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

TILES = 400  # of a strip: many enough for the matrix product, few enough for the cache
MIN_CHANNELS, MIN_PIXELS = 128, 800  # below, the direct convolution is as fast (measured on AVX-512)
G = torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64) / 24
KERNEL = torch.kron(G, G)  # (36, 9): from a kernel of 3x3 to its transform


def _transform_input(d: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """B^T d: six rows (or columns) of an input tile to six of its transform."""
    even, odd = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    even, odd = torch.sub(d[4], d[2], out=even), torch.sub(d[3], d[1], out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    torch.add(even, d[0] - d[2], alpha=4, out=out[0])
    torch.sub(d[5] - d[3], odd, alpha=4, out=out[5])


def _transform_output(m: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """A^T m: six rows (or columns) of the products to four of an output tile."""
    sum1, diff1, sum2, diff2 = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    torch.add(diff1, diff2, alpha=2, out=out[1])
    torch.add(sum1, sum2, alpha=4, out=out[2])
    torch.add(m[0], sum1.add_(sum2), out=out[0])
    torch.add(m[5], diff1.add_(diff2, alpha=8), out=out[3])


def _transform_gradient(y: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """A y, the adjoint: four rows (or columns) of an output tile's gradient to six of the products'."""
    even, odd = y[0] + y[2], y[1] + y[3]
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    even, odd = torch.add(y[0], y[2], alpha=4, out=even), torch.add(y[1], y[3], alpha=4, out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    out[0].copy_(y[0])
    out[5].copy_(y[3])


class _Strips:
    """The strips of maps ``(N, C, H, W)``, and of each the transform of its input tiles."""

    def __init__(self, x: Tensor):
        self.x = x.permute(0, 2, 3, 1)
        images, channels, self.height, self.width = x.shape
        tile_rows, self.columns = -(-self.height // 4), -(-self.width // 4)
        self.rows = -(-tile_rows // max(1, round(tile_rows * self.columns / TILES)))
        self.starts = [(i, row) for i in range(images) for row in range(0, tile_rows, self.rows)]
        self.whole = (4 * tile_rows, 4 * self.columns)  # height and width in whole tiles
        self.padded = x.new_zeros(4 * self.rows + 2, 4 * self.columns + 2, channels)
        self.half = x.new_empty(6, self.rows, 4 * self.columns + 2, channels)
        self.tiles = x.new_empty(6, 6, self.rows, self.columns, channels)

    def __iter__(self) -> Iterator[tuple[int, int, Tensor]]:
        """Image, first row and transformed tiles ``(36, P, C)`` of each; the next strip's overwrite them."""
        for image, tile_row in self.starts:
            first, last = max(0, 4 * tile_row - 1), min(self.height, 4 * (tile_row + self.rows) + 1)
            top = first - (4 * tile_row - 1)
            self.padded[:top].zero_()
            self.padded[top : top + last - first, 1 : self.width + 1] = self.x[image, first:last]
            self.padded[top + last - first :].zero_()
            _transform_input([self.padded[i : i + 4 * self.rows - 3 : 4] for i in range(6)], self.half)
            columns = [self.half[:, :, i : i + 4 * self.columns - 3 : 4] for i in range(6)]
            _transform_input(columns, self.tiles.unbind(1))
            yield image, 4 * tile_row, self.tiles.flatten(2, 3).flatten(0, 1)

    def outputs(self, y: Tensor, image: int, row: int) -> Tensor:
        """What lies there in maps ``(N, O, *whole)``, channels last, as tiles ``(4, 4, rows, columns, O)``."""
        strip = y.permute(0, 2, 3, 1)[image, row : row + 4 * self.rows]
        return strip.view(-1, 4, self.columns, 4, y.shape[1]).permute(1, 3, 0, 2, 4)


def winograd(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """3x3 convolution, stride and padding 1, of ``(N, C, H, W)`` with ``(O, C, 3, 3)`` to ``(N, O, H, W)``."""
    strips = _Strips(x)
    outs, channels = weight.shape[:2]
    kernel = KERNEL.to(x) @ weight.permute(2, 3, 1, 0).reshape(9, -1)
    kernel = kernel.view(36, channels, outs)
    products = x.new_empty(36, strips.rows * strips.columns, outs)
    half = x.new_empty(4, 6, strips.rows, strips.columns, outs)
    y = torch.empty(len(x), outs, *strips.whole, dtype=x.dtype, memory_format=torch.channels_last)
    for image, row, tiles in strips:
        torch.bmm(tiles, kernel, out=products)
        _transform_output(products.view(6, *half.shape[1:]), half)
        out = strips.outputs(y, image, row)
        _transform_output(half[:, :, : out.shape[2]].unbind(1), out.unbind(1))
        if bias is not None:
            out += bias
    if y.shape[2:] == x.shape[2:]:
        return y
    return y[:, :, : strips.height, : strips.width].clone(memory_format=torch.channels_last)


def winograd_weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """The gradient ``(O, C, 3, 3)`` for the weights, from the input ``(N, C, H, W)`` and the output's gradient."""
    strips = _Strips(x)
    outs = grad.shape[1]
    if grad.shape[2:] != strips.whole:
        below, beside = (whole - size for whole, size in zip(strips.whole, grad.shape[2:]))
        grad = F.pad(grad, (0, beside, 0, below))
    grad = grad.contiguous(memory_format=torch.channels_last)
    half = grad.new_zeros(6, 4, strips.rows, strips.columns, outs)
    products = grad.new_empty(6, 6, strips.rows, strips.columns, outs)
    kernel = grad.new_zeros(36, x.shape[1], outs)
    for image, row, tiles in strips:
        out = strips.outputs(grad, image, row)
        half[:, :, out.shape[2] :].zero_()
        _transform_gradient(out, half[:, :, : out.shape[2]])
        _transform_gradient(half.unbind(1), products.unbind(1))
        kernel.baddbmm_(tiles.transpose(1, 2), products.flatten(2, 3).flatten(0, 1))
    return (KERNEL.to(x).T @ kernel.flatten(1)).view(3, 3, -1, outs).permute(3, 2, 0, 1)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
        ctx.save_for_backward(x, weight)
        return winograd(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Optional[Tensor], ...]:
        x, weight = ctx.saved_tensors
        for_x = for_weight = for_bias = None
        if ctx.needs_input_grad[0]:  # the convolution with kernels that are turned by 180 degrees
            for_x = winograd(grad, weight.flip(2, 3).transpose(0, 1))
        if ctx.needs_input_grad[1]:
            for_weight = winograd_weight_gradient(x, grad)
        if ctx.needs_input_grad[2]:
            for_bias = grad.sum((0, 2, 3))
        return for_x, for_weight, for_bias


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution, stride and padding 1, that goes Winograd's way where it is faster: float32 on the CPU.

    Its error there is about three times the direct convolution's, 1e-5 of the largest output at most. In float64,
    under autocast, on a GPU, compiled, exported, or with small maps it is the direct convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = False):
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        large = min(self.weight.shape[:2]) >= MIN_CHANNELS and x.shape[2] * x.shape[3] >= MIN_PIXELS
        plain = x.device.type == 'cpu' and x.dtype == torch.float32 and not torch.is_autocast_enabled('cpu')
        recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()  # for export, too
        if large and plain and not recorded:
            return _Winograd.apply(x, self.weight, self.bias)
        return super().forward(x)
