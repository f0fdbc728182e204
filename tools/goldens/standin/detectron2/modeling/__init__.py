from torch import nn

from . import backbone  # noqa: F401
from .backbone import build_resnet_fpn_backbone


class GeneralizedRCNN(nn.Module):
    """Of the detector only its backbone."""

    def __init__(self, cfg):
        super().__init__()
        assert cfg.MODEL.BACKBONE.NAME == "build_resnet_fpn_backbone", cfg.MODEL.BACKBONE.NAME
        self.backbone = build_resnet_fpn_backbone(cfg, channels=len(cfg.MODEL.PIXEL_MEAN))


META_ARCH_REGISTRY = {"GeneralizedRCNN": GeneralizedRCNN}
