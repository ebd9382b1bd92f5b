# Keras' guide "Customizing what happens in fit": a section a model, all of the same name, the last one only compiled.
import keras
from model_data import build, training, validation

model = build(name="first")
model.fit(*training, epochs=1, verbose=0)
model = build(name="second")
model.fit(*training, epochs=2, validation_data=validation, verbose=0)
second = model


class OwnTestStep(keras.Model):
    def test_step(self, data):
        x, y = data
        predicted = self(x, training=False)
        return {"loss": self.compute_loss(y=y, y_pred=predicted)}


inputs = keras.Input((4,))
model = OwnTestStep(inputs, keras.layers.Dense(1)(inputs), name="third")
model.compile(loss="mse")
model.evaluate(*validation, verbose=0)
EXPECTED, LAST_EPOCH, DROPPED = second, 1, 1
