"""An ONNX model behind MLServer, called straight: the class that model-settings.json names."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Onnx(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        self._names = [output.name for output in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = self._session.run(None, {given.name: NumpyCodec.decode_input(given) for given in payload.inputs})
        answers = [NumpyCodec.encode_output(name, value) for name, value in zip(self._names, outputs, strict=True)]
        return InferenceResponse(model_name="m", outputs=answers)
