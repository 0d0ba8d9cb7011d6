"""An exact laboratory in the shape of pictures: two classes of 4 x 4 pixels whose score and classifier are closed-form.

Each class is an equal mixture of two isotropic Gaussians of deviation 0.12 around flat patterns; a whole run of the
command is exact and takes a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skiagraph.data.labelled import LabelledImages
from skiagraph.diffusion import linear_table
from skiagraph.diffusion.oracle import MixtureDenoiser
from skiagraph.tasks.synthesize.kit import Guide, Kit
from skiagraph.tasks.synthesize.presets import filled
from skiagraph.tasks.synthesize.settings import SynthesizeSettings

__all__ = ["CLASSES", "DEVIATION", "Labelled", "kit", "mixture", "real_images", "settings"]

CLASSES = ("healthy", "ill")
DEVIATION = 0.12
TABLE = linear_table()


def mixture(channels: int = 1) -> MixtureDenoiser:
    """The exact denoiser: classes differ in the upper half of the picture, their components in the lower."""
    upper = torch.zeros(channels, 4, 4, dtype=torch.float64)
    lower = upper.clone()
    upper[:, :2], lower[:, 2:] = 1.0, 1.0
    upper, lower = upper / channels**0.5, lower / channels**0.5
    means = [-0.2 * upper - 0.1 * lower, -0.15 * upper + 0.15 * lower, 0.2 * upper + 0.1 * lower]
    means.append(0.15 * upper - 0.15 * lower)
    variances = torch.full((4,), DEVIATION**2, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1])
    return MixtureDenoiser(TABLE, torch.full((4,), 0.25).double(), torch.stack(means), variances, labels)


def kit(channels: int = 1, judge: bool = True, noisy: bool = True, seen: list[float] | None = None) -> Kit:
    """Prior, guide and judge that are exact; `seen` collects the times the guide is asked about."""
    exact = mixture(channels)

    def logits(x: Tensor, t: Tensor) -> Tensor:
        if seen is not None:
            seen.extend(torch.as_tensor(t).double().reshape(-1).tolist())
        return exact.logits(x.double(), t)

    guide = Guide("exact", logits, noisy, sha256="a" * 64)
    other = Guide("other", lambda x, t: exact.logits(x.double(), t), True, sha256="b" * 64)
    base = Labelled(exact)
    return Kit(
        base, (channels, 4, 4), CLASSES, (guide,), other if judge else None, True, name="laboratory", sha256="c" * 64
    )


class Labelled:
    """The exact denoiser, which takes label -1 for no label, as networks trained with label dropout do."""

    def __init__(self, exact: MixtureDenoiser) -> None:
        self.exact, self.calls = exact, 0

    @property
    def schedule(self) -> Any:
        return self.exact.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Any) -> Any:
        self.calls += x.shape[0]
        label = cond["label"]
        if not bool((label < 0).any()):
            return self.exact(x, t, {"label": label})
        given, free = self.exact(x, t, {"label": label.clamp(min=0)}), self.exact(x, t)
        chosen = (label < 0).reshape(-1, *[1] * (x.dim() - 1))
        return type(given)(torch.where(chosen, free.x0, given.x0))


def real_images(count: int = 40, channels: int = 1, seed: int = 0) -> LabelledImages:
    """Exact draws, as many of each class."""
    random = torch.Generator().manual_seed(seed)
    exact = mixture(channels)
    labels = torch.arange(count) % 2
    component = 2 * labels + torch.randint(0, 2, (count,), generator=random)
    noise = torch.randn(count, channels, 4, 4, generator=random, dtype=torch.float64)
    images = (exact.means[component] + DEVIATION * noise).clamp(-1, 1).float()
    names = tuple(f"{CLASSES[label]}/{number:03d}.png" for number, label in enumerate(labels.tolist()))
    return LabelledImages(images.numpy(), labels.numpy().astype(np.int64), CLASSES, names)


def settings(output: Path, **values: Any) -> SynthesizeSettings:
    """Filled settings of a small run."""
    given: dict[str, Any] = {"prior": Path("prior"), "output": output, "judge": Path("judge"), "twins": 0, **values}
    if given.get("mode") != "harden" and not {"per_class", "counts", "balance_to"} & set(given):
        given["per_class"] = 8
    if "classifier" not in given:
        given["classifier"] = [Path("guide")]
    return filled(SynthesizeSettings.model_validate(given))


def levels(rows: Sequence[Any]) -> list[str]:
    """Files of rows."""
    return [row["file"] for row in rows]
