"""Logistic regression by gradient descent, by hand, with nothing but numpy."""

import numpy as np

np.random.seed(1)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def load_dataset(m_train=8000, m_test=2000, n=300):
    X = np.random.randn(n, m_train + m_test)
    true_w = np.random.randn(n, 1) * (np.random.rand(n, 1) < 0.2)
    noise = np.random.randn(1, m_train + m_test)
    Y = (true_w.T @ X + noise > 0.5).astype(float)
    return X[:, :m_train], Y[:, :m_train], X[:, m_train:], Y[:, m_train:]


def propagate(w, b, X, Y):
    m = X.shape[1]
    A = np.clip(sigmoid(w.T @ X + b), 1e-7, 1 - 1e-7)
    cost = -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))
    dw = X @ (A - Y).T / m
    db = np.mean(A - Y)
    return dw, db, cost


def optimize(w, b, X, Y, num_iterations, learning_rate, print_every=100):
    costs = []
    for i in range(num_iterations):
        dw, db, cost = propagate(w, b, X, Y)
        w = w - learning_rate * dw
        b = b - learning_rate * db
        if i % print_every == 0:
            costs.append(cost)
            print(f"Cost after iteration {i}: {cost:f}")
    return w, b, costs


def predict(w, b, X):
    return (sigmoid(w.T @ X + b) > 0.5).astype(float)


X_train, Y_train, X_test, Y_test = load_dataset()
print(f"Number of training examples: {X_train.shape[1]}, features: {X_train.shape[0]}")

w, b, costs = optimize(np.zeros((X_train.shape[0], 1)), 0.0, X_train, Y_train, num_iterations=1300, learning_rate=0.3)

print(f"train accuracy: {100 - np.mean(np.abs(predict(w, b, X_train) - Y_train)) * 100:.2f} %")
print(f"test accuracy: {100 - np.mean(np.abs(predict(w, b, X_test) - Y_test)) * 100:.2f} %")
np.savez("weights.npz", w=w, b=b, costs=costs)
