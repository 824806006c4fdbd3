"""Orders of the axes of a batch of images, which models in files and models served elsewhere may take."""

from __future__ import annotations

from typing import Literal, get_args

Layout = Literal["nchw", "nhwc"]

LAYOUTS: tuple[str, ...] = get_args(Layout)
