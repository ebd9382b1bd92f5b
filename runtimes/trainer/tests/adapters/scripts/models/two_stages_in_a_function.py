from model_data import build, training


def main():
    first, second = build(name="first"), build(name="second")
    first.fit(*training, epochs=1, verbose=0)
    second.fit(*training, epochs=1, verbose=0)


main()
NAMES = ["first", "second"]
