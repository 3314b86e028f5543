"""JAX. The first argument says how:

- loop: all steps of a run in one compiled lax.fori_loop, which takes the next batch by itself; predictions too;
- calls: a call of a compiled function for each step or prediction, its buffers donated.
"""

import os
import sys
from functools import partial

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
import jax
import jax.numpy as jnp
from serve import BATCHES, SPECS, batches, params, rows_of, samples, serve, timed

jax.config.update("jax_cpu_enable_async_dispatch", False)
MODE = sys.argv[1]
ACTIVATIONS = {"relu": lambda x: jnp.maximum(x, 0), "tanh": jnp.tanh}


def bce(x, y):
    return jnp.mean(jnp.maximum(x, 0) - x * y + jnp.log1p(jnp.exp(-jnp.abs(x))))


def ce(x, y):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1))


def mse(x, y):
    return jnp.mean((x - y) ** 2)


LOSSES = {"bce": bce, "ce": ce, "mse": mse}


def logits(p, x, act):
    for layer, (w, b) in enumerate(p):
        x = (x if layer == 0 else act(x)) @ w + b
    return x


def stepper(spec):
    """A step from a state and a batch to a state and the loss."""
    act, loss, tree = ACTIVATIONS[spec.activation], LOSSES[spec.loss], jax.tree.map

    def step(state, x, y):
        value, g = jax.value_and_grad(lambda p: loss(logits(p, x, act), y))(state[0])
        if spec.optimizer == "sgd":
            return (tree(lambda p, g: p - 0.01 * g, state[0], g),), value
        if spec.optimizer == "momentum":
            m = tree(lambda m, g: 0.9 * m + g, state[1], g)
            return (tree(lambda p, m: p - 0.01 * m, state[0], m), m), value
        p, m, v, t = state
        t = t + 1
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        m_scale, v_scale = 1 / (1 - 0.9**t), 1 / (1 - 0.999**t)
        p = tree(lambda p, m, v: p - 1e-3 * (m * m_scale) / (jnp.sqrt(v * v_scale) + 1e-8), p, m, v)
        return (p, m, v, t), value

    return step


def initial(name):
    p = [(jnp.asarray(w), jnp.asarray(b)) for w, b in params(name)]
    zero = jax.tree.map(jnp.zeros_like, p)
    states = {"sgd": (p,), "momentum": (p, zero), "adam": (p, zero, zero, jnp.zeros(()))}
    return states[SPECS[name].optimizer]


def train(name):
    step, start = stepper(SPECS[name]), initial(name)
    x, y = map(jnp.asarray, batches(name))
    xs, ys = list(x), list(y)

    @partial(jax.jit, donate_argnums=0)
    def loop(state, steps, x, y):
        def body(k, carry):
            batch = [jax.lax.dynamic_index_in_dim(a, k % BATCHES, 0, False) for a in (x, y)]
            return step(carry[0], *batch)

        return jax.lax.fori_loop(0, steps, body, (state, jnp.float32(0)))

    one = jax.jit(step, donate_argnums=0)

    def calls(state, steps):
        for k in range(steps):
            state, loss = one(state, xs[k % BATCHES], ys[k % BATCHES])
        return state, loss

    def run(steps):
        state = jax.block_until_ready(jax.tree.map(jnp.copy, start))
        work = (lambda: loop(state, steps, x, y)) if MODE == "loop" else (lambda: calls(state, steps))
        seconds, (_, loss) = timed(lambda: jax.block_until_ready(work()))
        return seconds, loss

    return run


def predict(rows):
    p = initial("seed")[0]
    x = jnp.asarray(samples(rows))
    pieces, count = list(x), len(x)

    def forward(p, x):
        return jax.nn.sigmoid(logits(p, x, ACTIVATIONS["relu"]))

    @jax.jit
    def loop(p, calls, x):
        # Every output is part of what the loop carries, so none can be left out.
        def body(k, carry):
            y = forward(p, jax.lax.dynamic_index_in_dim(x, k % count, 0, False))
            return y, carry[1] + y

        zero = jnp.zeros((rows, 1))
        return jax.lax.fori_loop(0, calls, body, (zero, zero))

    one = jax.jit(forward)

    def call(calls):
        for k in range(calls):
            y = one(p, pieces[k % count])
        return y, y

    def run(calls):
        work = (lambda: loop(p, calls, x)) if MODE == "loop" else (lambda: call(calls))
        seconds, (y, _) = timed(lambda: jax.block_until_ready(work()))
        return seconds, y[0, 0]

    return run


def prepare(workload):
    if workload.startswith("predict"):
        return predict(rows_of(workload))
    return train(workload) if workload in SPECS else "Keras's script"


HOW = {
    "loop": "all steps of a run in one compiled fori_loop, buffers donated",
    "calls": "a call of a compiled function per step, buffers donated, synchronous dispatch",
}
serve(f"JAX {jax.__version__} (XLA compiles for this CPU): {HOW[MODE]}", prepare)
