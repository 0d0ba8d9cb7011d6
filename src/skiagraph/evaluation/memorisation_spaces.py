"""Where images are compared when copies are looked for: pixels, structural similarity, features; as is, flipped, moved.

A space turns images into something comparable and gives the distances of all pairs; a variant is a change of the image
that a copy may hide behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.evaluation.arrays import real_array
from skiagraph.evaluation.distribution import FeatureScale
from skiagraph.evaluation.features import Features

__all__ = ["FeatureSpace", "PixelSpace", "SimilaritySpace", "Space", "Variant", "image_variants", "reduced"]

WINDOW, SIGMA = 11, 1.5


@dataclass(frozen=True)
class Variant:
    """A change of images behind which a copy may hide.

    Args:
        name: e.g. "flipped left-right".
        apply: (N, C, H, W) to the same shape.
    """

    name: str
    apply: Callable[[NDArray[Any]], NDArray[Any]]


def image_variants(*, flips: bool = True, shift: int = 1) -> tuple[Variant, ...]:
    """The image itself, its three flips, and itself moved by `shift` pixels in the eight directions.

    Args:
        flips: look at flipped images too.
        shift: pixels, borders repeated; 0 for no moved images.
    """
    if shift < 0:
        raise ValueError(f"shift: found {shift}; allowed is 0 (no moved images) or more pixels.")
    found = [Variant("as it is", lambda images: images)]
    if flips:
        for name, axes in (("left-right", (3,)), ("upside down", (2,)), ("both ways", (2, 3))):
            found.append(Variant(f"flipped {name}", lambda images, axes=axes: np.flip(images, axes)))  # type: ignore[misc]
    if shift:
        moves = [(row, column) for row in (-shift, 0, shift) for column in (-shift, 0, shift) if row or column]
        for row, column in moves:
            found.append(Variant(f"moved {row:+d}, {column:+d}", lambda images, by=(row, column): _moved(images, by)))  # type: ignore[misc]
    return tuple(found)


def _moved(images: NDArray[Any], by: tuple[int, int]) -> NDArray[Any]:
    """Images (N, C, H, W) moved by whole pixels, borders repeated."""
    sides = [(max(step, 0), max(-step, 0)) for step in by]
    padded = np.pad(images, ((0, 0), (0, 0), *sides), mode="edge")
    height, width = images.shape[2:]
    return padded[:, :, sides[0][1] :, sides[1][1] :][:, :, :height, :width]


def reduced(images: ArrayLike, largest: int = 64) -> NDArray[np.float32]:
    """Images averaged down so that no side is longer than `largest`; smaller ones as they are.

    Args:
        images: (N, C, H, W).
        largest: pixels, >= 1.
    """
    import torch
    from torch.nn import functional

    array = real_array(images, "images").astype(np.float32)
    if array.ndim != 4:
        raise ValueError(f"images: found shape {array.shape}; allowed is (N, C, H, W).")
    if largest < 1:
        raise ValueError(f"largest: found {largest}; allowed is 1 or more pixels.")
    longest = max(array.shape[2:])
    if longest <= largest:
        return array
    height, width = (max(1, round(side * largest / longest)) for side in array.shape[2:])
    small: NDArray[np.float32] = functional.adaptive_avg_pool2d(torch.from_numpy(array), (height, width)).numpy()
    return small


class Space(Protocol):
    """Turns images into rows, and rows into distances of all pairs; anything with these members will do."""

    @property
    def name(self) -> str:
        """Name that figures carry."""
        ...

    @property
    def of_images(self) -> bool:
        """Whether a distance of 0 means equal images (pixels, structure), not just equal features."""
        ...

    def rows(self, images: NDArray[Any]) -> Any:
        """What `distances` compares, of images (N, C, H, W) around [-1, 1]."""
        ...

    def distances(self, queries: Any, reference: Any) -> NDArray[np.float64]:
        """(n, m), >= 0; 0 for equal rows."""
        ...


def _euclidean(queries: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """All distances by one matrix product; pairs so near that it cancels are taken again, exactly."""
    lengths = (queries**2).sum(1)[:, None] + (reference**2).sum(1)
    squares = np.maximum(lengths - 2 * queries @ reference.T, 0.0)
    for row, column in zip(*np.nonzero(squares <= 1e-6 * lengths), strict=True):
        squares[row, column] = ((queries[row] - reference[column]) ** 2).sum()
    found: NDArray[np.float64] = np.sqrt(squares)
    return found


@dataclass(frozen=True)
class PixelSpace:
    """Root mean square difference of pixels, black to white (-1 to 1) being 1."""

    name = "pixels"
    of_images = True

    def rows(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Images as vectors (N, d), scaled so that Euclidean distances are the differences."""
        flat: NDArray[np.float64] = images.reshape(len(images), -1).astype(np.float64)
        flat /= 2 * float(np.sqrt(flat.shape[1]))
        return flat

    def distances(self, queries: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, m) root mean square differences."""
        return _euclidean(queries, reference)


@dataclass(frozen=True)
class SimilaritySpace:
    """1 - SSIM: Gaussian windows of standard deviation 1.5 pixels inside the image, K1 0.01, K2 0.03, range 2.

    The windows are centred on every `step`-th pixel along each axis; with a step of 1 it is `fidelity.ssim` of the mean
    over channels. One matrix product for each window serves all pairs.

    Args:
        step: pixels between centres, >= 1.
    """

    step: int = 2
    name = "SSIM"
    of_images = True

    def rows(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Windows (P, N, 121), each value times the root of its weight; P counts places and channels."""
        if min(images.shape[2:]) < WINDOW:
            raise ValueError(f"images: found {images.shape[2:]} pixels; SSIM needs {WINDOW} or more along each axis.")
        views = np.lib.stride_tricks.sliding_window_view(images.astype(np.float32), (WINDOW, WINDOW), axis=(2, 3))
        places = views[:, :, :: self.step, :: self.step].reshape(len(images), -1, WINDOW**2)
        return np.ascontiguousarray(places.transpose(1, 0, 2) * _root_weights())

    def distances(self, queries: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, m) mean of 1 - SSIM over all windows; what single precision cannot tell from 0 is 0."""
        root, total = _root_weights(), np.zeros((queries.shape[1], reference.shape[1]))
        first, second = (0.01 * 2) ** 2, (0.03 * 2) ** 2
        for one, other in zip(queries, reference, strict=True):
            means, others = (one @ root)[:, None], other @ root
            products = means * others
            squares = means**2 + others**2
            energies = (one**2).sum(1)[:, None] + (other**2).sum(1) - squares
            luminance = (2 * products + first) / (squares + first)
            total += luminance * (2 * (one @ other.T - products) + second) / (energies + second)
        found = 1.0 - total / len(queries)
        return np.where(found < 2e-6, 0.0, found)


def _root_weights() -> NDArray[np.float32]:
    """(121,) roots of the window's Gaussian weights, which add up to 1."""
    line = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    weights = np.outer(line, line).ravel()
    roots: NDArray[np.float32] = np.sqrt(weights / weights.sum()).astype(np.float32)
    return roots


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Euclidean distance of named features, on the scale of the training images' features.

    Args:
        features: what turns images into vectors.
        scale: shift and factor that were fitted to the training images.
    """

    features: Features
    scale: FeatureScale
    of_images = False

    @classmethod
    def of(cls, features: Features, training: ArrayLike) -> FeatureSpace:
        """The space of some features, scaled by training images (N, C, H, W)."""
        return cls(features, FeatureScale.of(features(training)))

    @property
    def name(self) -> str:
        """That of the features."""
        return self.features.name

    def rows(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Features (N, d), scaled so that distances are root mean square over features."""
        scaled = self.scale(self.features(images))
        scaled /= float(np.sqrt(scaled.shape[1]))
        return scaled

    def distances(self, queries: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, m) Euclidean distances."""
        return _euclidean(queries, reference)
