"""Takes weights from foreign checkpoint files: data only, and only what the network needs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from skiagraph.errors import DataError
from skiagraph.networks.classifier import ClassifierConfig, EncoderClassifier
from skiagraph.networks.layers import AttentionOrder
from skiagraph.networks.layout import Unstated, check_layout, infer_classifier_config, infer_unet_config
from skiagraph.networks.unet import UNet, UNetConfig

__all__ = [
    "FileSource",
    "ImportNotes",
    "clean_weights",
    "import_checkpoint",
    "import_classifier",
    "load_plain",
    "notes_of",
    "source_of",
    "without_prefixes",
]

_WRAPPERS = ("module.", "_orig_mod.", "model.")


@dataclass(frozen=True)
class ImportNotes:
    """Where imported weights come from and what had to be assumed, for the prior's card.

    Args:
        file: name of the file, without its folder.
        sha256: checksum of the file, hexadecimal.
        ema: whether the file name says that the weights are an exponential moving average.
        ema_rate: decay a step of that average, from the file name, or None.
        steps: training steps, from the file name, or None.
        learned_variance: whether the outputs are twice the inputs, so that half of them is probably a variance.
        messages: what was assumed or changed, one sentence each.
    """

    file: str
    sha256: str
    ema: bool
    ema_rate: float | None
    steps: int | None
    learned_variance: bool
    messages: tuple[str, ...]


def import_checkpoint(
    path: str | Path,
    *,
    heads: int | None = None,
    head_channels: int | None = None,
    attention_order: AttentionOrder = "legacy",
    groups: int = 32,
    downsample_depth: bool = False,
    entry: str | None = None,
) -> tuple[UNetConfig, dict[str, Tensor], ImportNotes]:
    """Read the U-Net of a guided-diffusion or improved-diffusion checkpoint.

    Widths, levels, attention, resampling, classes and channels are inferred from names and shapes; every entry must be
    explained. Weights become contiguous float32 copies on the CPU. Nothing in the file is executed. Not in the weights,
    and left to the caller, are the following arguments, dropout, the schedule and the time convention.

    Args:
        path: a `.pt`, `.pth` or `.safetensors` file.
        heads: attention heads; 4, the default of the released scripts, when neither this nor `head_channels` is given.
        head_channels: channels a head (64 for the released ADM networks); not together with `heads`.
        attention_order: "new" only for networks trained with `use_new_attention_order`.
        groups: groups of the normalisations, 32 throughout the lineage; must divide every width.
        downsample_depth: for 3-D, whether the first spatial axis was downsampled too; not so in guided-diffusion.
        entry: which entry of the file holds the weights, if the file is a collection.

    Returns:
        Configuration, weights for `UNet(configuration).load_state_dict`, and notes.
    """
    source, state, messages = _read(Path(path), entry)
    heads, head_channels = _heads(heads, head_channels, (4, None), messages)
    config = infer_unet_config(state, Unstated(heads, head_channels, attention_order, groups, downsample_depth))
    _require_groups(config.widths, groups)
    with torch.device("meta"):
        network = UNet(config)
    check_layout(state, network)
    learned = config.out_channels == 2 * config.in_channels
    if learned:
        messages.append("There are twice as many outputs as inputs: the second half is probably a learned variance.")
    return config, clean_weights(state, messages), notes_of(source, learned, messages)


def import_classifier(
    path: str | Path,
    *,
    heads: int | None = None,
    head_channels: int | None = None,
    attention_order: AttentionOrder = "legacy",
    groups: int = 32,
    downsample_depth: bool = False,
    residual_blocks: int | None = None,
    image_size: tuple[int, ...] | None = None,
    entry: str | None = None,
) -> tuple[ClassifierConfig, dict[str, Tensor], ImportNotes]:
    """Read the noisy classifier of a guided-diffusion checkpoint, as `import_checkpoint` reads the U-Net.

    Args:
        path, attention_order, groups, downsample_depth, entry: see `import_checkpoint`.
        heads, head_channels: as there, but heads of 64 channels, the released default, when neither is given.
        residual_blocks: residual blocks a level, needed only where several numbers explain the weights.
        image_size: spatial sizes, needed only for attention pooling over a grid that is not a square or cube.

    Returns:
        Configuration, weights for `EncoderClassifier(configuration).load_state_dict`, and notes.
    """
    source, state, messages = _read(Path(path), entry)
    heads, head_channels = _heads(heads, head_channels, (4, 64), messages)
    unstated = Unstated(heads, head_channels, attention_order, groups, downsample_depth)
    config = infer_classifier_config(state, unstated, residual_blocks=residual_blocks, image_size=image_size)
    _require_groups(config.widths, groups)
    with torch.device("meta"):
        network = EncoderClassifier(config)
    check_layout(state, network)
    return config, clean_weights(state, messages), notes_of(source, False, messages)


@dataclass(frozen=True)
class FileSource:
    """A file's name without its folder, and its SHA-256."""

    name: str
    sha256: str


def _read(path: Path, entry: str | None) -> tuple[FileSource, dict[str, Tensor], list[str]]:
    """Load names and tensors, nothing else, and strip what training wrappers put around them."""
    source = source_of(path)
    content = load_plain(path)
    messages: list[str] = []
    state = _select(content, entry, path.name, messages)
    return source, without_prefixes(state, messages), messages


def source_of(path: Path) -> FileSource:
    """Name and checksum of a file."""
    try:
        with path.open("rb") as file:
            return FileSource(path.name, hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the path of a checkpoint file") from error


def load_plain(path: Path) -> object:
    """The content of a weights file, refused where it holds anything but data."""
    try:
        return _load(path)
    except MemoryError:
        raise
    except Exception as error:  # a damaged or hostile file can fail in any way
        raise DataError(
            f"{path}: not a file of plain weights ({type(error).__name__}); files that would run code are refused: "
            "save only the state dict, as .pt or .safetensors"
        ) from error


def without_prefixes(state: dict[str, Tensor], messages: list[str]) -> dict[str, Tensor]:
    """The weights without the prefixes that training wrappers put before every name."""
    for wrapper in _WRAPPERS * 2:
        if state and all(name.startswith(wrapper) for name in state):
            state = {name.removeprefix(wrapper): value for name, value in state.items()}
            messages.append(f"The prefix {wrapper!r} was taken off all names.")
    return state


def _load(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _select(content: object, entry: str | None, name: str, messages: list[str]) -> dict[str, Tensor]:
    """Find the one mapping of names to tensors in a file's content."""
    if entry is None and _is_state(content):
        return dict(content)  # type: ignore[call-overload, no-any-return]
    found = {key: value for key, value in content.items() if _is_state(value)} if isinstance(content, Mapping) else {}
    if entry is None and len(found) == 1:
        entry = str(next(iter(found)))
        messages.append(f"The weights were taken from the entry {entry!r}.")
    if entry in found:
        return dict(found[entry])
    if isinstance(content, Mapping) and "param_groups" in content:
        raise DataError(f"{name}: holds the state of an optimiser, not weights; give the model or ema file beside it")
    raise DataError(f"{name}: entry is {entry!r}; entries that hold weights: {sorted(map(str, found)) or 'none'}")


def _is_state(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def _heads(
    heads: int | None, head_channels: int | None, default: tuple[int, int | None], messages: list[str]
) -> tuple[int, int | None]:
    if heads is not None and head_channels is not None:
        raise ValueError(f"heads is {heads} and head_channels is {head_channels}; give one of the two")
    if heads is None and head_channels is None:
        assumed = f"heads of {default[1]} channels" if default[1] else f"{default[0]} heads"
        messages.append(f"The weights do not tell the number of attention heads: {assumed} assumed.")
        return default
    return default[0] if heads is None else heads, head_channels


def _require_groups(widths: tuple[int, ...], groups: int) -> None:
    odd = [width for width in widths if width % groups]
    if odd:
        raise ValueError(f"groups is {groups}, which does not divide the widths {odd}; pass the number trained with")


def clean_weights(state: Mapping[str, Tensor], messages: list[str]) -> dict[str, Tensor]:
    """Copy to contiguous float32; refuse what is not a finite real number."""
    clean: dict[str, Tensor] = {}
    converted: set[str] = set()
    for name, value in state.items():
        if value.layout != torch.strided or not value.is_floating_point():
            raise DataError(f"{name} is a {value.layout} tensor of {value.dtype}; wanted dense floating-point weights")
        single = value.detach().to(torch.float32)
        if not torch.isfinite(single).all():
            raise DataError(f"{name} contains NaN or infinity; the checkpoint is damaged or training had diverged")
        if value.dtype != torch.float32:
            converted.add(str(value.dtype).removeprefix("torch."))
        clean[name] = single.clone(memory_format=torch.contiguous_format)
    if converted:
        messages.append(f"Weights stored as {', '.join(sorted(converted))} were converted to float32.")
    return clean


def notes_of(source: FileSource, learned_variance: bool, messages: list[str]) -> ImportNotes:
    """Read what the file name tells: ema_RATE_STEPS.pt, modelSTEPS.pt."""
    stem = source.name.lower().rsplit(".", 1)[0]
    ema = re.search(r"(?<![a-z])ema(?![a-z])", stem) is not None
    rate = re.search(r"(?<![a-z])ema[_-]?(0\.\d+)", stem)
    steps = re.search(r"(?:model|[_-])(\d{4,})$", stem)
    if not ema:
        messages.append("The file name does not say that these weights are a moving average.")
    found = float(rate[1]) if rate else None
    return ImportNotes(
        file=source.name,
        sha256=source.sha256,
        ema=ema,
        ema_rate=found,
        steps=int(steps[1]) if steps else None,
        learned_variance=learned_variance,
        messages=tuple(messages),
    )
