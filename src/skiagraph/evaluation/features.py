"""Features of images that need no download: random convolutions, and principal components of patches or whole images.

What a distance on them means is decided here, so each has a name with a version, and a figure never goes without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.evaluation.arrays import real_array
from skiagraph.evaluation.imagenet_features import EffLite0

__all__ = [
    "FEATURES",
    "Features",
    "ImageComponents",
    "PatchComponents",
    "RandomConvolutions",
    "fit_features",
    "random_weights",
]


class Features(Protocol):
    """Turns images into vectors; anything with a name and these two methods will do."""

    @property
    def name(self) -> str:
        """Name that figures carry."""
        ...

    def __call__(self, images: ArrayLike) -> NDArray[np.float64]:
        """Features (N, D) of images (N, C, H, W) with values around [-1, 1]."""
        ...

    def record(self) -> dict[str, Any]:
        """What they are, with a hash of their numbers."""
        ...


def random_weights(shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    """Standard normal numbers that are the same for ever: the inverse distribution function of raw PCG64 bits.

    (numpy promises the bits of a bit generator, not the normal numbers that a version makes of them.)
    """
    from scipy.special import ndtri

    bits = np.random.PCG64(seed).random_raw(int(np.prod(shape))) >> np.uint64(11)
    weights: NDArray[np.float64] = ndtri((bits.astype(np.float64) + 0.5) * 2.0**-53).reshape(shape)
    return weights


def _hashed(*arrays: NDArray[np.float64]) -> str:
    """Hash of numbers, rounded so that it does not depend on the last bits of a machine's arithmetic."""
    joined = b"".join(np.round(array, 6).astype("<f8").tobytes() + str(array.shape).encode() for array in arrays)
    return hashlib.sha256(joined).hexdigest()


def _checked(images: ArrayLike, least: int) -> NDArray[np.float64]:
    array = real_array(images, "images")
    if array.ndim != 4 or min(array.shape[2:]) < least:
        raise ValueError(f"images: found shape {array.shape}; allowed is (N, C, H, W) with sides of {least} or more.")
    return array


@dataclass(frozen=True)
class RandomConvolutions:
    """random-conv-v1: two layers of fixed random filters at three scales; mean and deviation of each channel.

    The image is averaged over squares of 1, 2 and 4 pixels. At each scale: 16 filters of 5 x 5 and ReLU, then 16 of
    3 x 3 over them and ReLU, borders repeated. Filters are normal numbers (`random_weights`, seed 1000 * layer + scale)
    of mean 0 and norm 1. Mean and standard deviation over the image of the second layer: 3 * 16 * 2 = 96 features. They
    see contrast, edges and texture, and hardly where in the image these are. No training, nothing to download.

    Args:
        channels: of the images.
    """

    channels: int = 1
    scales = (1, 2, 4)
    filters = 16

    @property
    def name(self) -> str:
        """random-conv-v1, whatever the number of channels."""
        return "random-conv-v1"

    def weights(self, scale: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Filters (16, C, 5, 5) and (16, 16, 3, 3) of a scale."""
        shapes = ((self.filters, self.channels, 5, 5), (self.filters, self.filters, 3, 3))
        found = []
        for layer, shape in enumerate(shapes, start=1):
            drawn = random_weights(shape, 1000 * layer + scale).reshape(shape[0], -1)
            drawn = drawn - drawn.mean(axis=1, keepdims=True)
            found.append((drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).reshape(shape))
        return found[0], found[1]

    def __call__(self, images: ArrayLike) -> NDArray[np.float64]:
        """Features (N, 96) of images (N, C, H, W), sides of 16 or more."""
        import torch
        from torch.nn import functional

        array = _checked(images, 16)
        if array.shape[1] != self.channels:
            raise ValueError(f"images: found {array.shape[1]} channels; these features are for {self.channels}.")
        filters = {scale: [torch.from_numpy(part).float() for part in self.weights(scale)] for scale in self.scales}
        rows = []
        with torch.no_grad():
            for at in range(0, len(array), 64):
                x, found = torch.from_numpy(array[at : at + 64]).float(), []
                for scale, layers in filters.items():
                    hidden = functional.avg_pool2d(x, scale)
                    for layer in layers:
                        side = layer.shape[-1] // 2
                        hidden = functional.pad(hidden, (side, side, side, side), mode="replicate")
                        hidden = functional.conv2d(hidden, layer).relu()
                    found += [hidden.mean((2, 3)), hidden.std((2, 3))]
                rows.append(torch.cat(found, 1))
        return torch.cat(rows).double().numpy()

    def record(self) -> dict[str, Any]:
        """Name, numbers, hash of the filters."""
        weights = [part for scale in self.scales for part in self.weights(scale)]
        return {"name": self.name, "features": 2 * self.filters * len(self.scales), "weights_sha256": _hashed(*weights)}


@dataclass(frozen=True, eq=False)
class _Components:
    """A mean (p,) and orthonormal directions (k, p)."""

    mean: NDArray[np.float64]
    directions: NDArray[np.float64]

    @classmethod
    def of(cls, rows: NDArray[np.float64], count: int) -> _Components:
        """The leading principal components of rows (n, p): at most `count`, and no more than the rows span."""
        mean = rows.mean(axis=0)
        centred = rows - mean
        wide = rows.shape[1] > rows.shape[0]
        energies, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
        kept = int((energies[::-1][:count] > 1e-10 * max(float((rows**2).sum()), 1e-300)).sum())
        if kept == 0:
            raise ValueError("images: all of them are equal; they have no principal components.")
        leading = vectors[:, ::-1][:, :kept].T
        if wide:
            leading = leading @ centred
            leading /= np.linalg.norm(leading, axis=1, keepdims=True)
        signs = np.sign(leading[np.arange(kept), np.abs(leading).argmax(axis=1)])
        return cls(mean, leading * signs[:, None])

    def __call__(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return (rows - self.mean) @ self.directions.T


@dataclass(frozen=True, eq=False)
class ImageComponents:
    """image-pca-64: coefficients of the 64 leading principal components of whole reference images.

    They see anatomy and position, and nothing finer than the reference set's own leading variations. Fitted to the
    reference, so the figures of two reference sets cannot be compared.
    """

    components: _Components

    @classmethod
    def of(cls, reference: ArrayLike) -> ImageComponents:
        """Fit to reference images (N, C, H, W); of more than 4000, every so-manieth."""
        array = _checked(reference, 1)
        array = array[:: -(-len(array) // 4000)]
        return cls(_Components.of(array.reshape(len(array), -1), 64))

    @property
    def name(self) -> str:
        """image-pca-64."""
        return "image-pca-64"

    def __call__(self, images: ArrayLike) -> NDArray[np.float64]:
        """Features (N, 64 or fewer) of images of the reference's shape."""
        array = _checked(images, 1)
        return self.components(array.reshape(len(array), -1))

    def record(self) -> dict[str, Any]:
        """Name, numbers, hash of the components."""
        kept = self.components
        return {
            "name": self.name,
            "features": len(kept.directions),
            "weights_sha256": _hashed(kept.mean, kept.directions),
        }


@dataclass(frozen=True, eq=False)
class PatchComponents:
    """patch-pca-8: how much of each of the 32 leading components of 8 x 8 patches an image holds, and how unevenly.

    Mean and standard deviation over an image's patches (every fourth place along each axis) of their coefficients: 64
    features of local structure. Components are fitted to the patches of the reference images.
    """

    components: _Components

    @classmethod
    def of(cls, reference: ArrayLike) -> PatchComponents:
        """Fit to reference images (N, C, H, W), sides of 8 or more; at most 50 000 patches, evenly taken."""
        array = _checked(reference, 8)
        patches = _patches(array[:: -(-len(array) // 2000)])
        rows = patches.reshape(-1, patches.shape[-1])
        return cls(_Components.of(rows[:: -(-len(rows) // 50_000)], 32))

    @property
    def name(self) -> str:
        """patch-pca-8."""
        return "patch-pca-8"

    def __call__(self, images: ArrayLike) -> NDArray[np.float64]:
        """Features (N, 64 or fewer) of images (N, C, H, W)."""
        array = _checked(images, 8)
        rows = []
        for at in range(0, len(array), 64):
            coefficients = self.components(_patches(array[at : at + 64]))
            rows.append(np.concatenate([coefficients.mean(axis=1), coefficients.std(axis=1)], axis=1))
        return np.concatenate(rows)

    def record(self) -> dict[str, Any]:
        """Name, numbers, hash of the components."""
        kept = self.components
        return {
            "name": self.name,
            "features": 2 * len(kept.directions),
            "weights_sha256": _hashed(kept.mean, kept.directions),
        }


def _patches(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Patches (N, P, C * 64) of images (N, C, H, W), every fourth place along each axis."""
    windows = np.lib.stride_tricks.sliding_window_view(array, (8, 8), axis=(2, 3))[:, :, ::4, ::4]
    moved = np.moveaxis(windows, 1, 3)
    return moved.reshape(len(array), moved.shape[1] * moved.shape[2], -1)


FEATURES: dict[str, Callable[[NDArray[np.float64]], Features]] = {
    "random-conv-v1": lambda reference: RandomConvolutions(reference.shape[1]),
    "image-pca-64": ImageComponents.of,
    "patch-pca-8": PatchComponents.of,
    "EffLite0": lambda reference: EffLite0.load(),
}
"""Name -> what makes the features, from the reference images (N, C, H, W)."""


def fit_features(name: str, reference: ArrayLike) -> Features:
    """The features of a name, fitted to reference images (N, C, H, W) where they need it."""
    if name not in FEATURES:
        raise ValueError(f"features: found {name!r}; allowed are {', '.join(FEATURES)}.")
    return FEATURES[name](_checked(reference, 1))
