"""What the methods for any prior have in common: item by item, complex images, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.inverse.gaussian import BATCH, MASK, NOISE, SIZE, TABLE, correlated, data, walk
from torch import Tensor

from skiagraph.diffusion.denoiser import Denoiser
from skiagraph.diffusion.grid import Levels, Uniform
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.rules import DDIM, DDPM
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.ddnm import DDNM
from skiagraph.inverse.diffpir import DiffPIR
from skiagraph.inverse.dps import DPS
from skiagraph.inverse.mixing import DDNMMixing
from skiagraph.inverse.pigdm import PiGDM
from skiagraph.physics.selection import PixelMask


def methods(rows: slice) -> dict[str, tuple[Denoiser, Any]]:
    """(denoiser, rule) of every method for some samples of the batch."""
    operator, y = PixelMask(MASK), (MASK * data())[rows]
    prior = correlated()
    return {
        "ddnm": (DDNM(prior, operator, y), DDNMMixing()),
        "noisy ddnm": (DDNM(prior, operator, y, NOISE), DDNMMixing()),
        "diffpir": (prior, DiffPIR(operator, y, NOISE)),
        "dps": (prior, DPS(DDPM(), operator, y, 0.3)),
        "pigdm": (PiGDM(prior, operator, y, NOISE), DDIM(1.0)),
    }


@pytest.mark.parametrize("name", list(methods(slice(None))))
def test_a_batch_equals_its_samples_bit_for_bit(name: str) -> None:
    whole = walk(*methods(slice(None))[name])
    assert whole.isfinite().all()
    assert torch.equal(walk(*methods(slice(None))[name]), whole)
    for item in range(BATCH):
        assert torch.equal(walk(*methods(slice(item, item + 1))[name], range(item, item + 1)), whole[item : item + 1])


@pytest.mark.parametrize("name", list(methods(slice(None))))
def test_the_state_and_the_gradient_mode_stay(name: str) -> None:
    denoiser, rule = methods(slice(None))[name]
    start = data(3)
    kept = start.clone()
    for step in trajectory(denoiser, start, Levels(), rule, streams=Streams(range(BATCH))):
        assert torch.is_grad_enabled()
        assert not step.x.requires_grad
    assert torch.equal(start, kept)
    assert not start.requires_grad


@pytest.mark.parametrize("name", ["ddnm", "noisy ddnm", "diffpir", "dps", "pigdm"])
def test_complex_images(name: str) -> None:
    """A diagonal prior, so that real and imaginary part are separate problems (but for the one norm of DPS)."""
    mean, variance = torch.zeros(SIZE, dtype=torch.float64), torch.full((SIZE,), 0.25, dtype=torch.float64)
    prior = GaussianDenoiser(TABLE, mean, variance)
    y, start = torch.complex(MASK * data(5), MASK * data(6)), torch.complex(data(3), data(4))

    def ends(y: Tensor, start: Tensor) -> Tensor:
        operator = PixelMask(MASK)
        chosen: dict[str, tuple[Denoiser, Any]] = {
            "ddnm": (DDNM(prior, operator, y), DDNMMixing(0.0)),
            "noisy ddnm": (DDNM(prior, operator, y, NOISE), DDNMMixing(0.0)),
            "diffpir": (prior, DiffPIR(operator, y, NOISE, zeta=0.0)),
            "dps": (prior, DPS(DDIM(0.0), operator, y, 0.3)),
            "pigdm": (PiGDM(prior, operator, y, NOISE), DDIM(0.0)),
        }
        return final(trajectory(chosen[name][0], start, Levels(), chosen[name][1]))

    whole = ends(y, start)
    assert whole.is_complex()
    if name == "dps":
        turned = ends(1j * y, 1j * start)
        assert torch.allclose(turned, 1j * whole, atol=1e-10)
    else:
        assert torch.allclose(whole, torch.complex(ends(y.real, start.real), ends(y.imag, start.imag)), atol=1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DDNM(correlated(), PixelMask(MASK), data(), -1.0), "noise_std: found -1.0"),
        (lambda: DiffPIR(PixelMask(MASK), data(), 0.0), "noise_std: found 0.0"),
        (lambda: DiffPIR(PixelMask(MASK), data(), 0.1, zeta=1.5), "strength, zeta: found"),
        (lambda: PiGDM(correlated(), PixelMask(MASK), data(), 0.0), "noise_std: found 0.0"),
        (lambda: DPS(DDPM(), PixelMask(MASK), data(), -1.0), "strength: found -1.0"),
        (lambda: DDNMMixing(1.2), "eta: found 1.2"),
    ],
)
def test_wrong_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        make()


@pytest.mark.parametrize("rule", [DDNMMixing(), DiffPIR(PixelMask(MASK), MASK * data(), NOISE)])
def test_fresh_noise_needs_streams(rule: Any) -> None:
    with pytest.raises(ValueError, match="streams: found None"):
        final(trajectory(correlated(), data(3), Uniform(5), rule))
