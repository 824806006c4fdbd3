"""Images that torch holds on a device, scored by ONNX Runtime where they lie: nothing goes through the host.

Only imported where ONNX Runtime uses a GPU and torch is installed.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32

from wavescope.models.onnx.probe import Signature
from wavescope.models.onnx.runtime import ort
from wavescope.models.onnx.signature import NHWC
from wavescope.models.torch.device import to_tensor

_TYPES = {
    np.float16: torch.float16,
    np.float32: torch.float32,
    np.float64: torch.float64,
    np.uint8: torch.uint8,
}


class Binding:
    """Runs a session on tensors.

    Args:
        session: on ``device``.
        device: of the images.
        signature: how the session takes images, and which output has the scores.
        rows: of a batch axis that is fixed, padded up to; ``None`` for one that is free.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        device: torch.device,
        signature: Signature,
        *,
        rows: int | None,
    ) -> None:
        self._session = session
        self._device = device
        self._signature = signature
        self._rows = rows

    def to_device(self, array: np.ndarray) -> torch.Tensor:
        """``array`` as a tensor on the device; its dtype is kept."""
        return to_tensor(array, self._device)

    def run(self, images: Float32[torch.Tensor, "n c h w"]) -> Float[torch.Tensor, "*outputs"]:
        """Raw outputs; raises what ONNX Runtime and torch raise."""
        given, asked = images.shape[0], self._rows or images.shape[0]
        feed = self._arrange(images)
        if given < asked:
            feed = torch.cat([feed, feed.new_zeros((asked - given, *feed.shape[1:]))])
        taken, scored = self._signature.input.dtype, self._signature.score_dtype.type
        shape = (asked, *self._signature.row_shape)
        scores = torch.empty(shape, dtype=_TYPES[scored], device=self._device)
        binding = self._session.io_binding()
        place = self._device.type, self._device.index or 0
        binding.bind_input(self._signature.input.name, *place, taken, tuple(feed.shape), feed.data_ptr())
        binding.bind_output(self._signature.output, *place, scored, shape, scores.data_ptr())
        if self._device.type == "cuda":
            # ONNX Runtime has a stream of its own, and waits for none but that: what torch renders must be there.
            torch.cuda.current_stream(self._device).synchronize()
        self._session.run_with_iobinding(binding)
        return scores[:given]

    def _arrange(self, images: torch.Tensor) -> torch.Tensor:
        """Images as of :meth:`wavescope.models.onnx.signature.ImageInput.arrange`, on the device."""
        if self._signature.input.dtype is np.uint8:
            images = (images.clamp(0, 1) * 255).round()
        if self._signature.input.layout == "nhwc":
            images = images.permute(NHWC)
        return images.to(_TYPES[self._signature.input.dtype]).contiguous()


def torch_device(name: str) -> torch.device | None:
    """The device ``cuda:<n>``; ``None`` where torch does not see it."""
    device = torch.device(name)
    return device if device.index < torch.cuda.device_count() else None
