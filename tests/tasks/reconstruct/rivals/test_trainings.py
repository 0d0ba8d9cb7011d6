"""The trainings leave prior folders that load, say what they are, and join the comparison with all their methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.tiny_scans import scan
from skiagraph.cli import main
from skiagraph.config import load_settings, read_yaml
from skiagraph.data.fastmri import write_fastmri
from skiagraph.errors import InputError
from skiagraph.tasks.reconstruct.checks import training_warnings
from skiagraph.tasks.reconstruct.rivals import factory, train
from skiagraph.tasks.reconstruct.rivals.evaluate import evaluate_rivals, expectation
from skiagraph.tasks.reconstruct.rivals.networks import ambient_network, image_network, unrolled_network
from skiagraph.tasks.reconstruct.rivals.plug_in import PlugIn
from skiagraph.tasks.reconstruct.rivals.settings import (
    AmbientSettings,
    ImagePriorSettings,
    PlugInSettings,
    RivalsSettings,
    SSDUSettings,
    UNetSettings,
    UnrolledSettings,
)
from skiagraph.tasks.reconstruct.settings import SimulateSettings
from skiagraph.tasks.reconstruct.train import TrainResult
from skiagraph.training import Prior

PRESETS = Path(train.__file__).parents[3] / "presets" / "rivals"
SMALL = {"channels": 8, "multipliers": (1,)}
FEW: dict[str, Any] = {
    **{"images": 8, "batch_size": 4, "warmup": 4, "ema_half_life": 4, "rows": None},
    **{"precision": "float32", "threads": 1},
}
QUICK = PlugInSettings(steps=2)


@pytest.fixture(scope="module")
def full_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three fully sampled slices."""
    content = scan(truth=True, mask=np.ones(32, dtype=bool))
    return write_fastmri(tmp_path_factory.mktemp("full") / "full.h5", content)


@pytest.fixture(scope="module")
def priors(scan_file: Path, full_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the three trainings make of eight images."""
    folder = tmp_path_factory.mktemp("rivals")
    ssdu = SSDUSettings(
        data=[scan_file],
        output=folder / "ssdu",
        network=UnrolledSettings(**SMALL, cascades=2, data_iterations=2),
        **FEW,
    )
    ambient = AmbientSettings(data=[scan_file], output=folder / "ambient", network=UNetSettings(**SMALL), **FEW)
    image = ImagePriorSettings(data=[full_file], output=folder / "image", network=UNetSettings(**SMALL), **FEW)
    made = (train.train_ssdu(ssdu), train.train_ambient(ambient), train.train_image_prior(image))
    assert all(result.images == 8 and np.isfinite(result.loss) for result in made)
    return {result.prior.name: result.prior for result in made}


def test_priors_say_what_they_are(priors: dict[str, Path]) -> None:
    records = {name: Prior.load(folder).record for name, folder in priors.items()}
    kinds = {name: record.architecture.kind for name, record in records.items()}
    assert kinds == {"ssdu": "unrolled-unet", "ambient": "ambient-data-step", "image": "patched-unet"}
    assert [records[name].parametrisation for name in ("ssdu", "ambient", "image")] == ["own", "own", "edm"]
    assert records["ssdu"].training.objective == "self-supervised data undersampling"
    assert records["image"].training.settings["images"] == 8
    assert "network" in records["ambient"].training.settings
    assert (priors["ssdu"] / "README.md").exists()


def test_rivals_say_what_their_scans_cannot_teach(scan_file: Path, tmp_path: Path) -> None:
    settings = AmbientSettings(data=[scan_file], output=tmp_path / "p", network=UNetSettings(**SMALL), **FEW)
    scans, _ = train.training_scans(settings.shared())
    made = train.train_ambient(settings)
    assert made.warnings == training_warnings(scans) != ()
    assert set(made.warnings) <= set(Prior.load(tmp_path / "p").record.limits)


def test_networks_are_functions_of_their_seed_and_leave_the_global_one() -> None:
    state = torch.get_rng_state()
    for make, settings in (
        (unrolled_network, UnrolledSettings(**SMALL)),
        (ambient_network, UNetSettings(**SMALL)),
        (image_network, UNetSettings(**SMALL)),
    ):
        one, same, other = (list(make(settings, seed).parameters()) for seed in (1, 1, 2))  # type: ignore[operator]
        assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_every_prior_joins_with_all_its_methods(
    priors: dict[str, Path], trained: TrainResult, scan_file: Path, tmp_path: Path
) -> None:
    settings = RivalsSettings(
        scans=[scan_file],
        baselines=["zero-filled", "cg-sense"],
        priors={"ours": trained.prior, **priors},
        **dict.fromkeys(("ddnm", "dps", "diffpir", "pigdm", "adps"), QUICK),
        samples=2,
        output=tmp_path / "run",
        threads=1,
    )
    told: list[str] = []
    result = evaluate_rivals(settings, on_progress=lambda stage, done, total: told.append(stage))
    names = [row.method for row in result.comparisons[0].rows]
    assert names == [
        *("zero-filled", "cg-sense", "ours", "ssdu", "ambient (one step)", "ambient (A-DPS)"),
        *("image (DDNM)", "image (DPS)", "image (DiffPIR)", "image (PiGDM)"),
    ]
    rows = {row.method: row for row in result.comparisons[0].rows}
    assert result.comparisons[0].against == "ours"
    calls = {"cg-sense": 0, "ssdu": 8, "ambient (one step)": 4, "ambient (A-DPS)": 4, "image (DDNM)": 4}
    assert {name: rows[name].evaluations for name in calls} == calls
    seen = {name: row.trained_on.split()[0] for name, row in rows.items()}
    assert seen["image (DPS)"] == "fully"
    assert seen["ours"] == seen["ssdu"] == seen["ambient (A-DPS)"] == "undersampled"
    assert seen["cg-sense"] == "nothing"
    assert "ours" in " ".join(told)
    figures = json.loads((tmp_path / "run" / "figures.json").read_text())
    assert len(next(iter(figures.values()))[0]["slices"]["psnr_db"]) == 3
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert set(run["priors"]) == {"ours", "ssdu", "ambient", "image"}
    assert {"config.yaml", "table.md", "report.html", "report.npz"} <= {f.name for f in (tmp_path / "run").iterdir()}
    assert "image (PiGDM)" in (tmp_path / "run" / "table.md").read_text()
    kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "run" / "parts").iterdir()}
    again = evaluate_rivals(settings)
    assert [row.record() for row in again.comparisons[0].rows] == [row.record() for row in result.comparisons[0].rows]
    assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / "run" / "parts").iterdir()} == kept


def test_undersampled_scans_make_no_clean_prior(scan_file: Path, tmp_path: Path) -> None:
    settings = ImagePriorSettings(data=[scan_file], output=tmp_path / "p", network=UNetSettings(**SMALL), **FEW)
    with pytest.raises(InputError, match="data: found undersampled scans"):
        train.train_image_prior(settings)
    simulated = ImagePriorSettings(simulate=SimulateSettings(scans={"colin27": 1}), output=tmp_path / "p", **FEW)
    with pytest.raises(InputError, match=r"simulate\.masks: found 'random', allowed: full"):
        train.expect_image_prior(simulated)


def test_images_of_undersampled_scans_make_a_prior_that_says_so(scan_file: Path, tmp_path: Path) -> None:
    settings = ImagePriorSettings(data=[scan_file], output=tmp_path / "p", network=UNetSettings(**SMALL), **FEW)
    scans, sources = train.training_scans(settings.shared())
    images = torch.randn(3, 32, 32, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    train.train_on_images(settings, scans, images, sources)
    prior = Prior.load(tmp_path / "p")
    rivals = factory.rivals_of("em", tmp_path / "p", prior, RivalsSettings(plug_ins=["ddnm"]))
    assert [(rival.name, rival.trained_on) for rival in rivals] == [("em (DDNM)", "undersampled scans")]
    assert isinstance(rivals[0], PlugIn)


def test_an_image_prior_starts_from_another(priors: dict[str, Path], full_file: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"data": [full_file], "output": tmp_path / "p", "network": UNetSettings(**SMALL), **FEW}
    train.train_image_prior(ImagePriorSettings(**given, start=priors["image"], learning_rate=1e-12))
    ends = [Prior.load(folder).network.state_dict() for folder in (priors["image"], tmp_path / "p")]
    assert all(torch.allclose(ends[0][name], value, atol=1e-6) for name, value in ends[1].items())
    for wrong in (priors["ambient"], priors["ssdu"]):
        with pytest.raises(InputError, match="start: the prior in"):
            train.train_image_prior(ImagePriorSettings(**{**given, "output": tmp_path / "q"}, start=wrong))


@pytest.mark.parametrize("name", ["ssdu", "ambient", "image-prior", "image-prior-stage-2"])
def test_presets_resolve_and_say_what_they_cost(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", str(PRESETS / f"{name}.yaml"), "--dry-run", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["expectation"]["scans"] == 1100
    assert shown["expectation"]["seconds_on_one_core"] < 2400
    assert shown["settings"]["name"].startswith("brain-t1-128-")
    assert shown["settings"]["simulate"]["masks"] == ("full" if "image" in name else "random")


def test_the_comparison_preset_resolves_with_the_priors_that_are_there(trained: TrainResult) -> None:
    given = {key: value for key, value in read_yaml(PRESETS / "compare.yaml").items() if key != "task"}
    settings = RivalsSettings(**{**given, "priors": {"skiagraph": trained.prior}})
    assert expectation(settings)["network_evaluations_per_slice"] == 4 * 5 + 4 * 5


def test_ambient_drops_as_many_lines_as_bring_r_to_r_plus_one(tmp_path: Path) -> None:
    simulate = SimulateSettings(scans={"colin27": 1}, acceleration=4.0)
    assert train.dropped_share(AmbientSettings(simulate=simulate, output=tmp_path)) == pytest.approx(0.2)
    assert train.dropped_share(AmbientSettings(simulate=simulate, output=tmp_path, dropped_share=0.5)) == 0.5


def test_what_cannot_be_compared_is_refused(priors: dict[str, Path], tmp_path: Path) -> None:
    for wrong, message in (
        ({"baselines": ["bicubic"]}, "baselines: found bicubic"),
        ({"baselines": ["cg-sense"], "against": "ssdu"}, "against: found 'ssdu'"),
        ({"baselines": ["cg-sense"], "priors": {"cg-sense": priors["ssdu"]}}, "cg-sense twice"),
        ({"baselines": []}, "found none"),
    ):
        with pytest.raises(InputError, match=message):
            factory.load_rivals(RivalsSettings(**wrong))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"finest is 2\.0 and noisiest 1\.0"):
        load_settings(PlugInSettings, finest=2.0, noisiest=1.0)
    both = RivalsSettings(tune={"colin27": 1}, scans=[tmp_path / "x.h5"], output=tmp_path / "run")
    with pytest.raises(InputError, match="tune: given with k-space files"):
        evaluate_rivals(both)
