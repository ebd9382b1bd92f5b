"""Trains a linear classifier on chunks of a stream, resuming from its last saved state."""

import argparse

import joblib
import numpy as np
from skl2onnx import to_onnx
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

import headrace_client as headrace

N_FEATURES = 100
CLASSES = np.array([0, 1, 2])
CENTRES = np.random.default_rng(0).normal(0, 0.25, size=(3, N_FEATURES))


def read_chunks(n_chunks, chunk_size):
    rng = np.random.default_rng()
    for _ in range(n_chunks):
        y = rng.integers(0, 3, size=chunk_size)
        X = CENTRES[y] + rng.normal(size=(chunk_size, N_FEATURES))
        yield X.astype(np.float32), y


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--chunk-size", type=int, default=4000)
    args = parser.parse_args()

    folder = headrace.last_checkpoint()
    if folder:
        state = joblib.load(folder / "state.joblib")
        clf, start = state["classifier"], state["epoch"] + 1
        print(f"Going on from {folder} at epoch {start}")
    else:
        clf = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=1e-6)
        start = 0

    X_test, y_test = next(read_chunks(1, 5000))
    for epoch in range(start, args.epochs):
        for X, y in read_chunks(args.chunks, args.chunk_size):
            clf.partial_fit(X, y, classes=CLASSES)
        loss = log_loss(y_test, clf.predict_proba(X_test))
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {clf.score(X_test, y_test):.4f}", flush=True)
        with headrace.checkpoint(step=epoch + 1) as folder:
            joblib.dump({"epoch": epoch, "classifier": clf}, folder / "state.joblib")

    onx = to_onnx(clf, X_test[:1], options={"zipmap": False})
    with open("model.onnx", "wb") as f:
        f.write(onx.SerializeToString())
    headrace.export("model.onnx", format="ONNX")
    print("Saved model.onnx")


if __name__ == "__main__":
    main()
