"""The tuner keeps what does best on the slices it is given, and says what it tried."""

from __future__ import annotations

import torch

from helpers.tiny_scans import phantom_slices
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.schedule import EDM
from skiagraph.diffusion.streams import Streams
from skiagraph.tasks.reconstruct.rivals.figures import score
from skiagraph.tasks.reconstruct.rivals.plug_in import PlugIn
from skiagraph.tasks.reconstruct.rivals.settings import PlugInSettings
from skiagraph.tasks.reconstruct.rivals.tuner import candidates, tune_plug_in
from skiagraph.tasks.reconstruct.scan import PreparedScan


def gaussian(schedule: EDM, scan: PreparedScan, streams: Streams) -> GaussianDenoiser:
    return GaussianDenoiser(schedule, torch.zeros(1), torch.full((1,), 0.25**2))


def test_the_best_of_all_trials_is_kept() -> None:
    slices = phantom_slices()
    rival = PlugIn("x", "diffpir", gaussian, PlugInSettings(steps=3, strength=100.0, eta=0.5), samples=1)
    found = tune_plug_in(rival, slices)
    scores = [trial["psnr_db"] for trial in found.tried]
    chosen = max(found.tried, key=lambda trial: trial["psnr_db"])
    assert found.rival.settings.model_dump() == {k: v for k, v in chosen.items() if k != "psnr_db"}
    assert max(scores) > scores[0]
    again = score(found.rival(slices.scan, slices.names).images, slices.truth, slices.head)["psnr_db"].mean()
    assert round(float(again), 3) == max(scores)
    assert found.record()["chosen"] == found.rival.settings.model_dump()
    assert len(found.tried) > 5


def test_only_numbers_that_matter_are_tried() -> None:
    def names(method: str) -> list[str]:
        return [name for name, _ in candidates(PlugIn("x", method, gaussian, PlugInSettings()))]  # type: ignore[arg-type]

    assert names("ddnm") == ["noisiest", "eta", "finest", "steps"]
    assert names("dps")[0] == names("pigdm")[0] == names("diffpir")[0] == "strength"


def test_numbers_that_contradict_each_other_are_passed_over() -> None:
    settings = PlugInSettings(steps=2, noisiest=0.04, finest=0.03, eta=0.5)
    rival = PlugIn("x", "ddnm", gaussian, settings, samples=1)
    tried = tune_plug_in(rival, phantom_slices()).tried
    assert all(trial["finest"] < trial["noisiest"] for trial in tried)
