"""What every public object can do: be shown, copied, pickled, and say what it is."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import pickle
import pkgutil
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
import torch

import skiagraph.diffusion
from helpers.walks import MEAN, VARIANCE
from helpers.zoo import DETERMINISTIC, STOCHASTIC, mixture, quadratic
from skiagraph.diffusion.denoiser import NetworkDenoiser, NetworkTime, Prediction
from skiagraph.diffusion.grid import Ascending, Karras, Levels, LogSNR, Partial, Quadratic, Snapped, Uniform
from skiagraph.diffusion.guidance import (
    ClassifierFree,
    Clip,
    Counted,
    DynamicThreshold,
    Energy,
    EnergyGradient,
    Every,
    StateCondition,
    Tally,
)
from skiagraph.diffusion.guidance.measures import LogOddsAbs, LogOddsTarget
from skiagraph.diffusion.objective import (
    AntitheticTimes,
    EDMWeight,
    LogNormalTimes,
    MinSNRWeight,
    P2Weight,
    UniformTimes,
)
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import EDM, Cosine, VPLinear, cosine_table, linear_table
from skiagraph.diffusion.streams import Streams

MODULES = [
    importlib.import_module(info.name)
    for info in pkgutil.walk_packages(skiagraph.diffusion.__path__, "skiagraph.diffusion.")
]


def identity(x: torch.Tensor, t: torch.Tensor, cond: Any = None) -> torch.Tensor:
    return x


PRIOR = GaussianDenoiser(VPLinear(), MEAN, VARIANCE)
VALUES: list[Any] = [
    *(VPLinear(), Cosine(), EDM(), linear_table(), cosine_table().respaced("10,20"), NetworkTime("log_snr", 2.0)),
    *(Uniform(3), LogSNR(3), Karras(3), Levels(2), Partial(Uniform(3), 0.5), Ascending(LogSNR(3))),
    *(Quadratic(50), Snapped(50), Every(2, (0.0, 4.0)), LogOddsTarget(0.2), LogOddsAbs()),
    *(EDMWeight(), MinSNRWeight(), P2Weight(), UniformTimes(), AntitheticTimes(), LogNormalTimes()),
    *DETERMINISTIC.values(),
    *STOCHASTIC.values(),
]
DENOISERS: list[Any] = [
    PRIOR,
    GaussianDenoiser(VPLinear(), MEAN, covariance=torch.eye(4).double()),
    mixture(EDM()),
    ClassifierFree(PRIOR, 2.0),
    Clip(PRIOR),
    DynamicThreshold(PRIOR),
    Energy(PRIOR, quadratic),
    Counted(PRIOR, Tally()),
    StateCondition(PRIOR, "mean", identity),
    NetworkDenoiser(identity, linear_table(), accepts=frozenset({"cond"})),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_values_survive_copies_and_compare(value: Any) -> None:
    for twin in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert twin == value
        assert hash(twin) == hash(value)
        assert repr(twin) == repr(value)
    assert type(value).__name__ in repr(value)


@pytest.mark.parametrize("value", [*VALUES, *DENOISERS, EnergyGradient(quadratic)], ids=lambda v: type(v).__name__)
def test_values_are_frozen(value: Any) -> None:
    names = [field.name for field in dataclasses.fields(value)] or ["anything"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, names[0], None)


@pytest.mark.parametrize("denoiser", DENOISERS, ids=lambda v: type(v).__name__)
def test_denoisers_survive_copies(denoiser: Any) -> None:
    x, t = Streams([0, 1]).normal(4, dtype=torch.float64), torch.tensor(0.4)
    assert type(denoiser).__name__ in repr(denoiser)
    expected = denoiser(x, t)
    assert isinstance(expected, Prediction)
    for twin in (copy.deepcopy(denoiser), pickle.loads(pickle.dumps(denoiser))):
        assert torch.equal(twin(x, t).x0, expected.x0)


@pytest.mark.parametrize("name", [*DETERMINISTIC, *STOCHASTIC])
def test_memories_can_be_stored_between_steps(name: str) -> None:
    """A walk may stop after any step and continue from a pickle as if it had not."""
    rule = (DETERMINISTIC | STOCHASTIC)[name]
    times = LogSNR(6)(VPLinear())
    streams = Streams([0, 1])
    x = streams.normal(4, dtype=torch.float64)
    whole = final(trajectory(PRIOR, x, times, rule, streams=streams))
    streams = Streams([0, 1])
    carry: Any = None
    x = streams.normal(4, dtype=torch.float64)
    for t, s in pairwise(times):
        x, _, carry = rule(PRIOR, x, t, s, {}, streams, carry)
        x, streams, carry = pickle.loads(pickle.dumps((x, streams, carry)))
    assert torch.equal(x, whole)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_every_public_name_is_documented(module: ModuleType) -> None:
    assert module.__doc__
    names = getattr(module, "__all__", None)
    assert names, f"{module.__name__} has no __all__"
    for name in names:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            documentation = value.__doc__ or ""
            assert documentation, f"{module.__name__}.{name} has no docstring"
            assert not documentation.startswith(f"{name}("), f"{module.__name__}.{name} has a generated docstring"
