"""Distils a wide convnet (the teacher) into a narrow one (the student)."""

import keras
import numpy as np
from keras import layers, ops


class Distiller(keras.Model):
    def __init__(self, student, teacher):
        super().__init__()
        self.student = student
        self.teacher = teacher

    def compile(self, optimizer, metrics, student_loss_fn, distillation_loss_fn, alpha=0.1, temperature=3):
        super().compile(optimizer=optimizer, metrics=metrics)
        self.student_loss_fn = student_loss_fn
        self.distillation_loss_fn = distillation_loss_fn
        self.alpha = alpha
        self.temperature = temperature

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        soft_targets = ops.softmax(self.teacher(x, training=False) / self.temperature, axis=1)
        student_loss = self.student_loss_fn(y, y_pred)
        distillation_loss = self.distillation_loss_fn(soft_targets, ops.softmax(y_pred / self.temperature, axis=1))
        distillation_loss *= self.temperature**2
        return self.alpha * student_loss + (1 - self.alpha) * distillation_loss

    def call(self, x):
        return self.student(x)


def make_net(filters, name):
    return keras.Sequential(
        [
            keras.Input(shape=(16, 16, 1)),
            layers.Conv2D(filters, 3, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.MaxPooling2D(2, strides=1, padding="same"),
            layers.Conv2D(2 * filters, 3, strides=2, padding="same"),
            layers.Flatten(),
            layers.Dense(5),
        ],
        name=name,
    )


# Ripples of five directions under a lot of noise.
rows, columns = np.mgrid[0:16, 0:16]
labels = np.random.randint(0, 5, size=1216)
angle = labels * np.pi / 5 + np.random.normal(0, 0.1, size=len(labels))
phase = np.random.uniform(0, 2 * np.pi, size=len(labels))
along = rows * np.cos(angle)[:, None, None] + columns * np.sin(angle)[:, None, None]
images = np.sin(along + phase[:, None, None]) + np.random.normal(0, 0.6, size=along.shape)
images = images[..., None].astype("float32")
x_train, y_train, x_test, y_test = images[:960], labels[:960], images[960:], labels[960:]

teacher = make_net(24, "teacher")
student = make_net(8, "student")

teacher.compile(
    optimizer=keras.optimizers.Adam(),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy()],
)
teacher.fit(x_train, y_train, epochs=5)
teacher.evaluate(x_test, y_test)

distiller = Distiller(student=student, teacher=teacher)
distiller.compile(
    optimizer=keras.optimizers.Adam(0.005),
    metrics=[keras.metrics.SparseCategoricalAccuracy()],
    student_loss_fn=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    distillation_loss_fn=keras.losses.KLDivergence(),
    alpha=0.1,
    temperature=3,
)
distiller.fit(x_train, y_train, epochs=7)
distiller.evaluate(x_test, y_test)

student.save("student.keras")
print(f"teacher: {teacher.count_params()} weights, student: {student.count_params()} weights")
