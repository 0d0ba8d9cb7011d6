"""skiagraph: diffusion priors for medical imaging, steered by whatever can be measured."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
