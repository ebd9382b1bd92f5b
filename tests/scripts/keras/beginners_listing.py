"""Predicts the onset of diabetes from eight measurements: a first neural network."""

import numpy as np
from tensorflow.keras.layers import Dense
from tensorflow.keras.models import Sequential

# make the dataset: 8 input columns and 1 output column
np.random.seed(7)
X = np.random.rand(768, 8)
y = (2 * X[:, 1] + X[:, 5] + X[:, 7] + 0.2 * np.random.randn(768) > 2).astype(int)

# split into train and test
X_train, X_test = X[:600], X[600:]
y_train, y_test = y[:600], y[600:]

# define the model
model = Sequential()
model.add(Dense(24, activation="relu"))
model.add(Dense(12, activation="relu"))
model.add(Dense(1, activation="sigmoid"))

# compile the model
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])

# fit the model
model.fit(X_train, y_train, epochs=12, batch_size=15)

# evaluate the model
loss, accuracy = model.evaluate(X_test, y_test)
print("Accuracy: %.2f" % (accuracy * 100))

# make predictions
predictions = model.predict(X_test)
rounded = [round(p[0]) for p in predictions]
for i in range(5):
    print(f"{X_test[i].round(2).tolist()} => {rounded[i]} (expected {y_test[i]})")
