"""Which number format the network computes in; everything around it stays in float32."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skiagraph.errors import InputError

__all__ = ["NetworkPrecision", "has_fast_bfloat16", "resolve_precision"]


def has_fast_bfloat16(device: torch.device) -> bool:
    """Say whether the device multiplies bfloat16 in hardware (CUDA; CPU with avx512_bf16 or amx_bf16 on Linux)."""
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    description = Path("/proc/cpuinfo")
    if device.type != "cpu" or not description.exists():
        return False
    flags = next((line for line in description.read_text().splitlines() if line.startswith("flags")), "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Turn "auto", "float32" or "bfloat16" into a dtype for the device."""
    choices = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    choices["auto"] = torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    if precision not in choices:
        raise InputError(f"precision: found {precision!r}, allowed: {', '.join(sorted(choices))}.")
    return choices[precision]


class NetworkPrecision(nn.Module):
    """A network that computes under autocast and returns float32; losses and operators around it never see bfloat16.

    Args:
        network: the network, bare or wrapped for several processes.
        dtype: torch.float32 (the network is called as it is) or torch.bfloat16.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, *arguments: Any, **conditions: Any) -> Any:
        """Call the network under autocast; bfloat16 tensors in what it returns are cast to float32."""
        if self.dtype == torch.float32:
            return self.network(*arguments, **conditions)
        with torch.autocast(next(self.network.parameters()).device.type, dtype=self.dtype):
            output = self.network(*arguments, **conditions)
        return _as_float32(output)


def _as_float32(value: Any) -> Any:
    """Cast the bfloat16 tensors of a value, also inside sequences, mappings and dataclasses."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if isinstance(value, dict):
        return {key: _as_float32(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_as_float32(item) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_as_float32(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return dataclasses.replace(value, **{name: _as_float32(item) for name, item in fields.items()})
    return value
