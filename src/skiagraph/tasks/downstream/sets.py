"""The labelled sets of a study: real images to train on and to test on, synthetic sets with the same classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.labelled import LabelledImages, read_labelled
from skiagraph.data.labelled_split import read_image_split
from skiagraph.data.labelled_table import read_column
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.downstream.settings import DownstreamSettings

__all__ = ["StudySets", "read_study_sets", "shared_patients"]


@dataclass(frozen=True)
class StudySets:
    """What a study trains and tests on.

    Args:
        real: images to train on.
        test: images to test on; no patient of `real` is among them.
        synthetic: sets by the name of their arm, classes in the order of `real`.
        subgroups: value of a column -> (N,) which test images carry it; empty where none was asked for.
    """

    real: LabelledImages
    test: LabelledImages
    synthetic: Mapping[str, LabelledImages]
    subgroups: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the labels."""
        return self.real.classes


def read_study_sets(settings: DownstreamSettings) -> StudySets:
    """Read all sets; other classes or sizes, shared patients and test images among what is trained on are refused."""
    whole = read_labelled(
        settings.real, size=settings.shape, channels=settings.channels, window=settings.window, duplicates="allow"
    )
    real, test = _sides(whole, settings)
    for name, part in (("real", real), ("test", test)):
        lacking = [label for label, count in part.counts.items() if count == 0]
        if lacking:
            raise DataError(f"{name}: no image of class {lacking[0]!r}; every class needs one on each side")
    synthetic = {name: _synthetic(name, place, real, settings) for name, place in settings.synthetic.items()}
    tested = _pictures(test)
    for name, found in {"real": real, **{f"synthetic.{name}": found for name, found in synthetic.items()}}.items():
        for picture, image in _pictures(found).items():
            if picture in tested:
                raise DataError(
                    f"{name}: {image} equals the test image {tested[picture]} in every pixel; what classifiers are "
                    "tested on must not be trained on. Remove it from one of the two, or test on other images"
                )
    return StudySets(real, test, synthetic, _subgroups(test, settings))


def _subgroups(test: LabelledImages, settings: DownstreamSettings) -> dict[str, NDArray[np.bool_]]:
    """Which test images carry each value of the column that settings name."""
    if settings.subgroup is None:
        return {}
    try:
        column = read_column(settings.test or settings.real, settings.subgroup)
        values = np.array([column[name.partition("#")[0]] for name in test.names])
    except DataError as error:
        raise DataError(f"subgroup: {error}") from None
    except KeyError as error:
        raise DataError(f"subgroup: no row of the table names the test image {error}") from None
    return {value: values == value for value in sorted(set(values.tolist()))}


def shared_patients(sets: StudySets) -> tuple[str, ...]:
    """A warning where an external test set names patients of the training set: other people, or a leak."""
    shared = sorted(set(sets.real.patients or ()) & set(sets.test.patients or ()))
    if not shared:
        return ()
    return (
        f"{len(shared)} patients of the test set bear names of the training set, such as {shared[0]!r}: unless they "
        "are other people, the test is not independent.",
    )


def _pictures(found: LabelledImages) -> dict[bytes, str]:
    """Names of images by their grey levels of 8 bits; images of one grey level, of which many are alike, left out."""
    levels = np.rint((found.images + 1) * 127.5).astype(np.uint8)
    return {level.tobytes(): name for level, name in zip(levels, found.names, strict=True) if np.ptp(level) > 0}


def _sides(whole: LabelledImages, settings: DownstreamSettings) -> tuple[LabelledImages, LabelledImages]:
    """Training and test images, by a split file, by the data's own sides, or by two places."""
    if settings.split is not None:
        split = read_image_split(settings.split, whole)
        real, inside = split.side("train"), split.side("test")
    elif whole.sides is not None:
        sides = np.array(whole.sides)
        real, inside = whole.select(sides == "train"), whole.select(sides == "test")
    else:
        real, inside = whole, whole.select([])
    if settings.test is None:
        if len(inside) == 0:
            raise InputError("test: nothing says which images to test on; give `test`, `split`, or data with sides")
        return real, inside
    test = read_labelled(
        settings.test,
        size=settings.shape or whole.size,
        channels=1 if whole.channels == 1 else 3,
        classes=whole.classes,
        window=settings.window,
        least=1,
        duplicates="allow",
    )
    if test.sides is not None and "test" in test.sides:
        test = test.select(np.array(test.sides) == "test")
    return real, test


def _synthetic(name: str, place: Path, real: LabelledImages, settings: DownstreamSettings) -> LabelledImages:
    try:
        found = read_labelled(
            place,
            size=settings.shape,
            channels=1 if real.channels == 1 else 3,
            classes=real.classes,
            least=0,
            duplicates="allow",
        )
    except InputError as error:
        raise InputError(f"synthetic.{name}: {place} does not go with the real images: {error}") from None
    if found.images.shape[1:] != real.images.shape[1:]:
        raise InputError(
            f"synthetic.{name}: images are {found.images.shape[1:]} (channels, rows, columns), the real ones "
            f"{real.images.shape[1:]}; give `size`, or synthesize at that size"
        )
    return found
