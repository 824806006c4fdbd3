"""Real photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
import skimage.data
from PIL import Image


@pytest.fixture(scope="session")
def chelsea() -> Image.Image:
    with Image.open(Path(skimage.data.__file__).parent / "chelsea.png") as image:
        return image.convert("RGB")
