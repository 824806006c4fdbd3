"""Images that torch holds on a device, scored by ONNX Runtime where they lie: nothing goes through the host.

Only imported where ONNX Runtime uses a GPU and torch is installed.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import torch
from jaxtyping import Float, Float32

from wavescope.models.torch.device import to_tensor

_TYPES = {"tensor(float)": (torch.float32, np.float32), "tensor(float16)": (torch.float16, np.float16)}


class Binding:
    """Runs a session of one input and one output on tensors.

    Args:
        session: on ``device``.
        device: of the images.
        row_shape: of one row of the output.
        rows: of a batch axis that is fixed, padded up to; ``None`` for one that is free.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        device: torch.device,
        *,
        row_shape: tuple[int, ...],
        rows: int | None,
    ) -> None:
        self._session = session
        self._device = device
        self._row_shape = row_shape
        self._rows = rows
        (self._input,), (self._output,) = session.get_inputs(), session.get_outputs()

    def to_device(self, array: np.ndarray) -> torch.Tensor:
        """``array`` as a tensor on the device; its dtype is kept."""
        return to_tensor(array, self._device)

    def run(self, images: Float32[torch.Tensor, "n c h w"]) -> Float[torch.Tensor, "*outputs"]:
        """Raw outputs; raises what ONNX Runtime and torch raise."""
        given, asked = images.shape[0], self._rows or images.shape[0]
        dtype, element = _TYPES[self._input.type]
        feed = images.to(dtype).contiguous()
        if given < asked:
            feed = torch.cat([feed, feed.new_zeros((asked - given, *feed.shape[1:]))])
        dtype, output_element = _TYPES[self._output.type]
        scores = torch.empty((asked, *self._row_shape), dtype=dtype, device=self._device)
        binding = self._session.io_binding()
        place = self._device.type, self._device.index or 0
        binding.bind_input(self._input.name, *place, element, tuple(feed.shape), feed.data_ptr())
        binding.bind_output(self._output.name, *place, output_element, tuple(scores.shape), scores.data_ptr())
        if self._device.type == "cuda":
            # ONNX Runtime has a stream of its own, and waits for none but that: what torch renders must be there.
            torch.cuda.current_stream(self._device).synchronize()
        self._session.run_with_iobinding(binding)
        return scores[:given]


def torch_device(name: str) -> torch.device | None:
    """The device ``cuda:<n>``; ``None`` where torch does not see it."""
    device = torch.device(name)
    return device if device.index < torch.cuda.device_count() else None
