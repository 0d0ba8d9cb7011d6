"""Splits go by head, are complete, and refuse overlap wherever it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skiagraph.data.splits import Split, read_split, split_by_head, write_split
from skiagraph.errors import DataError, InputError

HEADS = {"a1": "a", "a2": "a", "b1": "b", "c1": "c", "c2": "c"}


def test_every_case_follows_its_head_and_survives_the_file(tmp_path: Path) -> None:
    split = split_by_head(HEADS, test=["c"], validation=["b"])
    assert (split.train, split.validation, split.test) == (("a1", "a2"), ("b1",), ("c1", "c2"))
    assert split.heads_of("test") == {"c"}
    assert read_split(write_split(tmp_path / "split.json", split)) == split


def test_overlap_is_refused_in_memory_and_in_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train and test share the heads \['a'\]"):
        Split(HEADS, ("a1", "b1"), (), ("a2", "c1", "c2"))
    with pytest.raises(InputError, match="more than once"):
        Split(HEADS, ("a1", "a2", "b1", "b1"), (), ("c1", "c2"))
    with pytest.raises(InputError, match="without a side: \\['c2'\\]"):
        Split(HEADS, ("a1", "a2"), ("b1",), ("c1",))
    with pytest.raises(InputError, match="share the heads"):
        split_by_head(HEADS, test=["a"], validation=["a"])
    with pytest.raises(InputError, match="unknown heads"):
        split_by_head(HEADS, test=["z"])
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"heads": HEADS, "train": ["a1", "b1"], "validation": [], "test": ["a2", "c1", "c2"]}))
    with pytest.raises(DataError, match="share the heads"):
        read_split(path)
    path.write_text(json.dumps({"heads": HEADS}))
    with pytest.raises(DataError, match="has the keys"):
        read_split(path)
    path.write_text("{")
    with pytest.raises(DataError, match="not a split in JSON"):
        read_split(path)
