"""The configuration: the defaults that reach a ResNet with a feature pyramid."""

from types import SimpleNamespace


def get_cfg():
    """A tree whose attributes may be set, new ones too."""
    resnets = SimpleNamespace(
        DEPTH=50, OUT_FEATURES=["res4"], NUM_GROUPS=1, WIDTH_PER_GROUP=64, NORM="FrozenBN", STRIDE_IN_1X1=True,
        RES5_DILATION=1, RES2_OUT_CHANNELS=256, STEM_OUT_CHANNELS=64, DEFORM_ON_PER_STAGE=[False] * 4,
    )  # fmt: skip
    model = SimpleNamespace(
        META_ARCHITECTURE="GeneralizedRCNN", PIXEL_MEAN=[103.530, 116.280, 123.675], PIXEL_STD=[1.0, 1.0, 1.0],
        BACKBONE=SimpleNamespace(NAME="build_resnet_backbone", FREEZE_AT=2), RESNETS=resnets,
        FPN=SimpleNamespace(IN_FEATURES=[], OUT_CHANNELS=256, NORM="", FUSE_TYPE="sum"),
        # Parts of a detector that LayoutLMv2 configures and never runs.
        ANCHOR_GENERATOR=SimpleNamespace(), RPN=SimpleNamespace(), ROI_HEADS=SimpleNamespace(),
        ROI_BOX_HEAD=SimpleNamespace(), ROI_MASK_HEAD=SimpleNamespace(),
    )  # fmt: skip
    return SimpleNamespace(MODEL=model)
