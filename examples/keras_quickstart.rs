//! The twin of a first script in Keras, line for line:
//!
//! ```python
//! import keras, numpy as np
//!
//! x = np.random.random((1000, 20))
//! y = np.random.randint(2, size=(1000, 1))
//!
//! model = keras.Sequential([
//!     keras.Input((20,)),
//!     keras.layers.Dense(64, activation="relu"),
//!     keras.layers.Dense(1, activation="sigmoid"),
//! ])
//! model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.SGD(0.01), metrics=["accuracy"])
//! model.fit(x, y, epochs=20, batch_size=32)
//! ```
//!
//! Run it with `cargo run --release --example keras_quickstart`. (The targets are
//! random: there is little to learn, here as there. It shows how it reads, and how long it takes.)

use microprop::{Activation::*, Fit, Loss::BinaryCrossEntropy, Metric::Accuracy, Network, Rng, Sgd};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut rng = Rng::new(1);
    let x: Vec<f32> = (0..1000 * 20).map(|_| rng.uniform()).collect();
    let y: Vec<f32> = (0..1000).map(|_| rng.below(2) as f32).collect();

    let mut model = Network::new(20).dense(64, Relu).dense(1, Sigmoid).seed(7).build()?;
    println!("{model}");

    let fit = Fit::new(BinaryCrossEntropy, Sgd::new(0.01)).metric(Accuracy).epochs(20).batch_size(32);
    let start = Instant::now();
    let history = model.fit(&x, &y, fit.on_epoch(|epoch| println!("{epoch}")))?;
    let seconds = start.elapsed().as_secs_f64();

    let last = history.last().ok_or("no epoch was run")?.training;
    let accuracy = last.metric.ok_or("a metric was asked for")?;
    println!("result: loss={:.4} accuracy={accuracy:.4} seconds={seconds:.5}", last.loss);
    Ok(())
}
