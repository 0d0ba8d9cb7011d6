"""The loop: what a step is made of, what is logged, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from helpers.tiny_training import SETTINGS, TinyData, TinyNetwork, denoise, lines, run
from skiagraph.errors import InputError
from skiagraph.training import ObjectiveResult, Progress, TrainingDiverged, TrainingSettings, train


def test_a_run_learns_and_leaves_what_it_promises(tmp_path: Path) -> None:
    seen: list[Progress] = []
    result = run(tmp_path, on_progress=seen.append, dropout=0.0)
    logged = lines(tmp_path)
    assert [line["images"] for line in logged] == list(range(40, 481, 40))
    assert logged[-1]["loss"] < 0.8 * logged[0]["loss"]
    assert sum(part["count"] for part in logged[0]["loss_by_log_snr"]) == 40
    assert logged[0]["noise_power"] == pytest.approx(1.0, abs=0.1)
    assert {"gradient_norm", "clipped", "learning_rate", "skipped"} <= logged[0].keys()
    assert [progress.images for progress in seen] == list(range(8, 481, 8))
    assert (result.images, result.skipped) == (480, 0)
    assert set(result.averages) == {"power-0.05", "power-0.1", "exponential"}
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    assert len(list((tmp_path / "snapshots").iterdir())) == 2 * 8


def test_draws_and_data_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    """Item k gets the same data and noise for any batch size and microbatch, with or without a reading thread."""

    def record(folder: str, **changes: Any) -> dict[int, Tensor]:
        found: list[Tensor] = []

        def watch(network: nn.Module, batch: dict[str, Tensor], streams: Any) -> ObjectiveResult:
            drawn = streams.normal(3)
            found.extend(torch.cat([batch["index"][:, None], drawn, streams.uniform()[:, None]], dim=1))
            return ObjectiveResult(network(batch["image"], streams.uniform()).mean((1, 2, 3)), streams.uniform())

        settings = TrainingSettings(60, precision="float32", **changes)
        train(TinyNetwork(), watch, TinyData(), settings, tmp_path / folder)
        return dict(enumerate(found[:60]))

    whole = record("a", batch_size=20)
    for name, changes in {"b": {"batch_size": 1}, "c": {"batch_size": 12, "microbatch": 5, "prefetch": False}}.items():
        other = record(name, **changes)
        assert all(torch.equal(whole[number], other[number]) for number in range(60))


def test_microbatches_give_the_gradient_of_the_batch(tmp_path: Path) -> None:
    whole = run(tmp_path / "a", dropout=0.0, microbatch=None).network.state_dict()
    parts = run(tmp_path / "b", dropout=0.0, microbatch=3).network.state_dict()
    for name in whole:
        if name != "calls":
            torch.testing.assert_close(whole[name], parts[name], rtol=1e-3, atol=1e-5)


def test_a_seed_gives_the_same_run_and_zero_is_a_seed(tmp_path: Path) -> None:
    one, two, other = (lines_of(tmp_path / str(k), seed) for k, seed in enumerate((0, 0, 1)))
    assert one == two != other


def lines_of(folder: Path, seed: int) -> list[dict[str, Any]]:
    run(folder, seed=seed, images=80)
    return lines(folder)


def test_global_random_state_and_threads_are_left_alone(tmp_path: Path) -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    run(tmp_path, images=16, threads=threads + 1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_bad_step_is_skipped_and_counted(tmp_path: Path, where: str) -> None:
    def sometimes(network: nn.Module, batch: dict[str, Tensor], streams: Any) -> ObjectiveResult:
        result = denoise(network, batch, streams)
        if 5 not in batch["index"]:
            return result
        if where == "loss":
            return ObjectiveResult(result.loss * math.nan, result.level, result.extra)
        spoiled = result.loss + (result.loss - result.loss.detach()).sqrt()  # a finite loss with an infinite gradient
        return ObjectiveResult(spoiled, result.level, result.extra)

    settings = TrainingSettings(37 * 3, batch_size=1, precision="float32", log_every=37)
    network = TinyNetwork()
    train(network, sometimes, TinyData(), settings, tmp_path)
    assert [line["skipped"] for line in lines(tmp_path)] == [1, 2, 3]
    assert all(math.isfinite(line["loss"]) for line in lines(tmp_path))
    assert all(bool(torch.isfinite(value).all()) for value in network.parameters())


def test_several_bad_steps_end_the_run_with_the_items_named(tmp_path: Path) -> None:
    def broken(network: nn.Module, batch: dict[str, Tensor], streams: Any) -> ObjectiveResult:
        result = denoise(network, batch, streams)
        return ObjectiveResult(result.loss * math.nan, result.level)

    with pytest.raises(TrainingDiverged, match=r"3 steps in a row .* at 16 images seen .*data items \["):
        train(TinyNetwork(), broken, TinyData(), TrainingSettings(400, batch_size=8, patience=3), tmp_path)


def test_a_reduced_loss_is_refused(tmp_path: Path) -> None:
    def reduced(network: nn.Module, batch: dict[str, Tensor], streams: Any) -> ObjectiveResult:
        result = denoise(network, batch, streams)
        return ObjectiveResult(result.loss.mean(), result.level)

    with pytest.raises(InputError, match=r"loss has shape \(\)"):
        train(TinyNetwork(), reduced, TinyData(), SETTINGS, tmp_path)


def test_bfloat16_stays_inside_the_network(tmp_path: Path) -> None:
    seen: dict[str, torch.dtype] = {}

    class Watched(TinyNetwork):
        def forward(self, x: Tensor, level: Tensor) -> Tensor:
            output = super().forward(x, level)
            seen["inside"] = output.dtype
            return output

    def watch(network: nn.Module, batch: dict[str, Tensor], streams: Any) -> ObjectiveResult:
        result = denoise(network, batch, streams)
        seen["loss"] = result.loss.dtype
        return result

    settings = TrainingSettings(8, batch_size=8, precision="bfloat16")
    network = Watched()
    train(network, watch, TinyData(), settings, tmp_path)
    assert seen == {"inside": torch.bfloat16, "loss": torch.float32}
    assert all(value.dtype == torch.float32 for value in network.parameters())
