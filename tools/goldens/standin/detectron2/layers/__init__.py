from . import batch_norm  # noqa: F401
from .batch_norm import FrozenBatchNorm2d  # noqa: F401
