from collections import namedtuple

from torch import nn
from torch.nn import functional as F

from ..layers import FrozenBatchNorm2d

ShapeSpec = namedtuple("ShapeSpec", ["channels", "stride"])
BLOCKS = {50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}  # of res2 .. res5
FEATURES = ["res2", "res3", "res4", "res5"]


class ConvNorm(nn.Conv2d):
    """A convolution that holds its norm."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1):
        super().__init__(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
        self.norm = FrozenBatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(super().forward(x))


class Stem(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs, 7, stride=2)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.conv1(x)), kernel_size=3, stride=2, padding=1)


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, outputs, stride, groups, stride_in_1x1):
        super().__init__()
        self.shortcut = ConvNorm(inputs, outputs, 1, stride) if inputs != outputs else None
        stride_1x1, stride_3x3 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = ConvNorm(inputs, width, 1, stride_1x1)
        self.conv2 = ConvNorm(width, width, 3, stride_3x3, groups)
        self.conv3 = ConvNorm(width, outputs, 1)

    def forward(self, x):
        out = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        return F.relu(out + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    def __init__(self, resnets, channels):
        super().__init__()
        assert resnets.NORM == "FrozenBN" and resnets.RES5_DILATION == 1 and not any(resnets.DEFORM_ON_PER_STAGE)
        assert set(FEATURES) <= set(resnets.OUT_FEATURES), resnets.OUT_FEATURES
        self.stem = Stem(channels, resnets.STEM_OUT_CHANNELS)
        inputs, self.outputs = resnets.STEM_OUT_CHANNELS, {}
        for i, (name, count) in enumerate(zip(FEATURES, BLOCKS[resnets.DEPTH])):
            width = resnets.NUM_GROUPS * resnets.WIDTH_PER_GROUP * 2**i
            outputs = resnets.RES2_OUT_CHANNELS * 2**i
            blocks = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(Bottleneck(inputs, width, outputs, stride, resnets.NUM_GROUPS, resnets.STRIDE_IN_1X1))
                inputs = outputs
            self.add_module(name, nn.Sequential(*blocks))
            self.outputs[name] = outputs

    def forward(self, x):
        x, features = self.stem(x), {}
        for name in FEATURES:
            x = features[name] = getattr(self, name)(x)
        return features


class FPN(nn.Module):
    """Feature pyramid: p2 .. p5 at the strides of res2 .. res5."""

    def __init__(self, bottom_up, outputs, fuse_type):
        super().__init__()
        self.bottom_up, self.channels, self.average = bottom_up, outputs, fuse_type == "avg"
        for stage, name in enumerate(FEATURES, start=2):
            self.add_module(f"fpn_lateral{stage}", nn.Conv2d(bottom_up.outputs[name], outputs, 1))
            self.add_module(f"fpn_output{stage}", nn.Conv2d(outputs, outputs, 3, padding=1))

    def forward(self, x):
        features, results, above = self.bottom_up(x), {}, None
        for stage in (5, 4, 3, 2):
            lateral = getattr(self, f"fpn_lateral{stage}")(features[f"res{stage}"])
            if above is not None:
                lateral = lateral + F.interpolate(above, scale_factor=2, mode="nearest")
                lateral = lateral / 2 if self.average else lateral
            above = lateral
            results[f"p{stage}"] = getattr(self, f"fpn_output{stage}")(above)
        return results

    def output_shape(self):
        return {f"p{stage}": ShapeSpec(self.channels, 2**stage) for stage in (2, 3, 4, 5)}


def build_resnet_fpn_backbone(cfg, channels):
    fpn = cfg.MODEL.FPN
    assert fpn.IN_FEATURES == FEATURES and fpn.NORM == "" and fpn.FUSE_TYPE in ("sum", "avg")
    return FPN(ResNet(cfg.MODEL.RESNETS, channels), fpn.OUT_CHANNELS, fpn.FUSE_TYPE)
