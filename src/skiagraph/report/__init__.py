"""The page a person looks at: one self-contained file of pictures, tables and curves that works offline."""

from __future__ import annotations

from skiagraph.report.curves import Curve, Line
from skiagraph.report.kept import write_page
from skiagraph.report.page import Highlight, Page, Table, render_page
from skiagraph.report.pictures import Picture, PictureRow

__all__ = ["Curve", "Highlight", "Line", "Page", "Picture", "PictureRow", "Table", "render_page", "write_page"]
