"""The released translation's two networks and its checkpoints: all keys used, the average taken."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from skiagraph.errors import DataError
from skiagraph.networks import DDPMUNet, DDPMUNetConfig, UNet, UNetConfig, import_translation, parameter_count

SMALL = DDPMUNetConfig(channels=32, multipliers=(1, 2), residual_blocks=1, attention=(8,), size=16)


def released(network: torch.nn.Module, path: Path, average: bool = True) -> Path:
    """A file of the release: the last weights with a prefix and shifted by 1, the average without."""
    state = network.state_dict()
    last = {f"module.{name}": value + 1 for name, value in state.items()}
    optimiser: dict[str, Any] = {"state": {}, "param_groups": []}
    torch.save([last, optimiser, 3, 1000, *([dict(state)] if average else [])], path)
    return path


def test_both_networks_have_the_released_number_of_parameters() -> None:
    with torch.device("meta"):
        first = DDPMUNet(DDPMUNetConfig())
        second = UNet(
            UNetConfig(
                in_channels=3,
                out_channels=1,
                channels=64,
                multipliers=(1, 1, 2, 3, 4),
                residual_blocks=2,
                attention_downsamplings=(8,),
                heads=1,
                scale_shift=False,
            )
        )
    assert parameter_count(first) == 8_950_913
    assert parameter_count(second) == 21_423_169


def test_time_is_embedded_as_sines_then_cosines() -> None:
    from skiagraph.networks.ddpm_unet import _embedded

    found = _embedded(torch.tensor([5.0]), 64)[0]
    assert float(found[0]) == pytest.approx(math.sin(5), abs=1e-6)
    assert float(found[31]) == pytest.approx(math.sin(5e-4), abs=1e-6)
    assert float(found[32 + 7]) == pytest.approx(math.cos(5 * 10000 ** (-7 / 31)), abs=1e-5)


def test_attention_stands_at_its_size_only_and_any_multiple_runs() -> None:
    network = DDPMUNet(SMALL).eval()
    names = set(network.state_dict())
    assert "down.1.attn.0.q.weight" in names
    assert "up.1.attn.1.q.weight" in names
    assert not any(name.startswith(("down.0.attn", "up.0.attn")) for name in names)
    x = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = network(x, torch.tensor([1.0, 900.0]))
        torch.testing.assert_close(network(x[1:], torch.tensor([900.0])), whole[1:])
    assert whole.shape == (2, 1, 16, 24)
    with pytest.raises(ValueError, match="that 2 divides"):
        network(x[:, :, :15], torch.tensor([1.0, 2.0]))


def test_the_average_of_a_list_is_taken_and_its_absence_told(tmp_path: Path) -> None:
    network = DDPMUNet(SMALL)
    config, weights, notes = import_translation(released(network, tmp_path / "ckpt.pth"), size=16)
    assert config == SMALL
    assert notes.ema
    assert "moving average" in notes.messages[0]
    for name, value in network.state_dict().items():
        assert torch.equal(weights[name], value)
    _, last, told = import_translation(released(network, tmp_path / "last.pth", average=False), size=16)
    assert not told.ema
    assert "sample worse" in told.messages[0]
    assert torch.equal(last["conv_in.weight"], network.state_dict()["conv_in.weight"] + 1)


def test_the_second_network_is_known_by_its_names(tmp_path: Path) -> None:
    wanted = UNetConfig(
        in_channels=3, out_channels=1, channels=32, multipliers=(1, 2), residual_blocks=1, heads=1, scale_shift=False
    )
    torch.save(UNet(wanted).state_dict(), tmp_path / "ema.pt")
    config, _, _ = import_translation(tmp_path / "ema.pt")
    assert isinstance(config, UNetConfig)
    assert config.multipliers == (1, 2)
    assert config.scale_shift is False


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    torch.save([1, 2, 3], tmp_path / "numbers.pth")
    with pytest.raises(DataError, match="neither a list"):
        import_translation(tmp_path / "numbers.pth")
    state = DDPMUNet(SMALL).state_dict()
    del state["mid.attn_1.q.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises((DataError, ValueError), match=r"mid\.attn_1\.q\.weight"):
        import_translation(tmp_path / "less.pth", size=16)
