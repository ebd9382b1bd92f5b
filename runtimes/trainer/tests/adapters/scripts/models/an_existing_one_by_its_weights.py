from model_data import EXISTING, build, training, validation

student = build("student")
student.fit(*training, epochs=2, validation_data=validation, verbose=0)
production = build("production")
production.load_weights(EXISTING / "production.weights.h5")
student.evaluate(*validation, verbose=0)
production.evaluate(*validation, verbose=0)
EXPECTED, LAST_EPOCH = student, 1
