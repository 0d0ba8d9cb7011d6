"""The released layer of local mutual information, written down one patch at a time, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from skiagraph.diffusion.schedule import linear_table

__all__ = ["noised", "patch_information", "phantom", "released_map", "tiled_window"]

FLOOR = 1e-10
ELLIPSES = {  # centre x, centre y, half width, half height, label
    "A": (
        (0, 0, 0.80, 0.92, 1),
        (0, 0.05, 0.62, 0.74, 2),
        (-0.22, 0, 0.12, 0.30, 3),
        (0.22, 0, 0.12, 0.30, 3),
        (0.30, -0.45, 0.14, 0.14, 4),
    ),
    "B": (
        (0, 0.02, 0.90, 0.80, 1),
        (0.05, 0, 0.70, 0.60, 2),
        (-0.30, 0.25, 0.25, 0.12, 3),
        (0.25, -0.20, 0.10, 0.34, 3),
        (-0.35, -0.30, 0.18, 0.12, 4),
    ),
}
CONTRASTS = {"T1": (0.0, 0.2, 0.5, 0.75, 0.95), "PD": (0.0, 0.8, 0.65, 0.5, 0.25)}


def phantom(contrast: str, anatomy: str, size: int = 64) -> Tensor:
    """(size, size) float32: painted ellipses, brightness rising by a fifth from left to right."""
    line = torch.linspace(-1, 1, size, dtype=torch.float64)
    y, x = line[:, None], line[None, :]
    labels = torch.zeros(size, size, dtype=torch.int64)
    for centre_x, centre_y, half_x, half_y, label in ELLIPSES[anatomy]:
        labels[((x - centre_x) / half_x) ** 2 + ((y - centre_y) / half_y) ** 2 < 1] = label
    return (torch.tensor(CONTRASTS[contrast], dtype=torch.float64)[labels] * (0.9 + 0.1 * x)).float()


def noised(image: Tensor, time: int) -> Tensor:
    """alpha_t x + sigma_t e of a phantom (H, W) on the linear schedule, e from the CPU generator of seed 0."""
    noise = torch.randn(1, 1, *image.shape, generator=torch.Generator().manual_seed(0))[0, 0]
    alpha, sigma = linear_table()(torch.tensor(time))
    return float(alpha) * image + float(sigma) * noise


def patch_information(u: Tensor, v: Tensor, *, bins: int = 27, width: float = 8.0) -> tuple[float, float]:
    """(bits, normalised) of two lists of intensities, by the released formulas."""
    centres = torch.linspace(0, 255, bins).double()

    def kernel(values: Tensor) -> Tensor:
        grey = torch.trunc(255 * values.float()).double()
        return torch.exp(-0.5 * ((grey[:, None] - centres) / width) ** 2)

    def entropy(shares: Tensor) -> Tensor:
        return -(shares * torch.log2(shares + FLOOR)).sum()

    a, b = kernel(u.flatten()), kernel(v.flatten())
    p, q, joint = a.mean(0), b.mean(0), a.T @ b
    first, second = entropy(p / (p.sum() + FLOOR)), entropy(q / (q.sum() + FLOOR))
    bits = first + second - entropy(joint / (joint.sum() + FLOOR))
    return float(bits), float(2 * (bits + FLOOR) / (first + second + FLOOR))


def tiled_window(image: Tensor, row: int, column: int, a: int, b: int, patch: int) -> Tensor:
    """The window (a, b) of a pixel: read, element by element, from the image in which every pixel is its patch."""
    height, width = image.shape
    radius = patch // 2
    window = torch.zeros(patch, patch)
    for u in range(patch):
        for v in range(patch):
            down, right = row * patch + a + u - radius, column * patch + b + v - radius
            if not (0 <= down < height * patch and 0 <= right < width * patch):
                continue
            y, x = down // patch + down % patch - radius, right // patch + right % patch - radius
            if 0 <= y < height and 0 <= x < width:
                window[u, v] = image[y, x]
    return window


def released_map(reference: Tensor, search: Tensor, patch: int, normalise: bool, sigma: float = 2.0) -> Tensor:
    """The map of two images (H, W), by a loop over pixels and windows."""
    height, width = reference.shape
    radius = patch // 2
    padded = torch.nn.functional.pad(reference, (radius,) * 4)
    result = torch.zeros(height, width)
    options = {"bins": patch**3, "width": 2 * sigma**2}
    for y in range(height):
        for x in range(width):
            own = padded[y : y + patch, x : x + patch]
            windows = [tiled_window(search, y, x, a, b, patch) for a in range(patch) for b in range(patch)]
            result[y, x] = max(patch_information(own, window, **options)[normalise] for window in windows)
    return result
