"""The sets of the study: which crops, how many, and how long everything is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["CUT", "MORE", "NETWORKS", "SWEEPS", "Size", "quick", "sizes"]

SWEEPS = {  # name: mode, preset, images of each class, scales
    "default": ("harden", "default", 2, ("0", "2", "5", "10", "20")),
    "reference": ("harden", "reference", 2, ("0", "5", "30")),
    "pairs": ("two-stage", "default", 6, ("0", "1", "2", "5", "10", "20")),
}
NETWORKS = ("lenet", "alexnet", "vgg-11", "resnet-10", "resnet-18", "densenet", "efficientnet-b0", "senet")
NETWORKS = (*NETWORKS, "se-resnet", "vit")
CUT = {  # options of `samples organ-crops`
    "organs": (),
    "trunk-wall": ("--crops", "trunk-wall"),
    "coronal": ("--planes", "coronal"),
}
MORE: dict[str, tuple[str, ...]] = {  # of some sets: nothing pushed, the hardest of six draws kept
    "mined": ("--guide.measure", "log_odds_target", "--guide.scale", "0", "--candidates", "6"),
}


@dataclass(frozen=True)
class Size:
    """What differs between the study, its further sets and its trial."""

    folder: Path
    crops: str = "organs"
    every: int = 1
    lender: Path | None = None
    more: tuple[str, ...] = ()
    per_class: int = 25
    levels: tuple[str, ...] = ()
    prior: tuple[str, ...] = ()
    guide: tuple[str, ...] = ()
    judge: tuple[str, ...] = ()
    scale: float = 10.0
    networks: tuple[str, ...] = NETWORKS
    seeds: int = 5
    steps: int = 300
    batch: int = 32
    ratio: float = 0.5
    sweep: tuple[float, ...] = (0.25, 0.5)
    resamples: int = 2000
    sweeps: tuple[str, ...] = tuple(SWEEPS)


def quick() -> Size:
    """The smallest size that passes through every line."""
    small = ("--images", "64", "--warmup", "0", "--batch-size", "8")
    walk = ("--walk.levels", "6", "--flip-budget", "1", "--filter.no-reject")
    plain = Size(Path("runs/organs-quick"), every=5, per_class=4, levels=walk, prior=small, guide=small, judge=small)
    return replace(
        plain,
        networks=("lenet", "alexnet"),
        seeds=2,
        steps=5,
        ratio=0.2,
        sweep=(0.1,),
        resamples=100,
        sweeps=("default",),
    )


def sizes() -> dict[str, Size]:
    """The sets by name: eleven organs, the same from few crops; a second and a third set at a reduced size."""
    few = Size(Path("runs/organs-few"), every=5, lender=Path("runs/organs"), ratio=2.0)
    whole = Size(Path("runs/organs"), networks=("lenet", "vgg-11", "resnet-10", "vit"), seeds=3, sweep=())
    short = {name: ("--images", count) for name, count in (("prior", "50000"), ("guide", "30000"), ("judge", "20000"))}
    wall = replace(whole, folder=Path("runs/trunk-wall"), crops="trunk-wall", per_class=12, sweeps=(), **short)
    wall = replace(
        wall, more=tuple(MORE), levels=("--walk.eta", "1", "--precision", "bfloat16")
    )  # eta 0 leaves a quarter in noise
    part = replace(few, folder=Path("runs/trunk-wall-few"), crops="trunk-wall", lender=wall.folder, ratio=1.0, sweep=())
    part = replace(part, more=wall.more)
    front = replace(wall, folder=Path("runs/coronal"), crops="coronal")
    third = replace(part, folder=Path("runs/coronal-few"), crops="coronal", lender=front.folder)
    named = (few, whole, wall, part, front, third)
    return {size.folder.name: size for size in named}
