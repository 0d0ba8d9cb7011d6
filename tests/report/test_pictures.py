"""Pictures decode to what was asked: one window a row, a stated factor for errors, geometry kept."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from skiagraph.report.pictures import DrawnPicture, Picture, PictureRow, draw_row


def _pixels(picture: DrawnPicture | None) -> np.ndarray:
    assert picture is not None
    data = base64.b64decode(picture.source.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_grey_values_are_exact_and_clipped() -> None:
    levels = np.array([[-1.0, 0.0, 51.0], [204.0, 255.0, 999.0]])
    drawn = draw_row(PictureRow("r", (Picture(levels, "p"),), window=(0, 255)), "measured")
    expected = np.array([[0, 0, 51], [204, 255, 255]])
    np.testing.assert_array_equal(_pixels(drawn.lines[0][0]), np.repeat(expected[..., None], 3, -1))


def test_images_of_a_row_share_the_window_of_the_first() -> None:
    ramp = np.linspace(0, 2, 10_000).reshape(100, 100)
    drawn = draw_row(PictureRow("r", (Picture(ramp, "a"), Picture(ramp / 2, "b"))), "measured")
    first, second = (_pixels(picture).astype(int) for picture in drawn.lines[0])
    assert drawn.window == ("0", "2")
    assert np.abs(first - 2 * second).max() <= 2
    negative = draw_row(PictureRow("r", (Picture(ramp - 1, "a"),)), "measured")
    assert negative.window == ("-0.996", "0.996")


def test_errors_and_deviations_share_the_stated_scale() -> None:
    image, error = np.full((4, 4), 2.0), np.full((4, 4), -0.25)
    row = PictureRow(
        "r",
        (Picture(image, "a"),),
        (Picture(error, "e", kind="error"),),
        window=(0.0, 2.0),
        error_factor=4.0,
    )
    drawn = draw_row(row, "measured")
    assert (drawn.scale, drawn.factor) == ("0.5", "4")
    expected = np.round(np.array(colormaps["inferno"](128)[:3]) * 255)
    np.testing.assert_array_equal(_pixels(drawn.lines[1][0])[0, 0], expected)
    deviation = PictureRow("r", (Picture(image, "a"), Picture(-error, "s", kind="deviation")), (), (0.0, 2.0), 4.0)
    np.testing.assert_array_equal(_pixels(draw_row(deviation, "m").lines[0][1])[0, 0], expected)


def test_rows_without_colour_state_no_colour_scale() -> None:
    assert draw_row(PictureRow("r", (Picture(np.eye(3), "a"),)), "m").scale == ""


def test_row_zero_is_on_top_and_shape_follows_spacing() -> None:
    image = np.zeros((4, 6))
    image[0] = 1
    drawn = draw_row(PictureRow("r", (Picture(image, "a"),), spacing=(3.0, 1.0)), "m").lines[0][0]
    assert (_pixels(drawn)[0] == 255).all()
    assert (_pixels(drawn)[1:] == 0).all()
    assert drawn is not None
    assert drawn.shape == 6 / 12


def test_gaps_keep_the_alignment() -> None:
    picture = Picture(np.eye(3), "a")
    drawn = draw_row(PictureRow("r", (picture, picture, picture), (None, picture)), "m")
    assert [item is None for item in drawn.lines[1]] == [True, False, True]


def test_a_flat_picture_has_a_window() -> None:
    assert draw_row(PictureRow("r", (Picture(np.zeros((3, 3)), "a"),)), "m").window == ("0", "1")


def test_tags_fall_back_from_picture_to_row_to_page() -> None:
    picture, own = Picture(np.eye(3), "a"), Picture(np.eye(3), "b", provenance="own")
    with_tag = draw_row(PictureRow("r", (picture, own), provenance="row"), "page")
    without = draw_row(PictureRow("r", (picture,)), "page")
    assert [item.provenance for item in with_tag.lines[0] if item] == ["row", "own"]
    assert [item.provenance for item in without.lines[0] if item] == ["page"]


def test_refusals() -> None:
    good = Picture(np.eye(3), "a")
    for array in (np.eye(3)[..., None], np.eye(3) * 1j, np.zeros((0, 3))):
        with pytest.raises(ValueError, match=r"picture 'bad': found .* allowed are real arrays"):
            draw_row(PictureRow("r", (Picture(array, "bad"),)), "m")
    with pytest.raises(ValueError, match="not finite"):
        draw_row(PictureRow("r", (Picture(np.full((2, 2), np.nan), "bad"),)), "m")
    with pytest.raises(ValueError, match="found kind 'heat'"):
        draw_row(PictureRow("r", (Picture(np.eye(3), "bad", kind="heat"),)), "m")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pictures of row 'r': found none"):
        PictureRow("r", ())
    with pytest.raises(ValueError, match="found 2 pictures under 1"):
        PictureRow("r", (good,), (good, good))
    with pytest.raises(ValueError, match="error_factor: found 0"):
        PictureRow("r", (good,), error_factor=0)
    with pytest.raises(ValueError, match="black must be below white"):
        PictureRow("r", (good,), window=(1.0, 1.0))
    with pytest.raises(ValueError, match="spacing"):
        PictureRow("r", (good,), spacing=(0.0, 1.0))
