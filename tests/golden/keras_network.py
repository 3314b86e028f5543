"""The runs of `make_layers.py` in Keras on JAX: its own layers, activations, losses, regularizers and optimizers."""

from training import check_keras_precision, keras_optimizer, set_keras_precision  # first: it sets Keras's environment

import jax
import keras
import numpy as np
from keras.src.backend import set_keras_mask
from keras.src.trainers.data_adapters.data_adapter_utils import class_weight_to_sample_weights
from network import EPSILON, MOMENTUM


def activation(name, constant):
    if name == "gelu_tanh":
        return lambda z: keras.activations.gelu(z, approximate=True)
    if name == "elu":
        return lambda z: keras.activations.elu(z, alpha=constant)
    if name == "leaky_relu":
        return lambda z: keras.activations.leaky_relu(z, negative_slope=constant)
    if name == "gelu":
        return lambda z: keras.activations.gelu(z, approximate=False)
    return keras.activations.get({"hard_swish": "hard_silu"}.get(name, name))


def model_of(case, statistics):
    """A model of the inputs and, for each layer with dropout, its factors; and the layer that holds the variables
    of each of ours."""
    x = keras.Input((case.inputs,))
    factors = {n: keras.Input((layer.outputs,)) for n, layer in enumerate(case.layers) if layer.dropout}
    entered, owners = [x], []
    for number, layer in enumerate(case.layers):
        below = entered[-1]
        regularizer = keras.regularizers.L1L2(layer.l1, layer.l2 / 2) if layer.l1 or layer.l2 else None
        owner = {
            "dense": lambda: keras.layers.Dense(layer.outputs, use_bias=layer.bias, kernel_regularizer=regularizer),
            "layer_norm": lambda: keras.layers.LayerNormalization(epsilon=EPSILON),
            "rms_norm": lambda: keras.layers.RMSNormalization(epsilon=EPSILON),
            "batch_norm": lambda: keras.layers.BatchNormalization(momentum=1 - MOMENTUM, epsilon=EPSILON),
            "normalization": lambda: keras.layers.Normalization(
                mean=statistics[number][0], variance=1 / statistics[number][1].astype(np.float64) ** 2
            ),
            "embedding": lambda: keras.layers.Embedding(
                layer.categories, layer.outputs - layer.inputs + 1, embeddings_regularizer=regularizer
            ),
            "activation": lambda: keras.layers.Identity(),
        }[layer.kind]()
        owners.append(owner)
        if layer.kind == "embedding":
            embedded = owner(keras.ops.cast(below[:, layer.column], "int32"))
            parts = [below[:, : layer.column], embedded, below[:, layer.column + 1 :]]
            z = keras.layers.Concatenate()([part for part in parts if part.shape[1]])
        else:
            z = owner(below)
        if layer.residual:
            z = keras.layers.Add()([z, entered[number - layer.residual + 1]])
        fused = case.is_fused and number == len(case.layers) - 1
        y = z if fused else keras.layers.Activation(activation(layer.activation, layer.constant))(z)
        entered.append(keras.layers.Multiply()([y, factors[number]]) if layer.dropout else y)
    return keras.Model([x, *factors.values()], entered[-1]), owners


def loss_of(case):
    return {
        "half_mse": lambda: lambda t, y, sample_weight: keras.ops.sum((y - t) ** 2) / (2 * len(t)),
        "mse": keras.losses.MeanSquaredError,
        "mae": keras.losses.MeanAbsoluteError,
        "huber": lambda: keras.losses.Huber(delta=case.constant),
        "log_cosh": keras.losses.LogCosh,
        "bce": lambda: keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=case.constant),
        "bce_probabilities": keras.losses.BinaryCrossentropy,
        "ce_class": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "ce_onehot": lambda: keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=case.constant),
        "ce_probabilities": keras.losses.CategoricalCrossentropy,
        "hinge": keras.losses.Hinge,
        "kl": keras.losses.KLDivergence,
        "poisson": keras.losses.Poisson,
    }[case.loss]()


def run(case, batches, params, statistics, dtype):
    """Losses, parameters and statistics."""
    set_keras_precision(dtype)
    model, owners = model_of(case, statistics)
    remaining = iter(params)
    for number, (layer, owner) in enumerate(zip(case.layers, owners, strict=True)):
        moving = statistics[number] if layer.kind == "batch_norm" else []
        owner.set_weights([next(remaining) for _ in layer.shapes] + list(moving))
    update = keras_optimizer(case.optimizer, case.settings)
    update.build(model.trainable_variables)
    loss = loss_of(case)

    def value_of(trainable, other, batch):
        inputs = [batch["x"], *batch["factors"]]
        y, other, penalties = model.stateless_call(trainable, other, inputs, training=True, return_losses=True)
        t, weights, mask = batch["t"], batch["weights"], batch["mask"]
        if mask is not None:
            if case.has_term_per_output:
                # Keras masks what has a loss of its own, here every output.
                if weights is not None:
                    weights = keras.ops.repeat(weights, y.shape[1])
                y, t, mask = (keras.ops.reshape(a, (-1, 1)) for a in (y, t, mask))
            set_keras_mask(y, keras.ops.max(mask, axis=1) > 0)
        return loss(t, y, sample_weight=weights) + sum(penalties), other

    @jax.jit
    def step(trainable, other, optimizer, batch):
        (value, other), gradients = jax.value_and_grad(value_of, has_aux=True)(trainable, other, batch)
        trainable, optimizer = update.stateless_apply(optimizer, gradients, trainable)
        return value, trainable, other, optimizer

    trainable = [v.value for v in model.trainable_variables]
    other = [v.value for v in model.non_trainable_variables]
    optimizer = [v.value for v in update.variables]
    real = lambda a: a if a.dtype.kind == "i" else a.astype(dtype)
    losses = []
    for batch in batches:
        batch = batch.map(real)
        if case.class_weights is not None:
            batch.weights = class_weight_to_sample_weights(batch.t, dict(enumerate(case.class_weights))).astype(dtype)
        fields = {"x": batch.x, "t": batch.t, "weights": batch.weights, "mask": batch.mask}
        fields["factors"] = list(batch.factors.values())
        value, trainable, other, optimizer = step(trainable, other, optimizer, fields)
        losses.append(float(value))
    assert value.dtype == dtype

    for variables, values in [
        (model.trainable_variables, trainable),
        (model.non_trainable_variables, other),
        (update.variables, optimizer),
    ]:
        for variable, new in zip(variables, values, strict=True):
            variable.assign(new)
    final, moved = [], {}
    for number, (layer, owner) in enumerate(zip(case.layers, owners, strict=True)):
        values = owner.get_weights()
        final += values[: len(layer.shapes)]
        if layer.has_statistics:
            moved[number] = values[len(layer.shapes) :] or [s.astype(dtype) for s in statistics[number]]
    check_keras_precision(dtype, final, update)
    return np.array(losses), final, moved
