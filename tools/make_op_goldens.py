#!/usr/bin/env python3
"""Makes tests/data/ops/*.safetensors: what PyTorch gives for convolutions, norms, pools and the like over a grid of
shapes. Images and sequences are stored channels-last, a row a pixel; each case is a JSON object in the file's metadata.

    python tools/make_op_goldens.py
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers.activations import ACT2FN
from transformers.models.layoutlmv2.modeling_layoutlmv2 import relative_position_bucket

DATA = Path(__file__).resolve().parent.parent / "tests" / "data" / "ops"

# height, width, in, out, kernel, stride, padding, dilation, groups
CONV2D = [
    (5, 7, 3, 4, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (9, 8, 3, 16, (7, 7), (2, 2), (3, 3), (1, 1), 1),
    (6, 5, 8, 20, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (6, 5, 8, 20, (1, 1), (2, 2), (0, 0), (1, 1), 1),
    (7, 7, 16, 16, (3, 3), (1, 1), (1, 1), (1, 1), 4),
    (7, 6, 12, 12, (3, 3), (2, 2), (1, 1), (1, 1), 12),
    (8, 7, 64, 64, (3, 3), (1, 1), (1, 1), (1, 1), 8),
    (5, 4, 6, 9, (2, 3), (3, 4), (0, 1), (1, 1), 3),
    (4, 4, 2, 3, (7, 6), (1, 1), (2, 3), (1, 1), 1),
    (9, 9, 4, 5, (3, 2), (2, 1), (2, 3), (2, 3), 1),
    (6, 1, 3, 17, (3, 1), (1, 1), (1, 0), (1, 1), 1),
    (1, 6, 3, 17, (1, 3), (1, 1), (0, 1), (1, 1), 1),
    (1, 1, 5, 5, (1, 1), (1, 1), (0, 0), (1, 1), 5),
    (3, 3, 1, 70, (2, 2), (1, 1), (0, 0), (1, 1), 1),
    (12, 11, 20, 48, (3, 3), (1, 1), (1, 1), (1, 1), 1),
]
# length, in, out, kernel, stride, padding, dilation, groups
CONV1D = [
    (43, 1, 32, 10, 5, 0, 1, 1),
    (40, 32, 32, 3, 2, 0, 1, 1),
    (33, 20, 64, 2, 2, 0, 1, 1),
    (31, 32, 32, 16, 1, 8, 1, 4),
    (31, 32, 32, 15, 1, 7, 1, 2),
    (5, 16, 16, 128, 1, 64, 1, 2),
    (21, 12, 24, 3, 2, 1, 1, 1),
    (30, 10, 14, 3, 1, 0, 3, 1),
    (30, 8, 8, 3, 1, 2, 2, 8),
    (11, 6, 10, 2, 5, 0, 1, 1),
    (7, 4, 4, 1, 3, 0, 1, 2),
    (3, 4, 4, 3, 1, 0, 1, 1),
    (300, 6, 7, 4, 1, 1, 1, 1),
]
GROUP_NORM = [(1, 8, 1), (7, 8, 8), (50, 40, 40), (33, 12, 3), (100, 64, 32), (20, 70, 7), (9, 5, 5)]  # rows, C, groups
# height, width, channels, kernel, stride, padding
POOL = [
    (8, 8, 5, (3, 3), (2, 2), (1, 1)),
    (7, 9, 17, (2, 3), (1, 2), (0, 1)),
    (4, 1, 3, (2, 1), (3, 1), (1, 0)),
    (2, 2, 4, (3, 3), (1, 1), (1, 1)),
]
ADAPTIVE = [(14, 14, 6, 7, 7), (8, 8, 6, 7, 7), (5, 3, 4, 2, 2), (2, 3, 4, 4, 5)]  # height, width, channels, out
BUCKETS = [(32, 128), (64, 256), (32, 20), (8, 16)]  # buckets, largest distance


def rows(x):
    """(B, C, …) as rows (B · …, C)."""
    return x.movedim(1, -1).reshape(-1, x.shape[1]).contiguous()


class Writer:
    def __init__(self):
        self.tensors, self.cases = {}, []
        self.random = torch.Generator().manual_seed(5)

    def randn(self, *shape):
        return torch.randn(shape, generator=self.random)

    def add(self, case, **tensors):
        for name, tensor in tensors.items():
            self.tensors[f"{len(self.cases)}.{name}"] = tensor.contiguous()
        self.cases.append(case)


def convolutions(w):
    activations = [None, "relu", "gelu", "tanh", "leaky_relu"]
    grid = [(2, (h, wd), *rest) for h, wd, *rest in CONV2D] + [(1, (n,), *rest) for n, *rest in CONV1D]
    for number, (dims, size, channels, out, kernel, stride, padding, dilation, groups) in enumerate(grid):
        tuples = [v if isinstance(v, tuple) else (v,) for v in (kernel, stride, padding, dilation)]
        x, weight = w.randn(2, channels, *size), w.randn(out, channels // groups, *tuples[0]) / 3
        bias = w.randn(out) if number % 3 else None
        y = [F.conv1d, F.conv2d][dims - 1](x, weight, bias, *tuples[1:], groups)
        residual = w.randn(*y.shape) if number % 2 else None
        first = number % 4 == 1
        activation = activations[number % 5]
        if first:
            y = y + residual
        y = ACT2FN[activation](y) if activation else y
        if residual is not None and not first:
            y = y + residual
        optional = {} if bias is None else {"bias": bias}
        if residual is not None:
            optional["residual"] = rows(residual)
        case = {"op": f"conv{dims}d", "size": [2, *size], "stride": tuples[1], "padding": tuples[2],
                "dilation": tuples[3], "groups": groups, "activation": activation or "linear", "residual_first": first}
        w.add(case, x=rows(x), weight=weight, out=rows(y), **optional)


def norms_and_pools(w):
    for number, (length, channels, groups) in enumerate(GROUP_NORM):
        x, weight, bias = 3 * w.randn(2, channels, length) + 5, w.randn(channels), w.randn(channels)
        y = F.group_norm(x, groups, weight, bias, 1e-5)
        activation = ["linear", "gelu"][number % 2]
        w.add({"op": "group_norm", "size": [2, length], "groups": groups, "activation": activation}, x=rows(x),
              weight=weight, bias=bias, out=rows(ACT2FN[activation](y)))
    for height, width, channels, kernel, stride, padding in POOL:
        x = w.randn(2, channels, height, width)
        case = {"size": [2, height, width], "kernel": kernel, "stride": stride, "padding": padding}
        w.add({"op": "max_pool_2d", **case}, x=rows(x), out=rows(F.max_pool2d(x, kernel, stride, padding)))
        w.add({"op": "average_pool_2d", **case}, x=rows(x), out=rows(F.avg_pool2d(x, kernel, stride, padding)))
    for height, width, channels, *out in ADAPTIVE:
        x = w.randn(2, channels, height, width)
        w.add({"op": "adaptive_average_pool_2d", "size": [2, height, width], "out": out}, x=rows(x),
              out=rows(F.adaptive_avg_pool2d(x, out)))
    x, onto = w.randn(2, 5, 3, 4), w.randn(2, 5, 6, 8)
    w.add({"op": "add_upsampled", "size": [2, 3, 4]}, x=rows(x), onto=rows(onto),
          out=rows(onto + F.interpolate(x, scale_factor=2.0, mode="nearest")))
    x = w.randn(2, 34, 9)
    w.add({"op": "glu"}, x=rows(x), out=rows(F.glu(x, 1)))
    for buckets, largest in BUCKETS:
        distances = torch.arange(-1100, 1101)
        out = relative_position_bucket(distances, num_buckets=buckets, max_distance=largest)
        w.add({"op": "relative_position_bucket", "buckets": buckets, "max_distance": largest, "first": -1100},
              out=out.to(torch.uint8))


def sums(w):
    for length in (1, 7, 16, 33, 1000):
        x = 100 * w.randn(3, length)
        w.add({"op": "cumulative_sum"}, x=x, out=torch.cumsum(x, -1))
        counts = torch.randint(-(2**62), 2**62, (3, length), generator=w.random)
        w.add({"op": "cumulative_sum"}, x=counts, out=torch.cumsum(counts, -1))


def main():
    torch.set_num_threads(1)
    DATA.mkdir(parents=True, exist_ok=True)
    w = Writer()
    convolutions(w)
    norms_and_pools(w)
    sums(w)
    save_file(w.tensors, DATA / "convolution.safetensors", {"cases": json.dumps(w.cases)})
    print(f"{len(w.cases)} cases")


if __name__ == "__main__":
    main()
