"""The row that no claim is credible without: intensity inside the foreground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from skiagraph.diffusion import Streams
from skiagraph.tasks.segment.rivals.interface import RivalMap, checked_images

__all__ = ["MaskedIntensity"]

Direction = Literal["bright", "dark", "either"]


@dataclass(frozen=True)
class MaskedIntensity:
    """Intensity itself, its negative, or its distance from the median of the foreground.

    Args:
        direction: which lesions are looked for.
        air: what is at most this far above -1 is no foreground.
    """

    direction: Direction = "bright"
    air: float = 0.08

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction):
            raise ValueError(f"direction: found {self.direction!r}; allowed {', '.join(get_args(Direction))}.")

    def __call__(self, images: Tensor, streams: Streams) -> RivalMap:
        """Maps in units of the image; no network is asked."""
        values = checked_images(images)[:, 0]
        inside = values > -1 + self.air
        maps = values.clone()
        for number, (one, chosen) in enumerate(zip(values, inside, strict=True)):
            middle = one[chosen].median() if bool(chosen.any()) else one.median()
            signed = one - middle
            signed = signed if self.direction == "bright" else -signed if self.direction == "dark" else signed.abs()
            lowest = signed[chosen].min() if bool(chosen.any()) else signed.min()
            maps[number] = signed.masked_fill(~chosen, float(lowest))
        return RivalMap(maps, 0.0)
