"""The words that choose slices."""

from __future__ import annotations

import pytest

from skiagraph.errors import InputError
from skiagraph.tasks.slices import chosen_slices


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", [0, 1, 2, 3, 4]),
        (" ALL ", [0, 1, 2, 3, 4]),
        ("3", [3]),
        ("-1", [4]),
        ("1:3", [1, 2]),
        (":", [0, 1, 2, 3, 4]),
        ("1::2", [1, 3]),
        ("4, 0:2, 1", [4, 0, 1]),
    ],
)
def test_words_choose_slices_in_order_and_once(text: str, expected: list[int]) -> None:
    assert chosen_slices(text, 5) == expected


@pytest.mark.parametrize("text", ["", "five", "5", "-6", "1:9", "3:2", "0:4:0", "1-3"])
def test_words_that_choose_nothing_or_too_much_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="slices"):
        chosen_slices(text, 5)
