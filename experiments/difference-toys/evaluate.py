"""Score maps of the toy priors, setting by setting: the table of methods/conditional-difference.md, 13.3, and more.

python experiments/difference-toys/evaluate.py --priors runs/difference-toys --output experiments/difference-toys
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from phantoms import KINDS, Phantoms, draw_phantoms
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu
from sklearn.metrics import average_precision_score
from tables import write_results
from torch import Tensor
from train import CONFIG, denoiser_of

from skiagraph.diffusion import Streams
from skiagraph.diffusion.difference import (
    AveragePlan,
    ConditionPair,
    TrajectoryPlan,
    average_difference,
    trajectory_map,
)
from skiagraph.networks import UNet

__all__ = ["main"]

LEVELS = (50, 100, 150, 200, 300, 400)
Maps = NDArray[np.float64]


class Toy:
    """A trained toy prior and its evaluation set: 40 heads with a lesion, then 40 without."""

    def __init__(self, folder: Path, kind: str) -> None:
        network = UNet(CONFIG)
        network.load_state_dict(load_file(str(folder / f"{kind}.safetensors")))
        network.eval().requires_grad_(False)
        self.denoiser = denoiser_of(network)
        rows = network.class_embedding(torch.tensor([1, 0]))
        self.pair = ConditionPair(rows[0], rows[1])
        labels = np.array([1] * 40 + [0] * 40)
        self.data: Phantoms = draw_phantoms(np.random.RandomState(77), labels, kind)
        self.images = torch.from_numpy(self.data.images)

    def walk(self, level: int, steps: int = 10, tau: float = 0.95, seeds: int = 1, absolute: bool = False) -> Maps:
        """The released map without clamp, first called at Q: mean over seeds, one noise tensor a seed."""
        plan = TrajectoryPlan(level=level, steps=steps, tau=tau, absolute=absolute, clamp=False, first_call="at")
        total: Tensor = torch.zeros(80, 1, 16, 16)
        for seed in range(seeds):
            noise = torch.randn(self.images.shape, generator=torch.Generator().manual_seed(seed))
            total = total + trajectory_map(self.denoiser, self.pair, self.images, noise, plan).maps
        return (total / seeds)[:, 0].double().numpy()

    def average(self, seeds: int = 4, levels: Sequence[int] = LEVELS, **changes: Any) -> Maps:
        """The library's own map at shared noisy states."""
        table = self.denoiser.schedule
        rho = tuple(float((1 / table.alpha_bar[level] - 1) ** 0.5) for level in levels)  # type: ignore[attr-defined]
        plan = AveragePlan(levels=rho, seeds=seeds, batch=80, **changes)
        found = average_difference(self.denoiser, self.pair, self.images, plan, Streams(range(80)))
        return found.maps[:, 0].double().numpy()

    def score(self, maps: Maps) -> dict[str, float]:
        """AP pooled over the lesion images, oracle Dice (a diagnostic), Otsu's Dice and painted share."""
        masks = self.data.masks[:40]
        precision = float(average_precision_score(masks.ravel(), maps[:40].ravel()))
        oracle, otsu = [], []
        for found, mask in zip(maps[:40], masks, strict=True):
            levels = np.quantile(found, np.linspace(0.5, 0.995, 60))
            oracle.append(max(_dice(found > level, mask) for level in levels))
            otsu.append(_dice(found > threshold_otsu(found), mask))
        painted = [float((found > threshold_otsu(found)).mean()) for found in maps]
        inside = [_false_share(maps, self.data.heads)]
        return {
            "ap": precision,
            "oracle_dice": float(np.mean(oracle)),
            "otsu_dice": float(np.mean(otsu)),
            "otsu_painted": float(np.mean(painted)),
            "normal_share": inside[0],
        }


def _dice(found: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    return 2 * float((found & mask).sum()) / max(float(found.sum() + mask.sum()), 1)


def _false_share(maps: Maps, heads: NDArray[np.bool_], area: float = 0.01, delta: float = 0.1) -> float:
    """Threshold on 20 normals, share of the 20 others with more than `area` of the head above it."""
    shares = []
    for first, second in ((range(40, 60), range(60, 80)), (range(60, 80), range(40, 60))):
        limits = sorted(float(np.quantile(maps[n][heads[n]], 1 - area)) for n in first)
        rank = int(np.ceil((len(limits) + 1) * (1 - delta)))
        theta = limits[rank - 1]
        shares += [float((maps[n][heads[n]] > theta).mean() > area) for n in second]
    return float(np.mean(shares))


def _settings(toy: Toy) -> dict[str, Callable[[], Maps]]:
    smooth: Callable[[Maps], Maps] = lambda maps: gaussian_filter(maps, (0, 0.6, 0.6))  # noqa: E731
    images = toy.data.images[:, 0].astype(np.float64)
    rows: dict[str, Callable[[], Maps]] = {"raw intensity": lambda: images}
    rows |= {f"walk Q={q}": lambda q=q: toy.walk(q) for q in (20, 50, 100, 200, 400)}
    rows |= {f"walk Q={q} absolute": lambda q=q: toy.walk(q, absolute=True) for q in (20, 50, 100, 200, 400)}
    rows |= {"walk Q=50 flipped sign": lambda: -toy.walk(50)}
    rows |= {f"walk Q=200 R={r}": lambda r=r: toy.walk(200, r) for r in (1, 5, 20)}
    rows |= {f"walk Q=200 tau={tau}": lambda tau=tau: toy.walk(200, tau=tau) for tau in (0.0, 0.5, 0.9, 0.99)}
    rows |= {f"walk Q=200 seeds={n}": lambda n=n: toy.walk(200, seeds=n) for n in (4, 8)}
    spread = "walk 6 levels x 4 seeds R=1"
    rows |= {spread: lambda: sum(toy.walk(q, 1, seeds=4) for q in LEVELS)}  # type: ignore[dict-item,return-value]
    rows |= {f"{spread}, smoothed": lambda: smooth(rows[spread]())}
    rows |= {
        "jvp 6 levels x 4 seeds, native": lambda: toy.average(weights="native"),
        "jvp 6 levels x 4 seeds, uniform": lambda: toy.average(),
        "jvp, native, smoothed": lambda: smooth(toy.average(weights="native")),
        "difference tau=0, native": lambda: toy.average(tau=0.0, weights="native"),
        "jvp, absolute, native": lambda: toy.average(weights="native", sign="absolute"),
        "jvp, evidence, snr": lambda: toy.average(weights="snr", sign="evidence"),
        "jvp, evidence, uniform": lambda: toy.average(sign="evidence"),
        "difference tau=0, evidence, snr": lambda: toy.average(tau=0.0, weights="snr", sign="evidence"),
        "difference tau=0, evidence, uniform": lambda: toy.average(tau=0.0, sign="evidence"),
        "difference tau=0, evidence, snr, smoothed": lambda: smooth(
            toy.average(tau=0.0, weights="snr", sign="evidence")
        ),
        "difference tau=0, evidence, uniform, smoothed": lambda: smooth(toy.average(tau=0.0, sign="evidence")),
    }
    return rows


def main() -> None:
    """Score every setting on both toys and write results.json and RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--priors", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    file = arguments.output / "results.json"  # a run that was stopped goes on where it was
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for kind in arguments.kinds:
        toy = Toy(arguments.priors, kind)
        entry = results.setdefault(kind, {"chance": float(toy.data.masks[:40].mean()), "settings": {}})
        for name, make in _settings(toy).items():
            if name in entry["settings"]:
                continue
            entry["settings"][name] = toy.score(make())
            print(kind, name, {key: round(value, 3) for key, value in entry["settings"][name].items()}, flush=True)
            file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    write_results(results, arguments.output / "RESULTS.md")


if __name__ == "__main__":
    main()
