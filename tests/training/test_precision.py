"""The network's number format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from skiagraph.errors import InputError
from skiagraph.training.precision import NetworkPrecision, has_fast_bfloat16, resolve_precision

CPU = torch.device("cpu")


def test_precisions_by_name() -> None:
    assert resolve_precision("float32", CPU) == torch.float32
    assert resolve_precision("bfloat16", CPU) == torch.bfloat16
    assert resolve_precision("auto", CPU) == (torch.bfloat16 if has_fast_bfloat16(CPU) else torch.float32)
    assert not has_fast_bfloat16(torch.device("meta"))
    with pytest.raises(InputError, match="precision: found 'half'"):
        resolve_precision("half", CPU)


@dataclass(frozen=True)
class Answer:
    mean: Tensor
    name: str = "answer"


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


@pytest.mark.parametrize(
    "wrap", [Answer, lambda y: (y, [y]), lambda y: {"a": y}, lambda y: Pair(y, y), lambda y: y, lambda y: "text"]
)
def test_what_a_network_returns_is_float32(wrap: Any) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Any:
            return wrap(self.linear(x))

    network = NetworkPrecision(Network(), torch.bfloat16)
    found: list[Tensor] = []

    def collect(value: Any) -> None:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, Answer):
            collect(value.mean)
        elif isinstance(value, dict):
            collect(list(value.values()))
        elif isinstance(value, list | tuple):
            for item in value:
                collect(item)

    output = network(torch.ones(1, 2))
    collect(output)
    assert type(output) is type(wrap(torch.ones(1)))
    assert all(tensor.dtype == torch.float32 for tensor in found)
    assert found or output == "text"
