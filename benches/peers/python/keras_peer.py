"""Keras on JAX: its users' first script, and the steps and predictions of the workloads by its own calls."""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
import jax
import keras
import numpy as np
from serve import BATCHES, SPECS, batches, params, rows_of, samples, script_data, serve, timed

LAST = {"bce": "sigmoid", "ce": "softmax", "mse": "linear"}
LOSSES = {"bce": "binary_crossentropy", "ce": "sparse_categorical_crossentropy", "mse": "mean_squared_error"}


def network(spec):
    layers = [keras.layers.Dense(units, spec.activation) for units in spec.sizes[1:-1]]
    last = keras.layers.Dense(spec.sizes[-1], LAST[spec.loss])
    return keras.Sequential([keras.Input((spec.sizes[0],)), *layers, last])


def optimizer(kind):
    if kind == "adam":
        return keras.optimizers.Adam(1e-3, epsilon=1e-8)
    return keras.optimizers.SGD(0.01, momentum=0.9 if kind == "momentum" else 0.0)


def weights(name):
    return [p for layer in params(name) for p in layer]


def train(name):
    spec = SPECS[name]
    x, y = batches(name)
    model, start = network(spec), weights(name)
    model.compile(loss=LOSSES[spec.loss], optimizer=optimizer(spec.optimizer))
    model.optimizer.build(model.trainable_variables)
    state = [variable.numpy() for variable in model.optimizer.variables]

    def run(steps):
        model.set_weights(start)
        for variable, value in zip(model.optimizer.variables, state):
            variable.assign(value)

        several = np.arange(steps - 1) % BATCHES
        xs, ys = (np.concatenate(data[several]) if steps > 1 else None for data in (x, y))
        fit = lambda: steps > 1 and model.fit(xs, ys, batch_size=spec.batch, shuffle=False, verbose=0)
        last = lambda: model.train_on_batch(x[(steps - 1) % BATCHES], y[(steps - 1) % BATCHES])
        seconds, _ = timed(fit)
        model.reset_metrics()  # else `last` tells the mean since the first step
        slow, loss = timed(last)
        return (seconds * steps / (steps - 1) if steps > 1 else slow), loss

    return run


def predict(rows):
    x, model = samples(rows), network(SPECS["seed"])
    model.set_weights(weights("seed"))

    def run(calls):
        seconds, y = timed(lambda: [model.predict_on_batch(x[call % len(x)]) for call in range(calls)][-1])
        return seconds, y[0, 0]

    return run


def script(again):
    x, y = script_data()

    def build():
        model = network(SPECS["seed"])
        model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.SGD(0.01), metrics=["accuracy"])
        return model

    kept = build()
    if again:
        kept.fit(x, y, epochs=1, batch_size=32, verbose=0)

    def run(_):
        work = lambda: (kept if again else build()).fit(x, y, epochs=20, batch_size=32, verbose=0)
        seconds, history = timed(work)
        return seconds, history.history["loss"][-1]

    return run


def prepare(workload):
    if workload in ("script", "fit"):
        return script(workload == "fit")
    if workload.startswith("predict"):
        return predict(rows_of(workload))
    return train(workload)


serve(
    f"Keras {keras.__version__} on JAX {jax.__version__}: steps by fit, one epoch of them, verbose=0; predictions by predict_on_batch; "
    "the script without the time of importing Keras",
    prepare,
)
