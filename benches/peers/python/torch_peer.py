"""PyTorch. The first argument says how:

- eager: modules, autograd, and an optimizer of torch.optim with fused=True;
- compiled: forward, loss, gradient and update as one function through torch.compile, the parameters updated in place.
"""

import sys

import torch
import torch.nn.functional as F
from serve import BATCHES, SPECS, batches, params, rows_of, samples, serve, timed

torch.set_num_threads(1)
torch.set_num_interop_threads(1)
MODE = sys.argv[1]
LOSSES = {"bce": F.binary_cross_entropy_with_logits, "ce": F.cross_entropy, "mse": F.mse_loss}
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}
MODULES = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}


def initial(name):
    """Of each layer the weights, which PyTorch has as [out × in], and the bias."""
    return [torch.tensor(p.T.copy()) for layer in params(name) for p in layer]


def data(name):
    x, y = batches(name)
    y = torch.tensor(y).long() if SPECS[name].loss == "ce" else torch.tensor(y)
    return list(torch.tensor(x)), list(y)


def sequential(name):
    sizes, layers = SPECS[name].sizes, []
    for n_in, n_out in zip(sizes, sizes[1:]):
        layers += [torch.nn.Linear(n_in, n_out), MODULES[SPECS[name].activation]()]
    model = torch.nn.Sequential(*layers[:-1])
    reset(model.parameters(), initial(name))
    return model


@torch.no_grad()
def reset(tensors, values):
    for tensor, value in zip(tensors, values):
        tensor.copy_(value)


def optimizer_of(kind, parameters):
    if kind == "adam":
        return torch.optim.Adam(parameters, lr=1e-3, fused=True)
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9 if kind == "momentum" else 0, fused=True)


def eager(name):
    x, y = data(name)
    model, loss, start = sequential(name), LOSSES[SPECS[name].loss], initial(name)

    def run(steps):
        reset(model.parameters(), start)
        optimizer = optimizer_of(SPECS[name].optimizer, model.parameters())

        def train():
            for step in range(steps):
                error = loss(model(x[step % BATCHES]), y[step % BATCHES])
                error.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            return error

        seconds, last = timed(train)
        return seconds, last.item()

    return run


def compiled(name):
    x, y = data(name)
    spec, start = SPECS[name], initial(name)
    act, loss = ACTIVATIONS[spec.activation], LOSSES[spec.loss]
    p, m, v = ([t.clone() for t in start] for _ in range(3))
    t = torch.zeros(())

    def error(p, x, y):
        for layer in range(0, len(p), 2):
            x = F.linear(x if layer == 0 else act(x), p[layer], p[layer + 1])
        return loss(x, y)

    def step(p, m, v, t, x, y):
        gradient, value = torch.func.grad_and_value(error)(p, x, y)
        if spec.optimizer == "sgd":
            for p, g in zip(p, gradient):
                p.sub_(g * 0.01)
        elif spec.optimizer == "momentum":
            for p, g, m in zip(p, gradient, m):
                m.mul_(0.9).add_(g)
                p.sub_(m * 0.01)
        else:
            t.add_(1)
            m_scale, v_scale = 1 / (1 - 0.9**t), 1 / (1 - 0.999**t)
            for p, g, m, v in zip(p, gradient, m, v):
                m.mul_(0.9).add_(g * 0.1)
                v.mul_(0.999).add_(g * g * 0.001)
                p.sub_(1e-3 * (m * m_scale) / ((v * v_scale).sqrt() + 1e-8))
        return value

    step = torch.compile(step, fullgraph=True)

    @torch.no_grad()
    def run(steps):
        reset(p, start)
        for state in (*m, *v, t):
            state.zero_()

        def train():
            for k in range(steps):
                value = step(p, m, v, t, x[k % BATCHES], y[k % BATCHES])
            return value

        seconds, last = timed(train)
        return seconds, last.item()

    return run


def predict(rows):
    x = list(torch.tensor(samples(rows)))
    model = torch.nn.Sequential(*sequential("seed"), torch.nn.Sigmoid()).eval()
    if MODE == "compiled":
        model = torch.compile(model)

    @torch.inference_mode()
    def run(calls):
        def work():
            for call in range(calls):
                y = model(x[call % len(x)])
            return y

        seconds, y = timed(work)
        return seconds, y[0].item()

    return run


def prepare(workload):
    if workload.startswith("predict"):
        return predict(rows_of(workload))
    if workload in SPECS:
        return {"eager": eager, "compiled": compiled}[MODE](workload)
    return "Keras's script"


HOW = {
    "eager": "modules, autograd, optimizers with fused=True; predictions in inference_mode",
    "compiled": "forward, loss, gradient and update in one function through torch.compile; predictions in inference_mode",
}
serve(f"PyTorch {torch.__version__} (the wheel's own build, {torch.backends.cpu.get_cpu_capability()}): {HOW[MODE]}", prepare)
