"""Our U-Net against MONAI's DiffusionModelUNet and diffusers' UNet2DModel: forward and training step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.timing import Action, Effort, Row, Section, race, rows_of
from skiagraph.networks import UNet, UNetConfig, parameter_count

__all__ = ["OURS", "compare_networks", "our_network"]

OURS = "skiagraph UNet"
CHANNELS, WIDTHS, HEAD, BATCH, IMAGE_CHANNELS = 32, (32, 64, 128), 32, 4, 2

Evaluate = Callable[[Tensor, Tensor], Tensor]


def our_network() -> UNet:
    """Our side of the comparison."""
    return UNet(
        UNetConfig(
            in_channels=IMAGE_CHANNELS,
            out_channels=IMAGE_CHANNELS,
            channels=CHANNELS,
            multipliers=tuple(width / CHANNELS for width in WIDTHS),
            residual_blocks=2,
            attention_downsamplings=(4,),
            head_channels=HEAD,
            scale_shift=False,
        )
    )


def _monai() -> nn.Module:
    from monai.networks.nets import DiffusionModelUNet

    network: nn.Module = DiffusionModelUNet(
        spatial_dims=2,
        in_channels=IMAGE_CHANNELS,
        out_channels=IMAGE_CHANNELS,
        num_res_blocks=2,
        channels=WIDTHS,
        attention_levels=(False, False, True),
        num_head_channels=HEAD,
        use_flash_attention=True,
    )
    return network


def _diffusers() -> nn.Module:
    from diffusers import UNet2DModel

    network: nn.Module = UNet2DModel(
        in_channels=IMAGE_CHANNELS,
        out_channels=IMAGE_CHANNELS,
        layers_per_block=2,
        block_out_channels=WIDTHS,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=HEAD,
    )
    return network


def _contestants(device: torch.device) -> dict[str, tuple[nn.Module, Evaluate]]:
    """Networks with weights from one distribution (fresh ones hold zeros that some kernels might profit from)."""
    ours, monai, diffusers = our_network(), _monai(), _diffusers()
    networks: dict[str, tuple[nn.Module, Evaluate]] = {
        OURS: (ours, ours),
        "MONAI DiffusionModelUNet": (monai, monai),
        "diffusers UNet2DModel": (diffusers, lambda x, time: diffusers(x, time, return_dict=False)[0]),
    }
    sizes = {name: parameter_count(network) for name, (network, _) in networks.items()}
    for name, size in sizes.items():
        if abs(size / sizes[OURS] - 1) > 0.05:
            raise ValueError(f"{name}: found {size} parameters, allowed within 5 % of ours, {sizes[OURS]}.")
    for network, _ in networks.values():
        torch.manual_seed(0)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.02)
        network.to(device)
    return networks


def _forward(evaluate: Evaluate, x: Tensor, time: Tensor, precision: AbstractContextManager[object]) -> Tensor:
    with torch.no_grad(), precision:
        return evaluate(x, time)


def _training_step(
    evaluate: Evaluate,
    optimiser: torch.optim.Optimizer,
    x: Tensor,
    time: Tensor,
    target: Tensor,
    precision: AbstractContextManager[object],
) -> None:
    optimiser.zero_grad(set_to_none=True)
    with precision:
        loss = (evaluate(x, time) - target).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _precision(name: str, device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16) if name == "bf16" else nullcontext()


def compare_networks(effort: Effort, device: torch.device, report: Callable[[str], None]) -> Section:
    """Time forward and training step for each size and precision.

    Args:
        effort: rounds and sizes.
        device: where the networks live.
        report: told what is being measured.
    """
    networks = _contestants(device)
    synchronise = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    optimisers = {name: torch.optim.AdamW(network.parameters(), lr=1e-6) for name, (network, _) in networks.items()}
    rows: list[Row] = []
    for size in effort.sizes:
        generator = torch.Generator().manual_seed(size)
        x, target = torch.randn(2, BATCH, IMAGE_CHANNELS, size, size, generator=generator).to(device)
        time = torch.randint(0, 1000, (BATCH,), generator=generator).to(device)
        for precision in ("fp32", "bf16"):
            context = _precision(precision, device)
            actions: dict[str, dict[str, Action]] = {
                "forward": {n: partial(_forward, e, x, time, context) for n, (_, e) in networks.items()},
                "training step": {
                    n: partial(_training_step, e, optimisers[n], x, time, target, context)
                    for n, (_, e) in networks.items()
                },
            }
            for kind, contestants in actions.items():
                case = f"{kind}, {size}x{size}, {precision}"
                report(f"networks: {case} on {device.type}")
                measured = race(contestants, rounds=effort.rounds, shortest=effort.shortest, synchronise=synchronise)
                rows += rows_of(case, measured, OURS)
    counts = ", ".join(f"{name} {parameter_count(network):,}" for name, (network, _) in networks.items())
    return Section(
        f"Networks ({device.type})",
        f"Batch {BATCH}, {IMAGE_CHANNELS} channels; widths {WIDTHS}, 2 residual blocks a level, attention at the "
        f"coarsest level in heads of {HEAD} channels with fused kernels, additive time embedding, group norm of 32. "
        f"Parameters: {counts}. bf16 is autocast. A training step is forward, mean squared error, backward and AdamW.",
        "ms",
        rows,
    )
