"""A stand-in for Detectron2, which is built from source only: as much of it as transformers' LayoutLMv2 touches.

Names, defaults and numbers are Detectron2's own, so that unmodified transformers runs, saves and loads the model, and a
checkpoint has the hub's names. goldens/layoutlmv2.py checks the backbone against torchvision's ResNeXt and feature
pyramid. A real Detectron2, where one is installed, takes precedence.
"""

from . import config, layers, modeling  # noqa: F401

__version__ = "0.6"
