"""The real images beside a run: read at the prior's size, in the prior's order of classes, one side of the split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from skiagraph.data.labelled import LabelledImages, read_labelled
from skiagraph.data.labelled_split import read_image_split
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.synthesize.kit import Kit
from skiagraph.tasks.synthesize.settings import SynthesizeSettings
from skiagraph.training.order import derive_seed

__all__ = ["hardening_sources", "read_real"]


def read_real(settings: SynthesizeSettings, kit: Kit) -> LabelledImages | None:
    """The real images that settings name; None where they name none. Other classes than the prior's are refused."""
    if settings.real is None:
        return None
    rules, (channels, *size) = settings.real_data, kit.shape
    if rules.window is not None and kit.window is not None and rules.window != kit.window:
        raise InputError(
            f"real_data.window: found {rules.window}, but {kit.name!r} was trained on {kit.window}; leave it out"
        )
    try:
        found = read_labelled(
            settings.real,
            size=(size[0], size[1]),
            channels=cast("object", channels),  # type: ignore[arg-type]  # 1 or 3 since the kit was loaded
            table=rules.table,
            classes=kit.classes,
            columns=rules.columns,
            window=rules.window or kit.window,
            fit=rules.fit,
            least=0,
            duplicates="allow",
        )
    except InputError as error:
        raise InputError(f"real: {settings.real} does not go with the prior {kit.name!r}: {error}") from None
    if rules.split is not None:
        found = read_image_split(rules.split, found).side(rules.side)
        return _some(found, [True] * len(found), settings)
    if found.sides is not None:
        return _some(found, [side == rules.side for side in found.sides], settings)
    return _some(found, [True] * len(found), settings)


def _some(found: LabelledImages, chosen: Sequence[bool], settings: SynthesizeSettings) -> LabelledImages:
    if sum(chosen) < 2:
        raise DataError(
            f"real: {settings.real} has {sum(chosen)} images on side {settings.real_data.side!r}; 2 are needed"
        )
    return found.select(np.asarray(chosen))


def hardening_sources(
    real: LabelledImages, classes: Sequence[str], class_map: dict[str, str] | None, seed: int
) -> tuple[tuple[tuple[int, int], ...], ...]:
    """(place, class) of the real images that lead to each label, in an order that seed and names decide.

    Args:
        real: the images, in the prior's order of classes.
        classes: names.
        class_map: class of the source -> label of the result; classes left out keep theirs.
        seed: of the run.
    """
    mapping = class_map or {}
    unknown = sorted({*mapping, *mapping.values()} - set(classes))
    if unknown:
        raise InputError(f"class_map: found {', '.join(unknown)}; the prior's classes are {', '.join(classes)}")
    leads = [list(classes).index(mapping.get(name, name)) for name in classes]
    order = sorted(range(len(real)), key=lambda place: derive_seed("skiagraph-source", seed, real.names[place]))
    found: list[list[tuple[int, int]]] = [[] for _ in classes]
    for place in order:
        label = int(real.labels[place])
        found[leads[label]].append((place, label))
    return tuple(tuple(places) for places in found)
