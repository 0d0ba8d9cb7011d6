"""Before the work: do the source's structures look, to the maps, like those that the prior learned from?

The zero-shot argument is that maps of mutual information are the same whichever modality shows an anatomy. The self
map of each source slice is compared with those of target slices: by the distance of their histograms always, and by
correlation where a registered pair exists. A self map hardly tells structure from disorder, since any patch tells all
about itself; so the same is done with what a patch tells about its neighbour beyond chance. The range of target slices
that were kept out of training says what is usual. The idea is that of the papers' CSLMI score; the formula is ours.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.errors import DataError, InputError
from skiagraph.similarity import LocalInformation, SimilarityMap
from skiagraph.tasks.translate.method import SourceStack

__all__ = [
    "FILE",
    "Translatability",
    "TranslatabilityRange",
    "map_correlation",
    "map_histograms",
    "neighbour_histograms",
    "picture",
    "self_maps",
]

FILE = "translatability.json"
"""Name of the range in a prior's folder."""

_BINS = 64
_LEAST = 100
_NEIGHBOUR = LocalInformation(radius=0, debias=True)


def self_maps(measure: SimilarityMap, unit: Tensor, mask: Tensor | None = None, batch: int = 16) -> Tensor:
    """S(u, u) of slices (N, 1, H, W) in [0, 1], averaged over channels, without gradient."""
    with torch.no_grad():
        parts = [measure(part, part).mean(1, keepdim=True) for part in torch.split(unit, batch)]
    maps = torch.cat(parts)
    return maps if mask is None else torch.where(mask, maps, 0.0)


def map_correlation(measure: SimilarityMap, first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """Correlation of the self maps of two registered sets of slices in [0, 1], per slice (N,), over the mask."""
    found = []
    maps = [self_maps(measure, part).double() for part in (first, second)]
    chosen = torch.ones_like(maps[0], dtype=torch.bool) if mask is None else mask.expand_as(maps[0])
    for one, other, inside in zip(*maps, chosen, strict=True):
        pair = torch.stack([one[inside], other[inside]])
        found.append(torch.corrcoef(pair)[0, 1])
    return torch.stack(found)


def map_histograms(measure: SimilarityMap, unit: Tensor, mask: Tensor) -> tuple[NDArray[np.float64], list[int]]:
    """Histograms (n, 64) over the mask of the self maps, and the numbers of the slices: those with at least 100 pixels.

    Args:
        measure: the prior's similarity.
        unit: (N, 1, H, W) in [0, 1].
        mask: (N, 1, H, W) bool.
    """
    low, high = measure.range
    rows, which = [], []
    for number in range(len(unit)):
        inside = mask[number, 0]
        if int(inside.sum()) < _LEAST:
            continue
        values = self_maps(measure, unit[number : number + 1])[0, 0][inside].numpy()
        counts, _ = np.histogram(values, _BINS, (low, high))
        rows.append(counts / max(counts.sum(), 1))
        which.append(number)
    if not rows:
        raise InputError(f"mask: no slice has {_LEAST} foreground pixels; nothing can be said about this scan.")
    return np.stack(rows), which


def neighbour_histograms(unit: Tensor, mask: Tensor) -> NDArray[np.float64]:
    """Histograms (n, 64) on [-1, 1] of I(u, u moved by one pixel) less what the same values in another order give.

    Args:
        unit: (N, 1, H, W) in [0, 1].
        mask: (N, 1, H, W) bool; slices with fewer than 100 pixels are left out, as in `map_histograms`.
    """
    rows = []
    for number in range(len(unit)):
        image, inside = unit[number : number + 1], mask[number : number + 1]
        if int(inside.sum()) < _LEAST:
            continue
        values = []
        for axis in (2, 3):
            both = inside & torch.roll(inside, 1, axis)
            values.append(_NEIGHBOUR(image, torch.roll(image, 1, axis), both)[both])
        counts, _ = np.histogram(torch.cat(values).numpy(), _BINS, (-1, 1))
        rows.append(counts / max(counts.sum(), 1))
    return np.stack(rows)


def _distances(rows: NDArray[np.float64], pooled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row's Wasserstein distance to the pooled histogram, as a share of the map's range."""
    from scipy.stats import wasserstein_distance

    places = (np.arange(_BINS) + 0.5) / _BINS
    return np.array([wasserstein_distance(places, places, row, pooled) for row in rows])


@dataclass(frozen=True)
class Translatability:
    """What the check says.

    Args:
        distance: median over the slices of the histogram distance, as a share of the map's range.
        usual: (2.5 %, 97.5 %) of the distance of single target slices kept out of training.
        outside: share of the source's slices beyond the upper end of this or of `structure_usual`.
        plausible: whether at most half of the slices lie beyond it.
        distances: of every slice looked at.
        slices: their numbers.
        histogram: of the source's self maps, 64 shares.
        target_histogram: of the training slices'.
        structure_distances, structure_usual: the same of what patches tell about their neighbours; None for old priors.
    """

    distance: float
    usual: tuple[float, float]
    outside: float
    plausible: bool
    distances: tuple[float, ...]
    slices: tuple[int, ...]
    histogram: tuple[float, ...]
    target_histogram: tuple[float, ...]
    structure_distances: tuple[float, ...] | None = None
    structure_usual: tuple[float, float] | None = None

    @property
    def warning(self) -> str | None:
        """One sentence where the source is not like the target; None where it is."""
        if self.plausible:
            return None
        return (
            f"translatability: {self.outside:.0%} of the source's slices have self maps or a structure unlike those of "
            f"the target (median distance {self.distance:.3f}; target slices reach {self.usual[1]:.3f}"
            f"{self._structure}): what the prior knows may not hold here, so check the result against the source with "
            "its consistency map"
        )

    @property
    def _structure(self) -> str:
        if self.structure_distances is None or self.structure_usual is None:
            return ""
        return f"; structure {np.median(self.structure_distances):.3f}, target slices {self.structure_usual[1]:.3f}"

    def record(self) -> dict[str, object]:
        """For `run.json`."""
        structure: dict[str, object] = {}
        if self.structure_distances is not None and self.structure_usual is not None:
            structure["structure_distance"] = round(float(np.median(self.structure_distances)), 5)
            structure["structure_usual_95_percent"] = [round(end, 5) for end in self.structure_usual]
        return {
            "distance": round(self.distance, 5),
            "usual_95_percent": [round(end, 5) for end in self.usual],
            **structure,
            "share_of_slices_outside": round(self.outside, 3),
            "plausible": self.plausible,
        }


@dataclass(frozen=True)
class TranslatabilityRange:
    """What is usual for the target modality; stored in the prior's folder.

    Args:
        measure: name of the similarity, for records.
        histogram: pooled over training slices, 64 shares.
        usual: 2.5 % and 97.5 % of the distances of target slices kept out of training.
        slices: how many those were.
        structure, structure_usual: the same of what patches tell about their neighbours; None in old ranges.
    """

    measure: str
    histogram: tuple[float, ...]
    usual: tuple[float, float]
    slices: int
    structure: tuple[float, ...] | None = None
    structure_usual: tuple[float, float] | None = None

    @classmethod
    def fit(
        cls,
        name: str,
        measure: SimilarityMap,
        training: tuple[Tensor, Tensor],
        held_out: tuple[Tensor, Tensor],
    ) -> TranslatabilityRange:
        """From slices in [0, 1] and masks, (N, 1, H, W) each: of training, and kept out of it (at least 8)."""
        rows, _ = map_histograms(measure, *training)
        pooled = rows.mean(0)
        others, which = map_histograms(measure, *held_out)
        if len(which) < 8:
            raise InputError(f"held_out: found {len(which)} usable slices; a range needs at least 8.")
        near = neighbour_histograms(*training).mean(0)
        ends = [
            tuple(np.quantile(_distances(rows, middle), [0.025, 0.975]).tolist())
            for rows, middle in ((others, pooled), (neighbour_histograms(*held_out), near))
        ]
        return cls(name, tuple(pooled.tolist()), ends[0], len(which), tuple(near.tolist()), ends[1])

    def check(self, measure: SimilarityMap, source: SourceStack) -> Translatability:
        """How far the source's self maps are from the target's."""
        rows, which = map_histograms(measure, source.unit, source.mask)
        distances = _distances(rows, np.asarray(self.histogram))
        beyond, structure = distances > self.usual[1], None
        if self.structure is not None and self.structure_usual is not None:
            apart = _distances(neighbour_histograms(source.unit, source.mask), np.asarray(self.structure))
            beyond, structure = beyond | (apart > self.structure_usual[1]), tuple(apart.tolist())
        outside = float(beyond.mean())
        return Translatability(
            float(np.median(distances)),
            self.usual,
            outside,
            outside <= 0.5,
            tuple(distances.tolist()),
            tuple(which),
            tuple(rows.mean(0).tolist()),
            self.histogram,
            structure,
            self.structure_usual,
        )

    def save(self, folder: Path) -> Path:
        """Write `translatability.json`."""
        from skiagraph.data.files import write_whole

        write_whole(folder / FILE, (json.dumps(asdict(self), indent=1) + "\n").encode())
        return folder / FILE

    @classmethod
    def load(cls, folder: Path) -> TranslatabilityRange | None:
        """Read it from a prior's folder; None where the prior has none."""
        path = folder / FILE
        if not path.exists():
            return None
        try:
            stated = json.loads(path.read_text(encoding="utf-8"))
            found = cls(
                str(stated["measure"]),
                tuple(float(share) for share in stated["histogram"]),
                (float(stated["usual"][0]), float(stated["usual"][1])),
                int(stated["slices"]),
                _shares(stated.get("structure")),
                _shares(stated.get("structure_usual")),  # type: ignore[arg-type]
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"{path}: not the range of a prior ({error}); train the prior again") from error
        for shares in (found.histogram, found.structure):
            if shares is not None and len(shares) != _BINS:
                raise DataError(f"{path}: its histogram has {len(shares)} bins; {_BINS} are needed")
        return found


def _shares(stated: list[float] | None) -> tuple[float, ...] | None:
    return None if stated is None else tuple(float(share) for share in stated)


def picture(found: Translatability, measure: SimilarityMap, source: SourceStack) -> bytes:
    """PNG: the self map of a middle slice, both histograms, and every slice's distances with the usual ranges."""
    import io

    from matplotlib.figure import Figure

    number = found.slices[len(found.slices) // 2]
    shown = self_maps(measure, source.unit[number : number + 1], source.mask[number : number + 1])[0, 0].numpy()
    figure = Figure(figsize=(11, 3), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.imshow(shown, cmap="magma", origin="lower")
    left.set_title(f"self map, slice {number}")
    left.axis("off")
    places = np.linspace(*measure.range, _BINS)
    middle.plot(places, found.target_histogram, label="target, training")
    middle.plot(places, found.histogram, label="this source")
    middle.set_xlabel("self map")
    middle.set_yscale("symlog", linthresh=1e-3)
    middle.legend()
    right.plot(found.slices, found.distances, "C0", label="self maps")
    right.axhspan(*found.usual, alpha=0.2, color="C0", label="95 % of target slices")
    if found.structure_distances is not None and found.structure_usual is not None:
        right.plot(found.slices, found.structure_distances, "C1", label="structure")
        right.axhspan(*found.structure_usual, alpha=0.2, color="C1")
    right.set_xlabel("slice")
    right.set_ylabel("histogram distance")
    right.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
