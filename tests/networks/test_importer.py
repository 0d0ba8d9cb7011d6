"""Foreign checkpoints: inferred shapes, stored outputs, and everything that must be refused."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from skiagraph.errors import DataError
from skiagraph.networks.classifier import ClassifierConfig, EncoderClassifier
from skiagraph.networks.importer import import_checkpoint, import_classifier
from skiagraph.networks.unet import UNet, UNetConfig

from .filled import filled_classifier, filled_unet, noise
from .reference_weights import reference

TINY = UNetConfig(
    in_channels=2, channels=8, multipliers=(1, 2), residual_blocks=1, heads=2, groups=4, downsample_depth=False
)
CLASSIFIER = ClassifierConfig(
    out_channels=3,
    channels=8,
    multipliers=(1, 2, 3),
    residual_blocks=2,
    attention_downsamplings=(2, 4),
    heads=2,
    groups=4,
    residual_resampling=True,
    downsample_depth=False,
    image_size=(8, 8),
)


def saved(network: torch.nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("name", "arguments"), [("class_conditional_64", {"heads": 2}), ("updown_heads_32", {"head_channels": 32})]
)
def test_stored_outputs_are_reproduced(name: str, arguments: dict[str, int]) -> None:
    path, arrays = reference(name)
    config, weights, notes = import_checkpoint(path, **arguments)
    network = UNet(config).eval()
    network.load_state_dict(weights)
    with torch.no_grad():
        out = network(arrays["x"], arrays["t"], arrays.get("y"))
    wanted = arrays["out"]
    assert (out - wanted).norm() < 1e-4 * wanted.norm()
    assert notes.learned_variance == (name == "class_conditional_64")


def test_reference_configurations_are_inferred() -> None:
    path, _ = reference("class_conditional_64")
    conditional, _, _ = import_checkpoint(path, heads=2)
    assert conditional == UNetConfig(
        in_channels=1,
        out_channels=2,
        channels=32,
        multipliers=(1, 2, 2),
        residual_blocks=1,
        attention_downsamplings=(4,),
        heads=2,
        classes=1000,
        downsample_depth=False,
    )
    path, _ = reference("updown_heads_32")
    resampling, _, _ = import_checkpoint(path, head_channels=32)
    assert resampling == UNetConfig(
        in_channels=3,
        out_channels=3,
        channels=32,
        multipliers=(1, 1, 2, 3, 4),
        residual_blocks=1,
        attention_downsamplings=(2, 4),
        head_channels=32,
        residual_resampling=True,
        downsample_depth=False,
    )


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"dimensions": 1, "residual_blocks": 3},
        {"dimensions": 3, "residual_resampling": True},
        {"conv_resampling": False, "residual_blocks": 2},
        {"residual_resampling": True, "multipliers": (1, 1, 2, 2), "attention_downsamplings": (2, 8)},
        {"multipliers": (2,), "residual_blocks": 2, "attention_downsamplings": (1,)},
        {"multipliers": (0.5, 1, 1.5), "attention_downsamplings": (4,)},
        {"classes": 7, "scale_shift": False, "out_channels": 4},
    ],
)
def test_a_saved_network_is_recognised_from_its_weights(change: dict[str, object], tmp_path: Path) -> None:
    config = replace(TINY, **change)
    network = filled_unet(config)
    found, weights, _ = import_checkpoint(saved(network, tmp_path / "model.pt"), heads=2, groups=4)
    assert found == config
    again = UNet(found).eval()
    again.load_state_dict(weights)
    x, time = noise(1, 2, *[4] * config.dimensions), torch.tensor(5.0)
    label = torch.tensor([1]) if config.classes else None
    assert torch.equal(again(x, time, label), network(x, time, label))


def test_wrappers_collections_and_half_precision_are_undone(tmp_path: Path) -> None:
    network = filled_unet(TINY)
    wrapped = OrderedDict((f"module.{name}", value.half()) for name, value in network.state_dict().items())
    path = tmp_path / "both.pt"
    torch.save({"model": wrapped, "ema": wrapped, "step": 3}, path)
    with pytest.raises(DataError, match=r"entry is None; entries that hold weights: \['ema', 'model'\]"):
        import_checkpoint(path, heads=2, groups=4)
    config, weights, notes = import_checkpoint(path, heads=2, groups=4, entry="ema")
    assert config == TINY
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert any("'module.'" in message for message in notes.messages)
    assert any("float16" in message for message in notes.messages)
    torch.save({"state_dict": wrapped, "epoch": 1}, path)
    _, _, notes = import_checkpoint(path, heads=2, groups=4)
    assert any("'state_dict'" in message for message in notes.messages)


def test_safetensors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(filled_unet(TINY).state_dict(), path)
    assert import_checkpoint(path, heads=2, groups=4)[0] == TINY


@pytest.mark.parametrize(
    ("name", "ema", "rate", "steps"),
    [
        ("ema_0.9999_200000.pt", True, 0.9999, 200_000),
        ("model007000.pt", False, None, 7000),
        ("brain-EMA.pt", True, None, None),
        ("schema.pt", False, None, None),
    ],
)
def test_the_file_name_tells_whether_weights_are_averaged(
    name: str, ema: bool, rate: float | None, steps: int | None, tmp_path: Path
) -> None:
    path = saved(filled_unet(TINY), tmp_path / name)
    _, _, notes = import_checkpoint(path, heads=2, groups=4)
    assert (notes.file, notes.ema, notes.ema_rate, notes.steps) == (name, ema, rate, steps)
    assert notes.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert any("moving average" in message for message in notes.messages) != ema


def test_the_assumed_number_of_heads_is_reported(tmp_path: Path) -> None:
    path = saved(filled_unet(TINY), tmp_path / "model.pt")
    config, _, notes = import_checkpoint(path, groups=4)
    assert config.heads == 4
    assert any("4 heads assumed" in message for message in notes.messages)
    with pytest.raises(ValueError, match="heads is 2 and head_channels is 4; give one"):
        import_checkpoint(path, heads=2, head_channels=4, groups=4)
    with pytest.raises(ValueError, match="heads is 0"):
        import_checkpoint(path, heads=0, groups=4)


class _Harmful:
    """Unpickling this creates a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_file_that_would_run_code_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    path, trace = tmp_path / "model.pt", tmp_path / "trace"
    torch.save({"input_blocks.0.0.weight": _Harmful(trace)}, path)
    with pytest.raises(DataError, match="files that would run code are refused"):
        import_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state": {}, "param_groups": []}, "holds the state of an optimiser"),
        ({"epoch": 3}, "entries that hold weights: none"),
        ([1, 2], "entries that hold weights: none"),
        ({"conv.weight": torch.zeros(3)}, r"no output_blocks"),
    ],
)
def test_files_without_the_right_weights_are_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(DataError, match=message):
        import_checkpoint(tmp_path / "model.pt")


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        import_checkpoint(tmp_path / "nothing.pt")
    for name in ("text.pt", "text.safetensors"):
        (tmp_path / name).write_bytes(b"no weights here")
        with pytest.raises(DataError, match=f"{name}: not a file of plain weights"):
            import_checkpoint(tmp_path / name)


def _without(state: dict[str, Tensor]) -> None:
    del state["output_blocks.1.0.in_layers.0.bias"]


def _with_more(state: dict[str, Tensor]) -> None:
    state["discriminator.weight"] = torch.zeros(2)


def _with_another_shape(state: dict[str, Tensor]) -> None:
    state["time_embed.2.bias"] = torch.zeros(3)


def _with_nan(state: dict[str, Tensor]) -> None:
    state["time_embed.2.bias"][0] = torch.nan


def _with_whole_numbers(state: dict[str, Tensor]) -> None:
    state["out.2.bias"] = torch.zeros(1, dtype=torch.int64)


def _without_time(state: dict[str, Tensor]) -> None:
    del state["time_embed.0.weight"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without, r"output_blocks.1.0.in_layers.0.bias is missing, wanted \(24,\)"),
        (_with_more, r"discriminator.weight \(2,\) is not part of the network"),
        (_with_another_shape, r"time_embed.2.bias has shape \(3,\), wanted \(32,\)"),
        (_with_nan, "time_embed.2.bias contains NaN or infinity"),
        (_with_whole_numbers, "out.2.bias is a torch.strided tensor of torch.int64"),
        (_without_time, "time_embed.0.weight is missing"),
    ],
)
def test_every_entry_must_be_explained(damage: object, message: str, tmp_path: Path) -> None:
    state = dict(filled_unet(TINY).state_dict())
    damage(state)  # type: ignore[operator]
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(DataError, match=message):
        import_checkpoint(tmp_path / "model.pt", heads=2, groups=4)


def test_widths_that_the_groups_do_not_divide_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"groups is 32, which does not divide the widths \[8, 16\]"):
        import_checkpoint(saved(filled_unet(TINY), tmp_path / "model.pt"), heads=2)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"pool": "adaptive", "image_size": None, "dimensions": 3},
        {"residual_resampling": False, "residual_blocks": 1, "attention_downsamplings": ()},
        {"residual_resampling": False, "conv_resampling": False},
        {"multipliers": (1, 1, 2, 3, 4), "image_size": (32, 32), "attention_downsamplings": ()},
    ],
)
def test_a_saved_classifier_is_recognised_from_its_weights(change: dict[str, object], tmp_path: Path) -> None:
    config = replace(CLASSIFIER, **change)
    network = filled_classifier(config)
    found, weights, notes = import_classifier(saved(network, tmp_path / "model.pt"), heads=2, groups=4)
    assert found == config
    again = EncoderClassifier(found).eval()
    again.load_state_dict(weights)
    x = noise(1, 1, *(config.image_size or [8] * config.dimensions))
    assert torch.equal(again(x, torch.tensor(5.0)), network(x, torch.tensor(5.0)))
    assert not notes.learned_variance


def test_what_a_classifier_does_not_tell_is_asked_for(tmp_path: Path) -> None:
    alike = replace(CLASSIFIER, multipliers=(1, 1), residual_blocks=2, attention_downsamplings=())
    path = saved(filled_classifier(alike), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"residual_blocks is None; the weights allow \[1, 2, 5\]"):
        import_classifier(path, heads=2, groups=4)
    with pytest.raises(ValueError, match="residual_blocks is 3"):
        import_classifier(path, heads=2, groups=4, residual_blocks=3)
    assert import_classifier(path, heads=2, groups=4, residual_blocks=2)[0] == alike
    oblong = replace(CLASSIFIER, image_size=(8, 12))
    path = saved(filled_classifier(oblong), tmp_path / "oblong.pt")
    with pytest.raises(ValueError, match="6 pooled positions are no square grid; pass image_size"):
        import_classifier(path, heads=2, groups=4)
    assert import_classifier(path, heads=2, groups=4, image_size=(8, 12))[0] == oblong
    with pytest.raises(DataError, match="no output_blocks"):
        import_checkpoint(path, heads=2, groups=4)
