"""3x3 convolutions with a quarter of the multiplications, for float32 on the CPU.

Winograd's F(4x4, 3x3) as in Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016): tiles of
4x4 outputs need 36 products per pair of channels instead of 144. The image is processed in strips of tiles that fit
into the cache. On the CPU, torch's direct convolutions already run at the speed of a large matrix product.
"""

from typing import Any, Iterator, Optional, Sequence

import torch
import torch.nn.functional as F
from mmengine.utils import digit_version
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..registry import MODELS

# Older versions lack torch.compiler.is_compiling() or torch.is_autocast_enabled('cpu').
TORCH_SUPPORTED = digit_version(torch.__version__) >= digit_version('2.4')

TILES = 400  # per strip: enough for a fast matrix product, and few enough for the cache
MIN_CHANNELS, MIN_PIXELS = 128, 800  # below these, the direct convolution is as fast (measured with AVX-512)
G = torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64) / 24
KERNEL = torch.kron(G, G)  # (36, 9): transforms a flattened 3x3 kernel


def _transform_input(d: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """Computes B^T d: six rows (or columns) of an input tile to six rows of its transform."""
    even, odd = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    even, odd = torch.sub(d[4], d[2], out=even), torch.sub(d[3], d[1], out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    torch.add(even, d[0] - d[2], alpha=4, out=out[0])
    torch.sub(d[5] - d[3], odd, alpha=4, out=out[5])


def _transform_output(m: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """Computes A^T m: six rows (or columns) of the products to four rows of an output tile."""
    sum1, diff1, sum2, diff2 = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    torch.add(diff1, diff2, alpha=2, out=out[1])
    torch.add(sum1, sum2, alpha=4, out=out[2])
    torch.add(m[0], sum1.add_(sum2), out=out[0])
    torch.add(m[5], diff1.add_(diff2, alpha=8), out=out[3])


def _transform_gradient(y: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """Computes A y, the adjoint: four rows (or columns) of an output tile's gradient to six rows of the products'."""
    even, odd = y[0] + y[2], y[1] + y[3]
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    even, odd = torch.add(y[0], y[2], alpha=4, out=even), torch.add(y[1], y[3], alpha=4, out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    out[0].copy_(y[0])
    out[5].copy_(y[3])


class _Strips:
    """Iterates over the strips of feature maps ``(N, C, H, W)`` and transforms the input tiles of each."""

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
        """Yields image index, first row and transformed tiles ``(36, P, C)``; the next strip overwrites the tiles."""
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
        """Views the strip of maps ``(N, O, *whole)`` in channels-last format as tiles ``(4, 4, rows, columns, O)``."""
        strip = y.permute(0, 2, 3, 1)[image, row : row + 4 * self.rows]
        return strip.view(-1, 4, self.columns, 4, y.shape[1]).permute(1, 3, 0, 2, 4)


def winograd(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """Convolves ``(N, C, H, W)`` with 3x3 kernels ``(O, C, 3, 3)``, stride 1 and padding 1, to ``(N, O, H, W)``."""
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
    """Gradient of the weights, ``(O, C, 3, 3)``, from input ``(N, C, H, W)`` and output gradient ``(N, O, H, W)``."""
    strips = _Strips(x)
    outs = grad.shape[1]
    if grad.shape[2:] != strips.whole:
        below, right = (whole - size for whole, size in zip(strips.whole, grad.shape[2:]))
        grad = F.pad(grad, (0, right, 0, below))
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
        if ctx.needs_input_grad[0]:  # a convolution with kernels rotated by 180 degrees
            for_x = winograd(grad, weight.flip(2, 3).transpose(0, 1))
        if ctx.needs_input_grad[1]:
            for_weight = winograd_weight_gradient(x, grad)
        if ctx.needs_input_grad[2]:
            for_bias = grad.sum((0, 2, 3))
        return for_x, for_weight, for_bias


@MODELS.register_module()
class WinogradConv2d(nn.Conv2d):
    """A convolution that uses Winograd's algorithm where it is faster: 3x3 kernels, float32, on the CPU.

    The error is about three times that of the direct convolution, at most 1e-5 of the largest output. With other
    kernels, strides or paddings, in float64, under autocast, on a GPU, when compiled, traced or exported, with small
    feature maps, and with torch < 2.4, it is the direct convolution.

    It takes the arguments of ``nn.Conv2d``, so layers built by mmcv use it with
    ``conv_cfg=dict(type='cen_mm.WinogradConv2d')``.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        shape = (self.kernel_size, self.stride, self.padding, self.dilation, self.groups, self.padding_mode)
        is_3x3 = shape == ((3, 3), (1, 1), (1, 1), (1, 1), 1, 'zeros')
        self.is_suitable = TORCH_SUPPORTED and is_3x3 and min(self.weight.shape[:2]) >= MIN_CHANNELS

    def forward(self, x: Tensor) -> Tensor:
        if self.is_suitable and _is_plain_float32(x) and x.shape[2] * x.shape[3] >= MIN_PIXELS:
            return _Winograd.apply(x, self.weight, self.bias)
        return super().forward(x)


def _is_plain_float32(x: Tensor) -> bool:
    """Whether the operation runs now, on the CPU, in float32."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # true during export, too
        return False
    return x.device.type == 'cpu' and x.dtype == torch.float32 and not torch.is_autocast_enabled('cpu')
