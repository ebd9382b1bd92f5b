"""Trains a neural network of scikit-learn's in epochs and writes its curves for TensorBoard."""

import joblib
import numpy as np
from skl2onnx import to_onnx
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from tensorboardX import SummaryWriter

import headrace_client as headrace

EPOCHS = 60

rng = np.random.default_rng(5)
X = rng.uniform(-3, 3, size=(12000, 2)).astype(np.float32)
y = (np.sin(2 * X[:, 0]) + np.cos(3 * X[:, 1]) > 0).astype(int)
X_train, X_test, y_train, y_test = X[:10000], X[10000:], y[:10000], y[10000:]

folder = headrace.last_checkpoint()
net = joblib.load(folder / "net.joblib") if folder else MLPClassifier((64, 64), random_state=1)
with SummaryWriter("outputs/runs") as writer:
    for epoch in range(headrace.last_step(), EPOCHS):
        net.partial_fit(X_train, y_train, classes=[0, 1])
        writer.add_scalar("loss/train", net.loss_, epoch)
        writer.add_scalar("loss/test", log_loss(y_test, net.predict_proba(X_test)), epoch)
        writer.add_scalar("accuracy/test", net.score(X_test, y_test), epoch)
        with headrace.checkpoint(step=epoch + 1) as folder:
            joblib.dump(net, folder / "net.joblib")

onx = to_onnx(net, X_train[:1], options={"zipmap": False})
with open("net.onnx", "wb") as f:
    f.write(onx.SerializeToString())
headrace.export("net.onnx", format="ONNX")
