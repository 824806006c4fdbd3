"""A runtime for MLServer that runs an ONNX file; imported by the server, in its own environment."""

# pyright: reportMissingImports=false
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """One input, one output ``logits``; the file is the parameter ``uri``."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (tensor,) = payload.inputs
        (name,) = (node.name for node in self._session.get_inputs())
        images = NumpyCodec.decode_input(tensor).astype("float32").reshape(tensor.shape)
        (scores,) = self._session.run(None, {name: images})
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[NumpyCodec.encode_output("logits", scores)],
        )
