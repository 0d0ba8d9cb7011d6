"""Training of target priors: what it reads, learns from and leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.tiny_heads import NETWORK, head, prior_settings, target_prior
from skiagraph.data.volume import Volume, write_nifti
from skiagraph.diffusion import Streams, linear_table
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.translate.initial import start_from
from skiagraph.tasks.translate.objective import TranslatePriorObjective
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.settings import ConditionSettings
from skiagraph.tasks.translate.target_data import cut_off, find_cases, fitted, read_heads, slabs_of, split_of
from skiagraph.tasks.translate.train import expectation, target_network, train_translate_prior
from skiagraph.training.ema import named_state


@pytest.mark.parametrize(
    "changes",
    [
        {"validation": ["head-1"], "neighbours": 1, "condition": {"kind": "mind-ssc", "windows": 3}},
        {"condition": {"kind": "lmi", "search": "x0-hat", "pseudo_source": "same"}},
        {"condition": {"kind": "lmi-reference", "search": "next", "flag": False, "dropout": 0}},
        {"condition": {"kind": "none"}, "planes": ["axial", "coronal"], "validation": ["head-1"]},
        {"size": [8, 16, 16], "condition": {"kind": "mind-ssc", "windows": 3}, "images": 4},
    ],
    ids=["slabs", "two passes", "released", "unconditional", "volumes"],
)
def test_every_kind_of_prior_is_trained_and_loads(heads: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    settings = prior_settings(heads, tmp_path / "prior", **changes)
    made = train_translate_prior(settings)
    loaded = TargetPrior.load(settings.output)
    assert loaded.condition == settings.condition
    assert loaded.neighbours == settings.neighbours
    assert loaded.planes == tuple(settings.planes)
    record = loaded.prior.record
    assert record.data.splits["validation"] == settings.validation
    assert made.heads == 2 - len(settings.validation)
    known = "without_maps" if settings.condition.kind != "none" else "held_out"
    assert any(known in name for name in made.errors) == bool(settings.validation)
    run = json.loads((settings.output / "run.json").read_text())
    assert run["images_seen"] == settings.images
    assert (settings.output / "report.html").exists()


def test_a_test_head_is_never_read(heads: Path, tmp_path: Path) -> None:
    settings = prior_settings(heads, tmp_path, exclude=["head-0"])
    cases = find_cases(settings)
    split = split_of(settings, cases)
    assert split.train == ("head-1",)
    assert split.test == ("head-0",)
    items = slabs_of(read_heads(cases, split.train, settings), settings, 0)
    assert len(items.stacks) == 1


def test_slabs_are_slices_with_their_neighbours_edges_repeated(heads: Path, tmp_path: Path) -> None:
    settings = prior_settings(heads, tmp_path, exclude=["head-1"])
    items = slabs_of(read_heads(find_cases(settings), ("head-0",), settings), settings, 2)
    first = items.batch(torch.tensor([0]))[0]
    stack, middle = items.stacks[0], int(items.places[0, 1])
    for offset in range(-2, 3):
        wanted = stack[min(max(middle + offset, 0), len(stack) - 1)]
        assert torch.equal(first[offset + 2], wanted)
    assert float(items.batch(torch.arange(len(items)))[:, 2].flatten(1).amax(1).min()) > -1


def test_heads_that_the_size_cuts_are_told_on_the_page_and_in_the_record(heads: Path, tmp_path: Path) -> None:
    wide = prior_settings(heads, tmp_path)
    read = read_heads(find_cases(wide), ("head-0", "head-1"), wide)
    columns, rows = read[0].mask.shape[:2]
    enough = prior_settings(heads, tmp_path, size=[-(-rows // 8) * 8, -(-columns // 8) * 8])
    assert cut_off(read, enough) == ""
    small = prior_settings(heads, tmp_path / "prior", size=[8, 8], images=4)
    kept = fitted(read[0].mask.transpose(2, 1, 0), (8, 8), False).sum() / read[0].mask.sum()
    assert kept < 0.9
    made = train_translate_prior(small)
    assert made.warning.startswith("2 of 2 heads are larger than size (8, 8) and are cut to it")
    assert json.loads((small.output / "run.json").read_text())["warning"] == made.warning
    assert "are cut to it" in (small.output / "report.html").read_text()


def test_a_size_is_cut_and_padded_about_the_middle() -> None:
    array = torch.arange(20.0).reshape(1, 4, 5).numpy()
    assert fitted(array, (2, 3), -1)[0].tolist() == [[6, 7, 8], [11, 12, 13]]
    assert fitted(array, (6, 5), -1)[0, 1:5].tolist() == array[0].tolist()
    assert (fitted(array, (6, 5), -1)[0, [0, 5]] == -1).all()


def test_the_loss_of_a_perfect_network_is_zero_and_of_none_the_velocity(heads: Path, tmp_path: Path) -> None:
    settings = prior_settings(heads, tmp_path)
    items = slabs_of(read_heads(find_cases(settings), ("head-0",), settings), settings, 0)
    batch, table = items.batch(torch.arange(2)), linear_table()
    condition = ConditionSettings(kind="none")
    objective = TranslatePriorObjective(table, condition)

    def knows(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        alpha, sigma = (value.float().reshape(-1, 1, 1, 1) for value in table(time.double()))
        return (alpha * x - batch[:, :1]) / sigma  # v = alpha eps - sigma x0, from x0 known

    assert float(objective(knows, batch, Streams([0, 1])).loss.max()) < 1e-6
    nothing = objective(lambda x, time: torch.zeros_like(x), batch, Streams([0, 1])).loss
    assert nothing.shape == (2,)
    assert bool((nothing > 0.1).all())


@pytest.mark.parametrize("kind", ["mind-ssc", "lmi"])
def test_dropped_maps_and_flag_are_all_zero(heads: Path, tmp_path: Path, kind: str) -> None:
    settings = prior_settings(heads, tmp_path)
    items = slabs_of(read_heads(find_cases(settings), ("head-0",), settings), settings, 0)
    heard = []

    def listens(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        heard.append(x[:, 1:])
        return torch.zeros_like(x[:, :1])

    condition = ConditionSettings.model_validate({"kind": kind, "dropout": 0.5})
    result = TranslatePriorObjective(linear_table(), condition)(
        listens, items.batch(torch.arange(2).repeat(4)), Streams(range(8))
    )
    dropped = result.extra["unconditional"].bool()
    assert 0 < int(dropped.sum()) < 8
    assert bool((heard[0][dropped] == 0).all())
    assert bool((heard[0][~dropped][:, -1] == 1).all())


@pytest.mark.parametrize("fine", [0, 4])
def test_fine_tuning_keeps_what_the_network_knew(heads: Path, tmp_path: Path, fine: int) -> None:
    shape = NETWORK | {"patch": 2, "fine": fine}
    trunk = target_prior(heads, network=shape, condition={"show_source": "hidden"})
    trunk.prior.save(tmp_path / "trunk")
    other = prior_settings(heads, tmp_path / "new", network=shape, condition={"kind": "edges", "show_source": "hidden"})
    from skiagraph.tasks.measurement.network import build_unet

    network = build_unet(target_network(other), 3)
    start_from(network, tmp_path / "trunk")
    x = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([10.0])
    maps = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    old = trunk.prior.network(torch.cat([x, torch.zeros(1, 5, 16, 16)], 1), t)
    torch.testing.assert_close(network.eval()(torch.cat([x, maps], 1), t), old)
    assert set(named_state(network)) == set(named_state(trunk.prior.network))
    bigger = build_unet(target_network(prior_settings(heads, tmp_path, network=NETWORK | {"channels": 16})), 0)
    with pytest.raises(InputError, match="differs in more than its input channels"):
        start_from(bigger, tmp_path / "trunk")


def test_a_dry_run_counts_and_writes_nothing(heads: Path, tmp_path: Path) -> None:
    settings = prior_settings(heads, tmp_path / "none", exclude=["head-1"])
    told = expectation(settings)
    assert told["training_heads"] == 1
    assert told["steps"] == 2
    assert not settings.output.exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"pattern": "*/T9.nii.gz"}, DataError, r"matches '\*/T9"),
        ({"exclude": ["head-7"]}, InputError, "head-7 is no head here; there are head-0, head-1"),
        ({"exclude": ["head-0", "head-1"]}, InputError, "none is left to learn from"),
        ({"data": [Path("/nowhere")]}, DataError, "/nowhere does not exist"),
        ({"heads": {"head-0": "one", "head-1": "one"}, "exclude": ["one"]}, InputError, "none is left to learn"),
        ({"heads": {"head-9": "one"}}, InputError, "heads: head-9 is no case here"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(
    heads: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train_translate_prior(prior_settings(heads, tmp_path / "p", **changes))


def test_a_mask_of_another_grid_and_a_constant_scan_are_refused(tmp_path: Path) -> None:
    volume = head()
    write_nifti(tmp_path / "a" / "T1.nii.gz", volume)
    write_nifti(tmp_path / "a" / "mask.nii.gz", head("T1", (14, 16, 5)))
    with pytest.raises(DataError, match="does not lie on the grid"):
        train_translate_prior(prior_settings(tmp_path, tmp_path / "p"))
    write_nifti(tmp_path / "a" / "T1.nii.gz", Volume(0 * volume.array + 7, volume.affine))
    write_nifti(tmp_path / "a" / "mask.nii.gz", Volume(volume.array * 0 + 1, volume.affine))
    with pytest.raises(DataError, match=r"T1\.nii\.gz: percentiles"):
        train_translate_prior(prior_settings(tmp_path, tmp_path / "p"))


def test_with_enough_held_out_slices_the_prior_knows_what_is_usual(heads: Path, tmp_path: Path) -> None:
    from skiagraph.tasks.translate.validation import usual_range

    for case, slices in (("long-0", 12), ("long-1", 14)):
        volume = head("T1", (20, 20, slices))
        write_nifti(tmp_path / "long" / case / "T1.nii.gz", volume)
    settings = prior_settings(tmp_path / "long", tmp_path / "p", size=[24, 24], validation=["long-1"])
    cases = find_cases(settings)
    learned, judged = (read_heads(cases, (case,), settings) for case in ("long-0", "long-1"))
    found = usual_range(settings, learned, judged)
    assert found is not None
    assert found.measure == "lmi"
    assert found.slices >= 8
    tiny = prior_settings(heads, tmp_path / "p")
    few = read_heads(find_cases(tiny), ("head-0",), tiny)
    assert usual_range(tiny, few, few) is None
