"""Where loops of the script's own are seen: in the optimizer's `apply`, in the call of a tf.function in which one is
applied, in `train_on_batch`.

Inside of a tf.function an optimizer is applied when it is traced, and never again: its calls are what counts. How many
steps there are in one is read from the optimizer, in the first two calls.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.eager.context import executing_eagerly  # `tf` itself is slow to look into
from tensorflow.python.eager.polymorphic_function.polymorphic_function import Function

from headrace_trainer.adapters.keras.fits.fit import Fits
from headrace_trainer.adapters.keras.loops import made
from headrace_trainer.adapters.keras.loops.loops import Loops
from headrace_trainer.adapters.keras.state import variables as keras_state

_USES = "_headrace_uses"


class _Uses:
    """What a tf.function does with optimizers."""

    def __init__(self) -> None:
        self.optimizers: list[Any] = []
        self.count = 0
        self.calls = 0
        self.steps = 1
        self.loop: object = None  # in which they were seen last

    def called(self) -> int:
        """After a call: how many steps there were in one before, beyond the one that was told."""
        self.calls += 1
        if self.calls > 2:
            return 0
        before, self.count = self.count, self.counted()
        if self.calls == 2:
            self.steps = max(1, self.count - before)
            return self.steps - 1
        return 0

    def counted(self) -> int:
        return max((int(keras_state.steps_of(one).numpy()) for one in self.optimizers), default=0)


class LoopHooks:
    """What the hooks of training know of loops."""

    def __init__(self, loops: Loops, fits: Fits) -> None:
        self._loops = loops
        self._fits = fits
        self._main = threading.main_thread().ident
        self._calling: Function | None = None
        self._target: Any = None
        # Of each optimizer the models that own what it is applied to, and the variables.
        self._owned: weakref.WeakKeyDictionary[Any, tuple[list[weakref.ref[Any]], list[Any]]]
        self._owned = weakref.WeakKeyDictionary()

    def install(self) -> None:
        """From here on calls of functions and gradients are seen, and what is made."""
        made.follow()
        self._wrap_functions()
        self._wrap_gradients()

    def applies(self, optimizer: Any, find: Callable[[], tuple[list[Any], list[Any]]]) -> None:
        """Before `apply`; `find` tells the models and the variables, which takes a while."""
        if self._loops.knows(optimizer):
            return
        if optimizer not in self._owned:
            models, variables = find()
            self._owned[optimizer] = ([weakref.ref(model) for model in models], variables)
        references, variables = self._owned[optimizer]
        self._loops.uses(optimizer, [one for reference in references if (one := reference()) is not None], variables)

    def applied(self, optimizer: Any) -> None:
        """After `apply`, outside of Keras' own training."""
        if not executing_eagerly():
            function = self._calling
            if function is not None:
                uses = getattr(function, _USES, None) or _Uses()
                setattr(function, _USES, uses)
                if not any(known is optimizer for known in uses.optimizers):
                    uses.optimizers.append(optimizer)
        elif threading.get_ident() == self._main and not self._loops.looks_for_state():
            self._loops.used(optimizer, 1, self._target)

    def on_batch(self, model: Any, again: Callable[[], Any], result: Any) -> Any:
        """After `train_on_batch`; the result is that of the step that counts."""
        if threading.get_ident() != self._main:
            return result
        if not self._loops.knows(model.optimizer):
            self._loops.uses(model.optimizer, [model], [])
        if self._loops.looks_for_state():
            result = again()
        self._loops.used(model, 1, None)
        return result

    def _wrap_functions(self) -> None:
        original = Function.__call__
        hooks, fits = self, self._fits
        get_ident, main = threading.get_ident, self._main

        @functools.wraps(original)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if hooks._calling is not None or fits.is_followed or get_ident() != main or not executing_eagerly():
                return original(self, *args, **kwargs)
            hooks._calling = self
            try:
                result = original(self, *args, **kwargs)
            finally:
                hooks._calling = None
            uses = getattr(self, _USES, None)
            if uses is None:
                return result
            return hooks._called(self, uses, lambda: original(self, *args, **kwargs), result, (args, kwargs))

        Function.__call__ = call

    def _called(self, function: Any, uses: _Uses, again: Callable[[], Any], result: Any, given: Any) -> Any:
        if uses.loop is not self._loops.loop:
            for optimizer in uses.optimizers:  # they may have been traced in a loop before
                self.applies(optimizer, lambda: ([], []))
            uses.loop = self._loops.loop
        if self._loops.looks_for_state():
            # What was trained by this first call is overwritten. Its batch is there still, unless it was drawn in it.
            if any(hasattr(value, "__next__") for value in tf.nest.flatten(given)):
                uses.calls, uses.count = 1, uses.counted()
                return result
            result = again()
        self._loops.used(function, uses.steps, result)
        more = uses.called()
        if more:
            self._loops.corrected(2 * more)
        return result

    def _wrap_gradients(self) -> None:
        gradient, enter = tf.GradientTape.gradient, tf.GradientTape.__enter__
        hooks, fits, loops = self, self._fits, self._loops

        @functools.wraps(gradient)
        def see_target(self: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
            if not fits.is_followed and executing_eagerly():
                hooks._target = target
            return gradient(self, target, *args, **kwargs)

        @functools.wraps(enter)
        def begin(self: Any) -> Any:
            if not fits.is_followed:
                tf.GradientTape.__enter__ = enter  # once: what is not there yet is looked for after a use
                if loops.awaits_state:
                    with tf.init_scope():
                        loops.put_back()
            return enter(self)

        tf.GradientTape.gradient = see_target
        if loops.awaits_any_state:
            tf.GradientTape.__enter__ = begin
