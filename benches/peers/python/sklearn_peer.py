"""scikit-learn's MLPClassifier and MLPRegressor: what an epoch more adds to `fit`, divided by the steps of the epochs."""

import warnings

import numpy as np
import sklearn
from serve import BATCHES, SPECS, batches, rows_of, samples, script_data, serve, timed
from sklearn.neural_network import MLPClassifier, MLPRegressor

warnings.filterwarnings("ignore")


def model(spec, epochs, **settings):
    make = MLPRegressor if spec.loss == "mse" else MLPClassifier
    return make(
        hidden_layer_sizes=spec.sizes[1:-1],
        activation=spec.activation,
        solver="adam" if spec.optimizer == "adam" else "sgd",
        learning_rate_init=1e-3 if spec.optimizer == "adam" else 0.01,
        momentum=0.9 if spec.optimizer == "momentum" else 0.0,
        nesterovs_momentum=False,
        alpha=0.0,
        batch_size=spec.batch,
        max_iter=epochs,
        tol=0.0,
        n_iter_no_change=10**6,
        random_state=1,
        **settings,
    )


def train(name):
    spec = SPECS[name]
    x, y = batches(name)
    x = x.reshape(-1, spec.sizes[0])
    y = y.reshape(len(x), -1).squeeze()

    def fit(epochs):
        return timed(lambda: model(spec, epochs, shuffle=False).fit(x, y))[0]

    def run(steps):
        epochs = max(1, steps // BATCHES)
        seconds = fit(1 + epochs) - fit(1)
        return seconds * steps / (epochs * BATCHES), np.nan

    return run


def predict(rows):
    x = samples(rows)
    fitted = model(SPECS["seed"], 2).fit(x.reshape(-1, 20), np.arange(x.size // 20) % 2)

    def run(calls):
        seconds, _ = timed(lambda: [fitted.predict_proba(x[call % len(x)]) for call in range(calls)])
        return seconds, np.nan

    return run


def script(again):
    x, y = script_data()
    kept = model(SPECS["seed"], 20, warm_start=again)

    def run(_):
        work = lambda: (kept if again else model(SPECS["seed"], 20)).fit(x, y.ravel())
        return timed(work)[0], np.nan

    return run


def prepare(workload):
    if workload in ("script", "fit"):
        return script(workload == "fit")
    if workload.startswith("predict"):
        return predict(rows_of(workload))
    return train(workload)


serve(
    f"scikit-learn {sklearn.__version__} (the wheel's own build): what epochs more add to fit on float32, without shuffling; its own initial "
    "weights, so no loss to compare; predict_proba",
    prepare,
)
