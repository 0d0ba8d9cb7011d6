"""One noise level for a batch, or one for each sample: the methods give each sample what it has alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.inverse.gaussian import BATCH, MATRIX, correlated, data

from skiagraph.diffusion.denoiser import EMPTY
from skiagraph.inverse.ddnm import DDNM
from skiagraph.inverse.diffpir import DiffPIR
from skiagraph.inverse.noise_levels import check_noise
from skiagraph.inverse.pigdm import PiGDM
from skiagraph.physics.selection import DenseOperator

LEVELS = torch.tensor([0.05, 0.1, 0.2, 0.4], dtype=torch.float64)
T, S = torch.tensor(8.0, dtype=torch.float64), torch.tensor(7.0, dtype=torch.float64)


def estimate(name: str, rows: slice, noise: Any) -> Any:
    operator, y, x, prior = DenseOperator(MATRIX), data(size=2)[rows], data(3)[rows], correlated()
    if name == "ddnm":
        return DDNM(prior, operator, y, noise)(x, T).x0
    if name == "pigdm":
        return PiGDM(prior, operator, y, noise)(x, T).x0
    return DiffPIR(operator, y, noise, zeta=0.0)(prior, x, T, S, EMPTY, None, None)[0]


@pytest.mark.parametrize("name", ["ddnm", "pigdm", "diffpir"])
def test_every_sample_has_its_own_level(name: str) -> None:
    whole = estimate(name, slice(None), LEVELS)
    for item in range(BATCH):
        alone = estimate(name, slice(item, item + 1), float(LEVELS[item]))
        assert torch.allclose(whole[item : item + 1], alone, atol=1e-10)


def test_levels_are_checked() -> None:
    y = data(size=2)
    assert check_noise(y, 0.1)
    assert check_noise(y, LEVELS)
    assert not check_noise(y, 0.0)
    for wrong, message in (
        (torch.ones(3), "noise_std: found shape"),
        (torch.tensor([0.0, 0.1, 0.1, 0.1]), "all 0 or all > 0"),
        (-1.0, "noise_std: found -1.0"),
        (float("nan"), "noise_std: found nan"),
    ):
        with pytest.raises(ValueError, match=message.replace(".", r"\.")):
            check_noise(y, wrong)
    with pytest.raises(ValueError, match="measurement: found 1 values"):
        check_noise(torch.tensor([[1.0, float("inf")]]), 0.1)
