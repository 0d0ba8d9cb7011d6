"""Networks as denoisers: parametrisations, times, conditions, channels, variances."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.walks import gaussian, start
from skiagraph.diffusion.denoiser import EMPTY, Denoiser, NetworkDenoiser, NetworkTime, Prediction
from skiagraph.diffusion.reverse import reverse_step
from skiagraph.diffusion.schedule import EDM, Schedule, VPLinear, expand_like, linear_table

SCHEDULES = [VPLinear(), EDM(), linear_table()]


class ExactNetwork:
    """What a perfect network of each parametrisation returns for the Gaussian prior, given its (scaled) input."""

    def __init__(self, schedule: Schedule, parametrisation: str) -> None:
        self.schedule, self.parametrisation = schedule, parametrisation

    def __call__(self, inputs: Tensor, time: Tensor) -> Tensor:
        t = time.double()
        alpha, sigma = (expand_like(value, inputs) for value in self.schedule(t))
        norm = (alpha**2 + sigma**2).sqrt()
        total = (sigma**2 + 0.25 * alpha**2).sqrt()
        x = inputs * {"v": norm, "edm": total}.get(self.parametrisation, torch.ones(()))
        x0 = gaussian(self.schedule)(x, t).x0
        eps = (x - alpha * x0) / sigma
        if self.parametrisation == "v":
            return (alpha * eps - sigma * x0) / norm
        if self.parametrisation == "edm":
            rho = sigma / alpha
            skip, out = 0.25 / (rho**2 + 0.25), 0.5 * rho / (rho**2 + 0.25).sqrt()
            return (x0 - skip * x / alpha) / out
        return eps if self.parametrisation == "eps" else x0


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("parametrisation", ["eps", "x0", "v", "edm"])
def test_parametrisations_agree_on_x0(parametrisation: Any, schedule: Schedule) -> None:
    kind = "index" if len(getattr(schedule, "alpha_bar", ())) else "continuous"
    network = ExactNetwork(schedule, parametrisation)
    denoiser = NetworkDenoiser(network, schedule, parametrisation, NetworkTime(kind))  # type: ignore[arg-type]
    assert isinstance(denoiser, Denoiser)
    x = start(schedule, 3)
    for level in (-4.0, 0.0, 3.0):
        t = schedule.time_of(torch.tensor([level, level, level + 0.5])).float().double()  # networks see float32
        assert torch.allclose(denoiser(x, t).x0, gaussian(schedule)(x, t).x0, atol=1e-9)


class Recorder:
    """A network that returns zeros and remembers what it was given."""

    def __init__(self, channels: int = 1) -> None:
        self.channels = channels
        self.calls: list[tuple[Tensor, Tensor, dict[str, Any]]] = []

    def __call__(self, x: Tensor, time: Tensor, **cond: Any) -> Tensor:
        self.calls.append((x, time, cond))
        return torch.zeros(x.shape[0], self.channels, *x.shape[2:], dtype=x.dtype)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("index", 7.0),
        ("original_index", 35.0),
        ("rescaled", 35.0),
        ("log_snr", None),
        ("log_rho", None),
        ("continuous", 7.0),
    ],
)
def test_the_network_is_told_the_time_of_its_prior(kind: Any, expected: float | None) -> None:
    table = linear_table().respaced("ddim200")
    network = Recorder()
    NetworkDenoiser(network, table, time=kind)(torch.zeros(3, 1, 2), torch.tensor(7.0))
    time = network.calls[0][1]
    log_snr = float(table.log_snr(7))
    expected = {"log_snr": log_snr, "log_rho": -log_snr / 8}.get(kind, expected)
    assert time.shape == (3,)
    assert time.dtype == torch.float32
    assert time.tolist() == pytest.approx([expected] * 3)


def test_rescaled_time_of_a_long_table_and_scale() -> None:
    assert float(NetworkTime("rescaled")(linear_table(4000), 400)) == 100
    assert float(NetworkTime("continuous", scale=999.0)(VPLinear(), 0.5)) == 499.5


def test_index_and_sampling_agree_on_one_time() -> None:
    """A respaced walk asks the network exactly at times it could be trained on."""
    table = linear_table().respaced("ddim25")
    times = NetworkTime("original_index")(table, torch.arange(25))
    assert torch.equal(times, 40.0 * torch.arange(25).double())


def test_indices_need_a_table() -> None:
    with pytest.raises(TypeError, match="VPLinear, which has no indices"):
        NetworkDenoiser(Recorder(), VPLinear())
    with pytest.raises(ValueError, match="kind: found 'steps'"):
        NetworkTime("steps")  # type: ignore[arg-type]


def test_conditions_are_passed_or_refused() -> None:
    network = Recorder()
    denoiser = NetworkDenoiser(network, EDM(), "x0", "log_rho", accepts=frozenset({"label", "embedding"}))
    x = torch.zeros(2, 1, 4)
    label = torch.tensor([1, 2])
    denoiser(x, torch.tensor(1.0), {"label": label})
    assert network.calls[0][2].keys() == {"label"}
    assert network.calls[0][2]["label"] is label
    with pytest.raises(ValueError, match="unknown condition lable; allowed embedding, label"):
        denoiser(x, torch.tensor(1.0), {"lable": label})
    with pytest.raises(ValueError, match="unconditional"):
        NetworkDenoiser(network, EDM(), "x0", "log_rho")(x, torch.tensor(1.0), {"label": label})


def test_concatenated_conditions_become_channels() -> None:
    network = Recorder()
    denoiser = NetworkDenoiser(network, EDM(), "edm", "log_rho", concatenated=("cross", "self"))
    x = torch.ones(2, 1, 4)
    maps = {"self": torch.full((2, 1, 4), 3.0), "cross": torch.full((2, 2, 4), 2.0).double()}
    denoiser(x, torch.tensor(2.0), maps)
    seen = network.calls[0][0]
    assert seen.shape == (2, 4, 4)
    assert seen[0, :, 0].tolist() == pytest.approx([1 / (4 + 0.25) ** 0.5, 2.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="found no self; this network needs cross, self"):
        denoiser(x, torch.tensor(2.0), {"cross": maps["cross"]})


def test_learned_variance_splits_the_channels() -> None:
    table = linear_table().respaced("ddim25")
    denoiser = NetworkDenoiser(Recorder(4), table, learned_variance=True)
    prediction = denoiser(torch.ones(3, 2, 5), torch.tensor([0.0, 4.0, 24.0]))
    step = reverse_step(table, torch.tensor([0.0, 4.0, 24.0]), torch.tensor([-1.0, 3.0, 23.0]))
    assert prediction.x0.shape == (3, 2, 5)
    assert prediction.log_var is not None
    expected = (step.log_small + step.log_large) / 2
    assert torch.allclose(prediction.log_var[:, 0, 0].double(), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="expected 4 channels"):
        NetworkDenoiser(Recorder(2), table, learned_variance=True)(torch.ones(1, 2, 5), torch.tensor(3.0))
    with pytest.raises(ValueError, match="expected 2 channels"):
        NetworkDenoiser(Recorder(4), table)(torch.ones(1, 2, 5), torch.tensor(3.0))
    with pytest.raises(TypeError, match="learned_variance"):
        NetworkDenoiser(Recorder(), EDM(), "eps", "log_rho", learned_variance=True)


def test_calls_leave_their_inputs_alone() -> None:
    denoiser = NetworkDenoiser(Recorder(), linear_table())
    x, t = torch.ones(2, 1, 3), torch.tensor([3, 5])
    denoiser(x, t)
    assert torch.equal(x, torch.ones(2, 1, 3))
    assert torch.equal(t, torch.tensor([3, 5]))


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="parametrisation: found 'noise'"):
        NetworkDenoiser(Recorder(), linear_table(), "noise")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sigma_data"):
        NetworkDenoiser(Recorder(), linear_table(), sigma_data=0.0)


def test_the_empty_condition_is_one_object() -> None:
    assert len(EMPTY) == 0
    assert list(EMPTY) == []
    assert "label" not in EMPTY
    assert copy.deepcopy(EMPTY) is EMPTY
    assert pickle.loads(pickle.dumps(EMPTY)) is EMPTY
    assert Prediction(torch.zeros(1)).log_var is None
