"""The image prior's data are the scans' own images, and its objective is EDM's."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from helpers.tiny_scans import phantom_slices
from skiagraph.diffusion.streams import Streams
from skiagraph.physics.fourier import CoilFourier, to_real
from skiagraph.tasks.reconstruct.rivals.image_prior import TIME, ImageItems, ImageObjective, combined_images

IMAGES = 0.3 * torch.randn(3, 12, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


class Recorder(nn.Module):
    """Keeps what it saw and answers with a half of it."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        self.x, self.time = x, time
        return 0.5 * x


def test_images_are_the_coil_combined_scans() -> None:
    known = phantom_slices().scan
    image = 0.3 * torch.randn(2, 32, 32, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    support = known.maps.abs().square().sum(1) > 0.5
    full = replace(known, kspace=CoilFourier(known.maps).forward(to_real(image * support)), mask=known.mask * 0 + 1)
    assert torch.allclose(combined_images(full, rows=1), image * support, atol=1e-4)
    items = ImageItems(image)
    assert len(items) == 2
    assert torch.equal(items.batch(torch.tensor([1])), image[1:])


def test_the_loss_is_edms() -> None:
    """|F - F*|^2 with F* = (x - c_skip x_t) / c_out, at the noise levels that the streams draw."""
    network, objective = Recorder(), ImageObjective(flips=False)
    found = objective(network, IMAGES, Streams([1, 2, 3]))
    streams = Streams([1, 2, 3])
    log_rho = math.log(0.12) + 1.4 * streams.normal(dtype=torch.float64)
    rho = log_rho.exp().clamp(0.002, 20.0).float()[:, None, None, None]
    x0 = to_real(IMAGES)
    noisy, s2 = x0 + rho * streams.normal_like(x0), 0.25**2
    total = rho**2 + s2
    wanted = (x0 - s2 / total * noisy) / (rho * 0.25 / total.sqrt())
    expected = (0.5 * noisy / total.sqrt() - wanted).square().flatten(1).mean(1)
    assert torch.allclose(found.loss.float(), expected, rtol=1e-3)
    assert torch.allclose(network.time, TIME.scale * log_rho.float() / 4, atol=1e-3)
    assert torch.allclose(found.level, -2 * log_rho, atol=1e-6)


def test_items_are_alone_and_windows_are_pieces_of_them() -> None:
    network, objective = Recorder(), ImageObjective(rows=5)
    whole = objective(network, IMAGES, Streams([1, 2, 3])).loss
    assert network.x.shape == (3, 2, 5, 16)
    for item in range(3):
        alone = objective(network, IMAGES[[item]], Streams([item + 1])).loss
        assert torch.allclose(alone, whole[[item]], rtol=1e-5)
    rows = 100 * torch.arange(12.0)[None, :, None].expand(1, 12, 16).to(torch.complex64)
    objective = ImageObjective(rows=5, flips=False, log_rho=(math.log(0.002), 1e-6))
    objective(network, rows, Streams([4]))
    seen = network.x[0, 0, :, 0] * (0.25**2 + 0.002**2) ** 0.5 / 100
    assert torch.allclose(seen.diff(), torch.ones(4), atol=1e-3)


def test_variations_keep_the_magnitudes() -> None:
    network = Recorder()
    quiet = (math.log(0.002), 1e-6)
    ImageObjective(log_rho=quiet)(network, IMAGES, Streams([1, 2, 3]))
    seen = network.x.square().sum(1).flatten(1).sort(1).values * (0.25**2 + 0.002**2)
    assert torch.allclose(seen, IMAGES.abs().square().flatten(1).sort(1).values, atol=0.02)
    assert float((seen.sum(1) / IMAGES.abs().square().flatten(1).sum(1)).max()) == pytest.approx(1, abs=0.01)
