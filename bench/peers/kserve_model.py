"""An ONNX model behind kserve, called straight: python kserve_model.py MODEL HTTP_PORT GRPC_PORT."""

import sys
from typing import Any

import onnxruntime
from kserve import InferOutput, InferResponse, Model, ModelServer

path, http_port, grpc_port = sys.argv[1:]
sys.argv[1:] = []


class Onnx(Model):
    def __init__(self) -> None:
        super().__init__("m")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options)
        self.names = [output.name for output in self.session.get_outputs()]
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> InferResponse:
        outputs = self.session.run(None, {given.name: given.as_numpy() for given in payload.inputs})
        binary = bool(payload.request_outputs or (payload.parameters or {}).get("binary_data_output"))
        answers = []
        for name, value in zip(self.names, outputs, strict=True):
            answer = InferOutput(name=name, shape=list(value.shape), datatype="FP32")
            answer.set_data_from_numpy(value, binary_data=binary)
            answers.append(answer)
        return InferResponse(response_id=payload.id or "", model_name="m", infer_outputs=answers)


ModelServer(http_port=int(http_port), grpc_port=int(grpc_port), workers=1, enable_grpc=True).start([Onnx()])
