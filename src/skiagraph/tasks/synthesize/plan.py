"""Which images are to be drawn: how many of each class, in which order, with which seed, from which source."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from skiagraph.errors import DataError, InputError
from skiagraph.training.order import derive_seed

__all__ = ["Item", "Plan", "Tally", "wanted_counts"]


@dataclass(frozen=True)
class Item:
    """One image to be drawn.

    Args:
        label: index of its class in the prior's order.
        number: of the image in its class, 0, 1, ...
        seed: of its random stream: a function of the run's seed, the class's name and the number, nothing else.
        source: place of the real image it starts from; None for noise.
        source_label: class of that image.
        twin: whether its unpushed twin is drawn as well.
    """

    label: int
    number: int
    seed: int
    source: int | None = None
    source_label: int | None = None
    twin: bool = False


@dataclass
class Tally:
    """What became of the images of a class."""

    drawn: int = 0
    kept: int = 0


@dataclass(frozen=True, eq=False)
class Plan:
    """How many images of each class are wanted, and how to draw more until they are there.

    Args:
        classes: names in the prior's order.
        wanted: images to be kept of each class; None: every source once.
        seed: of the run.
        first: number of the first image of each class.
        attempts: images drawn at most for each one wanted.
        sources: for hardening, (place, class) of the real images that lead to each label; else None.
        repeat: whether a source may be used again (the walk draws noise).
        twins: images with an unpushed twin.
    """

    classes: tuple[str, ...]
    wanted: tuple[int, ...] | None
    seed: int
    first: int = 0
    attempts: float = 3.0
    sources: tuple[tuple[tuple[int, int], ...], ...] | None = None
    repeat: bool = False
    twins: int = 0
    _spread: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        asked = sum(1 for label in range(len(self.classes)) if self.target(label))
        object.__setattr__(self, "_spread", max(asked, 1))
        if self.sources is not None and self.wanted is not None and not self.repeat:
            for label, name in enumerate(self.classes):
                if self.wanted[label] > len(self.sources[label]) - self.first:
                    raise InputError(
                        f"{self.wanted[label]} images of {name!r} are wanted, but only {len(self.sources[label])} real "
                        "images lead to it, and each gives one image. Ask for fewer, set walk.eta above 0 or "
                        "walk.inversion to noised, or draw from noise (mode two-stage)"
                    )

    def target(self, label: int) -> int:
        """Images to be kept of a class."""
        if self.wanted is not None:
            return self.wanted[label]
        return max(0, len(self.sources[label]) - self.first) if self.sources is not None else 0

    def limit(self, label: int) -> int:
        """Images drawn at most of a class."""
        if self.wanted is None:
            return self.target(label)
        most = math.ceil(self.attempts * self.target(label))
        if self.sources is None or self.repeat:
            return most
        return min(most, len(self.sources[label]) - self.first)

    def item(self, label: int, number: int) -> Item:
        """Image `number` of a class."""
        source, source_label = None, None
        if self.sources is not None:
            source, source_label = self.sources[label][number % len(self.sources[label])]
        order = (number - self.first) * self._spread + sum(1 for other in range(label) if self.target(other))
        seed = derive_seed("skiagraph-synthesize", self.seed, self.classes[label], number)
        return Item(label, number, seed, source, source_label, order < self.twins)

    def round(self, done: Mapping[int, Tally]) -> list[Item]:
        """The images to be drawn next, given what became of those drawn; none when every quota is filled or spent.

        A function of the verdicts alone: neither the size of a batch nor an interruption changes what is drawn.
        """
        return sorted(self._next(done), key=lambda item: (item.number, item.label))

    def _next(self, done: Mapping[int, Tally]) -> Iterator[Item]:
        for label in range(len(self.classes)):
            tally = done.get(label, Tally())
            missing = self.target(label) - (tally.kept if self.wanted is not None else tally.drawn)
            start = self.first + tally.drawn
            stop = self.first + min(tally.drawn + max(missing, 0), self.limit(label))
            yield from (self.item(label, number) for number in range(start, stop))


def wanted_counts(
    classes: Sequence[str],
    *,
    per_class: int | None = None,
    counts: Mapping[str, int] | None = None,
    balance_to: int | None = None,
    real: Mapping[str, int] | None = None,
) -> tuple[int, ...] | None:
    """Images wanted of each class; None where no number was given.

    Args:
        classes: names in the prior's order.
        per_class: so many of each.
        counts: so many by name; classes not named get none.
        balance_to: this number less the real images of the class.
        real: real images by class name, for `balance_to`.
    """
    if per_class is not None:
        return (per_class,) * len(classes)
    if counts is not None:
        unknown = sorted(set(counts) - set(classes))
        if unknown:
            raise InputError(f"counts: found {', '.join(unknown)}; the prior's classes are {', '.join(classes)}")
        return tuple(int(counts.get(name, 0)) for name in classes)
    if balance_to is None:
        return None
    wanted = tuple(max(0, balance_to - int((real or {}).get(name, 0))) for name in classes)
    if not any(wanted):
        raise DataError(f"balance_to: every class has {balance_to} real images or more; nothing is to be drawn")
    return wanted
