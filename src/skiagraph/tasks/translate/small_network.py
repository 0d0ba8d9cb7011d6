"""A small MONAI U-Net on slices, for what is learned from labelled pairs: tissue classes, or another contrast."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from skiagraph.diffusion.streams import Streams
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.translate.pseudo import BACKGROUND, RandomShape
from skiagraph.tasks.translate.settings import ShapeSettings
from skiagraph.training.order import derive_seed

__all__ = [
    "SliceNetwork",
    "SmallTraining",
    "load_slice_network",
    "save_slice_network",
    "train_slice_network",
    "training_record",
]

Loss = Callable[[Tensor, Tensor], Tensor]
_FACTOR = 16


@dataclass(frozen=True)
class SmallTraining:
    """How it learns.

    Args:
        steps: of Adam with cosine decay.
        batch: slices a step.
        learning_rate: at the start.
        channels: of the first level; eight times as many at the coarsest.
        seed: of weights, order and augmentation.
    """

    steps: int = 600
    batch: int = 12
    learning_rate: float = 2e-3
    channels: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.channels) < 1 or not self.learning_rate > 0:
            raise InputError(f"training: found {self}; steps, batch, channels and learning_rate must be above 0.")


class SliceNetwork(nn.Module):
    """(B, 1, H, W) in [-1, 1] to (B, outputs, H, W) of any size; sides are padded to multiples of 16 by -1.

    Its first level works on single pixels: what MONAI calls UNet halves the image at once, and its output is blurred.

    Args:
        outputs: classes, or 1.
        channels: of the first level.
    """

    def __init__(self, outputs: int, channels: int = 12) -> None:
        super().__init__()
        from monai.networks.nets import BasicUNet

        self.outputs, self.channels = outputs, channels
        widths = (*(channels * factor for factor in (1, 2, 4, 8, 8)), channels)
        self.network = BasicUNet(2, 1, outputs, widths, norm=("batch", {"affine": True}), upsample="nontrainable")

    def forward(self, images: Tensor) -> Tensor:
        """Logits or intensities."""
        height, width = images.shape[-2:]
        padded = functional.pad(images, (0, -width % _FACTOR, 0, -height % _FACTOR), value=-1.0)
        found: Tensor = self.network(padded)
        return found[..., :height, :width]


def train_slice_network(
    images: Tensor,
    wanted: Tensor,
    outputs: int,
    loss: Loss,
    training: SmallTraining,
    on_progress: OnProgress = silent,
) -> SliceNetwork:
    """Learn `wanted` (M, 1, H, W) from `images` (M, 1, H, W), both moved by the same random shape at every step.

    Args:
        images: in [-1, 1].
        wanted: what `loss` compares the output with; interpolated with the images.
        outputs: channels of the network.
        loss: (output (B, outputs, H, W), wanted (B, C, H, W)) -> ().
        training: see there.
        on_progress: told every hundredth of the steps.
    """
    if len(images) != len(wanted) or images.shape[2:] != wanted.shape[2:]:
        raise InputError(f"wanted: found {tuple(wanted.shape)} for images {tuple(images.shape)}; they must belong.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        network = SliceNetwork(outputs, training.channels).train()
    shape = RandomShape(ShapeSettings(trim=2))
    optimiser = torch.optim.Adam(network.parameters(), training.learning_rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.steps)
    both = torch.cat([images, wanted], 1)
    for step in range(training.steps):
        streams = Streams([derive_seed("slice-network", training.seed, step, row) for row in range(training.batch)])
        chosen = both[streams.integers(0, len(images))]
        moved = shape(chosen, streams, chosen[:, :1] > BACKGROUND)
        pictures = _graded(moved[:, :1], streams)
        optimiser.zero_grad(set_to_none=True)
        loss(network(pictures), moved[:, 1:]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        decay.step()
        if step % max(training.steps // 100, 1) == 0:
            on_progress("training", step, training.steps)
    return network.eval().requires_grad_(False)


def _graded(images: Tensor, streams: Streams) -> Tensor:
    """Each image's brightness changed a little: u -> (u g) ^ p with g in 0.9 to 1.1, p in 0.8 to 1.25."""
    draws = streams.uniform(2).T.reshape(2, -1, 1, 1, 1)
    unit = ((images + 1) / 2).clamp(0, 1)
    return 2 * (unit * (0.9 + 0.2 * draws[0])).clamp(0, 1) ** torch.exp(0.446 * draws[1] - 0.223) - 1


def save_slice_network(network: SliceNetwork, folder: Path, record: dict[str, object]) -> None:
    """Weights as safetensors and a JSON record beside them, in a folder of their own."""
    from safetensors.torch import save

    from skiagraph.data.files import write_whole

    folder.mkdir(parents=True, exist_ok=True)
    content = save({name: value.contiguous() for name, value in network.state_dict().items()})
    write_whole(folder / "network.safetensors", content)
    about = {"outputs": network.outputs, "channels": network.channels, **record}
    about["weights_sha256"] = hashlib.sha256(content).hexdigest()
    write_whole(folder / "network.json", (json.dumps(about, indent=1, default=str) + "\n").encode())


def load_slice_network(folder: Path) -> SliceNetwork:
    """What `save_slice_network` wrote, ready to use."""
    from safetensors.torch import load

    try:
        about = json.loads((folder / "network.json").read_text(encoding="utf-8"))
        content = (folder / "network.safetensors").read_bytes()
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{folder}: no network of slices ({error}); it needs network.json and its weights") from error
    if hashlib.sha256(content).hexdigest() != about.get("weights_sha256"):
        raise DataError(f"{folder}: the weights are not those of network.json; train it again")
    network = SliceNetwork(int(about["outputs"]), int(about["channels"]))
    network.load_state_dict(load(content))
    return network.eval().requires_grad_(False)


def training_record(training: SmallTraining) -> dict[str, object]:
    """For the record beside weights."""
    return dict(asdict(training))
