"""KServe's own model server with an ONNX file, for its protocols v1 and v2; run in its own environment.

``kserve_model.py NAME FILE HTTP_PORT GRPC_PORT``
"""

# pyright: reportMissingImports=false
import sys

import numpy as np
import onnxruntime
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model, ModelServer


class OnnxModel(Model):
    """One input ``images``, one output ``logits``; v1 predictions are rows of them."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.ready = True

    async def get_input_types(self) -> list[dict]:
        return [{"name": "images", "datatype": "FP32", "shape": [-1, 3, -1, -1]}]

    async def get_output_types(self) -> list[dict]:
        return [{"name": "logits", "datatype": "FP32", "shape": [-1, -1]}]

    async def predict(self, payload, headers=None, response_headers=None):
        if isinstance(payload, dict):
            return {"predictions": self._scores(np.array(payload["instances"], np.float32)).tolist()}
        assert isinstance(payload, InferRequest)
        (tensor,) = payload.inputs
        assert isinstance(tensor, InferInput)
        scores = self._scores(tensor.as_numpy().astype(np.float32))
        output = InferOutput("logits", list(scores.shape), "FP32")
        output.set_data_from_numpy(scores, binary_data=payload.use_binary_outputs)
        return InferResponse(payload.id, self.name, [output])

    def _scores(self, images: np.ndarray) -> np.ndarray:
        (name,) = (node.name for node in self._session.get_inputs())
        return np.asarray(self._session.run(None, {name: images})[0])


if __name__ == "__main__":
    name, path, http_port, grpc_port = sys.argv[1:]
    server = ModelServer(http_port=int(http_port), grpc_port=int(grpc_port), workers=1, enable_grpc=True)
    server.start([OnnxModel(name, path)])
