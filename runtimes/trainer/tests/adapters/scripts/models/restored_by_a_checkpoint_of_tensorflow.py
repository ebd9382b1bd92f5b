import tensorflow as tf
from model_data import build, training, validation

model = build()
model.fit(*training, epochs=1, validation_data=validation, verbose=0)
path = tf.train.Checkpoint(model=model).save("kept")
restored = build(name="restored")
tf.train.Checkpoint(model=restored).restore(path)
restored.evaluate(*validation, verbose=0)
EXPECTED = restored
VAL_LOSS = model.history.history["val_loss"][0]
