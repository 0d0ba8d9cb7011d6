"""Settings: unknown keys, wrong values and files that are more than data are refused with words that help."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, model_validator

from skiagraph.config import Settings, check_values, did_you_mean, dump_yaml, load_settings, read_yaml, resolved
from skiagraph.errors import InputError


class Coils(Settings):
    """A nested section."""

    count: int = Field(8, ge=1, description="Number of coils.")


class Scan(Settings):
    """A toy of the commands' settings."""

    file: Path = Field(description="The scan file.")
    steps: int = Field(20, ge=1, description="Sampling steps.")
    rate: float = 1e-4
    rule: Literal["ddim", "heun"] = "ddim"
    coils: Coils = Coils()
    other: Coils | None = None


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_file_is_read_and_keywords_override_it(tmp_path: Path) -> None:
    path = write(tmp_path, "file: a.h5\nsteps: 5\nrate: 1e-3\ncoils: {count: 4}\n")
    settings = load_settings(Scan, path, steps=7)
    assert settings == Scan(file=Path("a.h5"), steps=7, rate=1e-3, coils=Coils(count=4))


def test_written_settings_read_back_equal(tmp_path: Path) -> None:
    settings = Scan(file=Path("müller.h5"), rule="heun", other=Coils(count=3))
    assert load_settings(Scan, write(tmp_path, dump_yaml(settings))) == settings
    assert list(resolved(settings)) == list(Scan.model_fields)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "file: a\nstep: 5\n",
            ["settings.yaml", "step is not a known key", "did you mean 'steps'?", "Known keys: file"],
        ),
        ("file: a\nsteps: 0\n", ["steps", "found 0", "greater than or equal to 1", "Sampling steps"]),
        ("file: a\nrule: huen\n", ["rule", 'found "huen"', "'ddim' or 'heun'", "did you mean 'heun'?"]),
        ("file: a\ncoils: {cuont: 4}\n", ["coils.cuont", "did you mean 'count'?"]),
        ("file: a\nother: {count: 0}\n", ["other.count", "found 0", "Number of coils"]),
        ("steps: 5\n", ["file is missing", "The scan file", "command line"]),
        ("file: a\nrate: .nan\n", ["rate", "finite"]),
        ("file: a\nsteps: 1\nsteps: 2\n", ["'steps' is given twice", "line 3"]),
        ("- a\n- b\n", ["top level is a list"]),
        ("file: [\n", ["not valid YAML", "line"]),
        ("file: !!python/object/apply:os.system ['true']\n", ["no tag may name code", "line 1"]),
        ("file: !!python/name:os.system\n", ["no tag may name code"]),
        ("file: a\nstep: 1\nrule: x\n", ["several keys are wrong", "step", "rule"]),
    ],
)
def test_wrong_files_are_refused_with_the_key_the_value_and_the_remedy(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(Scan, write(tmp_path, text))
    for word in words:
        assert word in str(caught.value)


def test_partial_values_are_converted_and_may_leave_out_required_ones() -> None:
    assert check_values(Scan, {"steps": "5", "coils": {"count": 2}}) == {"steps": 5, "coils": Coils(count=2)}
    with pytest.raises(InputError, match=r"coils\.count: found 0.*greater") as caught:
        check_values(Scan, {"coils": {"count": 0}, "stps": 1}, "here.yaml")
    assert str(caught.value).startswith("here.yaml: several keys")
    assert "did you mean 'steps'" in str(caught.value)


def test_missing_file_and_binary_file_name_themselves(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.yaml.*No such file"):
        read_yaml(tmp_path / "gone.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_yaml(binary)
    assert read_yaml(write(tmp_path, "")) == {}


class Pair(Settings):
    """Settings of which exactly one may be given."""

    first: int = 0
    second: int = 0

    @model_validator(mode="after")
    def _one(self) -> Pair:
        if bool(self.first) == bool(self.second):
            raise ValueError(f"give one of first ({self.first}) and second ({self.second})")
        return self


def test_rules_between_keys_speak_for_themselves() -> None:
    with pytest.raises(InputError, match=r"^give one of first \(1\) and second \(2\)$"):
        load_settings(Pair, first=1, second=2)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Scan(file=Path("a")).steps = 3  # type: ignore[misc]


def test_no_suggestion_where_nothing_is_near() -> None:
    assert did_you_mean("zzz", ["steps", "file"]) == ""
