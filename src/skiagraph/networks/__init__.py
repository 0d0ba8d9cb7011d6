"""Networks a prior can be made of; this package knows torch only."""

from __future__ import annotations

from skiagraph.networks.unet import UNet, UNetConfig, parameter_count

__all__ = ["UNet", "UNetConfig", "parameter_count"]
