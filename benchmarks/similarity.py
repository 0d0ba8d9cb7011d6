"""Local mutual information of one slice against the released layer's own way of computing it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.timing import Effort, Row, Section, race, rows_of
from skiagraph.similarity import MIND, LocalInformation, SimilarityMap

__all__ = ["compare_similarities"]

OURS, LITERAL = "skiagraph", "literal port"
SIZE, PATCH, BINS, WIDTH, FLOOR = 128, 3, 27, 8.0, 1e-10
ROUNDS = 2  # the port takes seconds
JUDGED = "grainy head with its state at t = 199"


def _tiled_windows(image: Tensor) -> Tensor:
    """(S, 9, 9): every pixel's windows of the image in which every pixel is its own patch, zero outside."""
    height, width = image.shape
    patches = torch.nn.functional.unfold(image[None, None], PATCH, padding=1)[0]
    tiled = patches.reshape(PATCH, PATCH, height, width).permute(2, 0, 3, 1).reshape(PATCH * height, PATCH * width)
    windows = torch.nn.functional.pad(tiled, (1, 1, 1, 1)).unfold(0, PATCH, 1).unfold(1, PATCH, 1)
    windows = windows.reshape(height, PATCH, width, PATCH, PATCH * PATCH).transpose(1, 2)
    return windows.reshape(height * width, PATCH * PATCH, PATCH * PATCH)


def literal_map(reference: Tensor, search: Tensor) -> Tensor:
    """The normalised map (H, W): kernels of every value of every window, all joint histograms at once."""
    own = torch.nn.functional.unfold(reference[None, None], PATCH, padding=1)[0].T
    own = own[:, None, :].expand(-1, PATCH * PATCH, -1).reshape(-1, PATCH * PATCH)
    other = _tiled_windows(search).reshape(-1, PATCH * PATCH)
    centres = torch.linspace(0, 255, BINS)
    first, second = (
        torch.exp(-0.5 * ((torch.trunc(255 * values).unsqueeze(-1) - centres) / WIDTH) ** 2) for values in (own, other)
    )
    marginals = [kernels.mean(1) for kernels in (first, second)]
    entropies = []
    for shares in (*marginals, torch.bmm(first.transpose(1, 2), second).flatten(1)):
        shares = shares / (shares.sum(1, keepdim=True) + FLOOR)
        entropies.append(-(shares * torch.log2(shares + FLOOR)).sum(1))
    information = entropies[0] + entropies[1] - entropies[2]
    normalised = 2 * (information + FLOOR) / (entropies[0] + entropies[1] + FLOOR)
    return normalised.reshape(*reference.shape, -1).amax(-1)


def _head() -> Tensor:
    """A slice of the generated head with background, (128, 128) in [0, 1]."""
    from skiagraph.data.phantom import head_phantom
    from skiagraph.data.slicing import SlicePose, locate_head, slice_positions, slice_through

    head = locate_head(head_phantom(0, spacing_mm=2.0))
    image = slice_through(head, SlicePose(slice_positions(head, 3)[1]), (SIZE, SIZE))
    return torch.from_numpy(image).clamp(0, 1)


def _noise(seed: int) -> Tensor:
    return torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def _cases() -> dict[str, tuple[Tensor, Tensor]]:
    """Reference and searched image: the two maps that a sampler asks for, and the least favourable pair."""
    head = _head()
    grainy = (head + 0.02 * _noise(1)).clamp(0, 1)
    unrelated = [torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(seed)) for seed in (2, 3)]
    return {
        "grainy head with itself": (grainy, grainy),
        "grainy head with its state at t = 199": (grainy, 0.812 * grainy + 0.584 * _noise(0)),
        "independent uniform values": (unrelated[0], unrelated[1]),
    }


def _ours(layer: Callable[[Tensor, Tensor], Tensor], pair: tuple[Tensor, Tensor]) -> Tensor:
    return layer(pair[0][None, None], pair[1][None, None])


def _peak_mb(which: str) -> float:
    """Growth of a fresh process's largest resident memory, in MB, while it computes one map."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_growth, (which,))


def _growth(which: str) -> float:
    torch.set_num_threads(1)
    pair = _cases()[JUDGED]
    small = tuple(image[:16, :16] for image in pair)
    layer = LocalInformation.reference()
    run = literal_map if which == LITERAL else lambda *images: _ours(layer, images)
    run(*small)  # libraries set themselves up
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak counts from here, not from the imports
    before = _resident("VmRSS")
    run(*pair)
    return (_resident("VmHWM") - before) / 1024


def _resident(name: str) -> int:
    """A figure of this process in kB, by its name in /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name)))


def compare_similarities(effort: Effort, report: Callable[[str], None]) -> Section:
    """Time the released layer's map by its own way and by ours, and our other maps beside it."""
    layer = LocalInformation.reference()
    rows: list[Row] = []
    worst = 0.0
    threads = torch.get_num_threads()
    for name, pair in _cases().items():
        report(f"similarity: {name}")
        worst = max(worst, float((_ours(layer, pair)[0, 0] - literal_map(*pair)).abs().max()))
        contestants = {OURS: partial(_ours, layer, pair), LITERAL: partial(literal_map, *pair)}
        rounds = min(effort.rounds, ROUNDS)
        for count in (1, 2) if name == JUDGED else (1,):
            torch.set_num_threads(count)
            measured = race(contestants, rounds=rounds, shortest=effort.shortest)
            rows += rows_of(f"{name}, {count} thread{'s' * (count > 1)}", measured, OURS)
        torch.set_num_threads(threads)
    pair = _cases()[JUDGED]
    others: dict[str, SimilarityMap] = {"default map, 5 x 5, 32 bins": LocalInformation(), "MIND-SSC distance": MIND()}
    torch.set_num_threads(1)
    for name, measure in others.items():
        measured = race({OURS: partial(_ours, measure, pair)}, rounds=effort.rounds, shortest=effort.shortest)
        rows += rows_of(f"{name}, 1 thread", measured, OURS)
    torch.set_num_threads(threads)
    memory = {which: _peak_mb(which) for which in (OURS, LITERAL)}
    return Section(
        "Local mutual information (cpu)",
        f"One {SIZE} x {SIZE} map of the released layer (3 x 3 patches, 9 windows, {BINS} bins, normalised). The port "
        "computes what the layer computes, in its order: kernels of every value of every window, all joint histograms "
        "at once. Ours goes pixel by pixel in machine code that numba makes on first use (not timed), with kernels "
        "once an intensity, only the bins that a patch and a window reach, and constant patches skipped: what it saves "
        "depends on the images.",
        "ms",
        rows,
        remarks=(
            f"Largest difference between the two maps, all cases: {worst:.1e}.",
            f"Memory beside the images: {memory[OURS]:.0f} MB, port {memory[LITERAL]:.0f} MB.",
        ),
    )
