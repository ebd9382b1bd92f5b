"""The code of docs/the-mathematics.md computes what Keras' layers compute; what the page says of differences is so."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from headrace_common.explanation import Method
from headrace_explain.explain import explain
from later import Later

PAGE = Path(__file__).resolve().parents[2] / "docs" / "the-mathematics.md"
keras, LAYERS = Later("keras"), Later("keras.layers")


@pytest.fixture(scope="module")
def page() -> SimpleNamespace:
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        exec(compile(block, str(PAGE), "exec"), names)
    return SimpleNamespace(**names)


@pytest.fixture
def draw():
    return np.random.default_rng(7).normal


def weights_of(layer, draw):
    """Its weights, made different from what they begin with: zeros and ones would hide a mistake."""
    layer.set_weights([draw(size=weight.shape) for weight in layer.get_weights()])
    return layer.get_weights()


def same(ours, keras_own):
    np.testing.assert_allclose(ours, keras.ops.convert_to_numpy(keras_own), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution(page, draw, stride):
    x, layer = draw(size=(2, 7, 6, 3)), LAYERS.Conv2D(4, (3, 2), strides=stride)
    layer.build(x.shape)
    kernel, bias = weights_of(layer, draw)
    same(page.convolution(x, kernel, bias, stride), layer(x))


def test_a_layer_does_not_reverse_its_kernel_as_a_textbook_does(page, draw):
    signal, kernel = draw(size=9), draw(size=3)
    layer = LAYERS.Conv1D(1, 3, use_bias=False)
    layer.build((1, 9, 1))
    layer.set_weights([kernel[::-1].reshape(3, 1, 1)])
    same(np.convolve(signal, kernel, "valid"), layer(signal.reshape(1, 9, 1))[0, :, 0])


def test_pooling(page, draw):
    x = draw(size=(2, 7, 6, 3))
    same(page.max_pooling(x, 2), LAYERS.MaxPooling2D(2)(x))
    same(page.mean_pooling(x, 3), LAYERS.AveragePooling2D(3)(x))


def test_padding_is_not_counted_in_a_mean():
    assert LAYERS.AveragePooling2D(2, padding="same")(np.ones((1, 3, 3, 1))).numpy().min() == 1


def test_softmax(page, draw):
    z = draw(size=(3, 5), scale=200)
    same(page.softmax(z), LAYERS.Softmax()(z))


def test_cross_entropy(page, draw):
    probabilities, classes = page.softmax(draw(size=(6, 4))), np.array([0, 1, 2, 3, 3, 0])
    same(
        page.cross_entropy(classes, probabilities), keras.losses.SparseCategoricalCrossentropy()(classes, probabilities)
    )
    rows = np.eye(4)[classes]
    same(page.cross_entropy(classes, probabilities), keras.losses.CategoricalCrossentropy()(rows, probabilities))


def test_a_right_class_of_probability_0_costs_16(page):
    loss = keras.losses.SparseCategoricalCrossentropy()(np.array([0]), np.array([[0.0, 1.0]]))
    assert float(loss) == pytest.approx(16.1, abs=0.05)
    exact = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(np.array([0]), np.array([[-40.0, 0.0]]))
    assert float(exact) == pytest.approx(40)


@pytest.mark.parametrize(("name", "function"), [("SimpleRNN", "simple_rnn"), ("LSTM", "lstm")])
def test_recurrent_layers(page, draw, name, function):
    x, layer = draw(size=(2, 5, 3)), getattr(LAYERS, name)(4)
    layer.build(x.shape)
    same(getattr(page, function)(x, *weights_of(layer, draw)), layer(x))


def test_an_lstm_keeps_its_memory_at_first():
    layer = LAYERS.LSTM(4)
    layer.build((None, 5, 3))
    assert layer.get_weights()[2].tolist() == [0] * 4 + [1] * 4 + [0] * 8


@pytest.mark.parametrize("is_causal", [False, True])
def test_scaled_dot_product_attention(page, draw, is_causal):
    query, key, value = (draw(size=(2, 5, 3, 4)) for _ in range(3))  # batch, steps, heads, d: as Keras has them
    allowed = np.tril(np.ones((5, 5), bool)) if is_causal else None
    ours = page.attention(*(part.swapaxes(1, 2) for part in (query, key, value)), allowed)
    same(ours.swapaxes(1, 2), keras.ops.dot_product_attention(query, key, value, is_causal=is_causal))


def test_the_layer_attention_does_not_divide(page, draw):
    query, key, value = draw(size=(2, 5, 4)), draw(size=(2, 6, 4)), draw(size=(2, 6, 3))
    same(page.attention(query * 2, key, value), LAYERS.Attention()([query, value, key]))  # 2 is the root of 4


@pytest.mark.parametrize("is_causal", [False, True])
def test_several_heads(page, draw, is_causal):
    x, layer = draw(size=(2, 5, 6)), LAYERS.MultiHeadAttention(3, 4)
    layer.build(x.shape, x.shape)
    weights = weights_of(layer, draw)
    allowed = np.tril(np.ones((5, 5), bool)) if is_causal else None
    same(page.self_attention(x, weights, allowed), layer(x, x, use_causal_mask=is_causal))


def test_the_transformer_block(page, draw):
    x, width = draw(size=(2, 5, 6)), 6
    attention, norms = LAYERS.MultiHeadAttention(3, 4), (LAYERS.LayerNormalization(), LAYERS.LayerNormalization())
    network = keras.Sequential([keras.Input((5, width)), LAYERS.Dense(9, activation="relu"), LAYERS.Dense(width)])
    attention.build(x.shape, x.shape)
    for norm in norms:
        norm.build(x.shape)
    parts = [weights_of(layer, draw) for layer in (attention, norms[0], network, norms[1])]

    a = norms[0](x + attention(x, x))
    same(page.transformer_block(x, *parts), norms[1](a + network(a)))


def small_net(draw, activation, values=4):
    """Two layers of Keras', and their gradient by the row."""
    net = keras.Sequential([keras.Input((values,)), LAYERS.Dense(6, activation), LAYERS.Dense(1)])
    first, first_bias, second, _ = weights_of(net, draw)
    slope = {"tanh": lambda z: 1 - np.tanh(z) ** 2, "relu": lambda z: (z > 0).astype(float)}[activation]
    said = lambda rows: keras.ops.convert_to_numpy(net(rows.astype("float32")))[:, 0].astype(float)  # noqa: E731
    return said, lambda rows: (slope(rows @ first + first_bias) * second[:, 0]) @ first.T


def test_shapley_values_are_what_the_explanations_come_near_to(page, draw):
    said, _ = small_net(draw, "relu")
    x, background = draw(size=4), draw(size=(5, 4))

    shares = page.shapley_values(said, x, background)

    assert shares.sum() == pytest.approx(said(x[None])[0] - said(background).mean(), abs=1e-4)
    rows, others = {"x": x[None]}, {"x": background}
    ours = explain(lambda feed: {"y": said(feed["x"])}, rows, others, method=Method.SHAPLEY, budget=6000)
    np.testing.assert_allclose(ours.attributions["x"][0], shares, atol=0.05 * np.abs(shares).max())


def test_integrated_gradients_add_up_and_are_those_of_the_explanations(page, draw):
    said, gradient = small_net(draw, "tanh")
    x, background = draw(size=4), draw(size=(5, 4))
    baseline = background.mean(axis=0)

    found = page.integrated_gradients(gradient, x, baseline)

    assert found.sum() == pytest.approx(said(np.stack([baseline, x])) @ [-1, 1], abs=1e-4)
    ours = explain(
        lambda feed: {"y": said(feed["x"])},
        {"x": x[None]},
        {"x": background},
        method=Method.INTEGRATED_GRADIENTS,
        gradient=lambda feed, output, target: {"x": gradient(feed["x"])},
    )
    np.testing.assert_allclose(ours.attributions["x"][0], found, rtol=1e-4, atol=1e-5)


def test_with_kinks_the_sum_is_not_quite_the_difference(page, draw):
    said, gradient = small_net(draw, "relu")
    x, baseline = draw(size=4) * 3, np.zeros(4)

    gap = said(np.stack([baseline, x])) @ [-1, 1] - page.integrated_gradients(gradient, x, baseline, steps=16).sum()

    assert 1e-5 < abs(gap) < 0.5
