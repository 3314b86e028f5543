//! One step of back-propagation, number by number, beside the textbook's formulas in f64.
//!
//! A 3-2-1 network of sigmoids, `L = 1/(2n) Σ (y − ŷ)²`, n = 2. Weights, first sample and
//! learning rate are those of Han, Kamber, Pei, "Data Mining", 3rd ed., example 9.1,
//! which has z₁ = (−0.7, 0.1), a₁ = (0.332, 0.525), z₂ = −0.105, ŷ = 0.474.
//!
//! `cargo run --release --example backprop_by_hand`

use microprop::{Activation, Delta, Isa, Layout, Loss, Mlp, Optimizer, Sgd, Targets, Trainer, kernels, layout};
use std::error::Error;

const LAYOUT: Layout = layout!(3 => dense(2, Sigmoid), dense(1, Sigmoid));
const N: usize = 2;
const RATE: f32 = 0.9;
const X: [f32; N * 3] = [1.0, 0.0, 1.0, 0.0, 1.0, 1.0];
const Y: [f32; N] = [1.0, 0.0];
#[rustfmt::skip]
const PARAMS: [f32; LAYOUT.params_len()] = [
    0.2, -0.3,    // W₁[i,j], from input i to hidden unit j
    0.4, 0.1,
    -0.5, 0.2,
    -0.4, 0.2,    // b₁[j]
    -0.3, -0.2,   // W₂[j]
    0.1,          // b₂
];

fn main() -> Result<(), Box<dyn Error>> {
    let naive = Naive::step();
    let isa = Isa::detect();
    let (w1, rest) = PARAMS.split_at(6);
    let (b1, rest) = rest.split_at(2);
    let (w2, b2) = rest.split_at(2);
    let mut scratch = [0.0; kernels::forward_scratch_len(3)];

    println!("Given: example 9.1 of Han, Kamber, Pei, \"Data Mining\", 3rd ed., and a second sample");
    println!("x   {:?}   y   {Y:?}   η   {RATE}", X.as_chunks::<3>().0);
    println!("W₁  {:?}   b₁  {b1:?}", w1.as_chunks::<2>().0);
    println!("W₂  {w2:?}   b₂  {b2:?}\n");

    let mut table = Table::new();
    table.heading("Forward");
    let mut z1 = [0.0; N * 2];
    kernels::dense_forward(isa, &X, w1, b1, Activation::Linear, &mut z1, &mut scratch)?;
    table.rows("z₁", "Σᵢ x[s,i]·W₁[i,j] + b₁[j]", &["s1 j1", "s1 j2", "s2 j1", "s2 j2"], &z1, &naive.z1);
    let mut a1 = z1;
    kernels::sigmoid(isa, &mut a1);
    table.rows("a₁", "σ(z₁) = 1 / (1 + e^−z₁)", &["s1 j1", "s1 j2", "s2 j1", "s2 j2"], &a1, &naive.a1);
    let mut z2 = [0.0; N];
    kernels::dense_forward(isa, &a1, w2, b2, Activation::Linear, &mut z2, &mut scratch)?;
    table.rows("z₂", "Σⱼ a₁[s,j]·W₂[j] + b₂", &["s1", "s2"], &z2, &naive.z2);
    let mut y = z2;
    kernels::sigmoid(isa, &mut y);
    table.rows("ŷ", "σ(z₂)", &["s1", "s2"], &y, &naive.y);

    // The loss, the gradient and the step in one call each, as a program would have them.
    let mlp = Mlp::new(LAYOUT, isa);
    let sgd = Optimizer::Sgd(Sgd::new(RATE));
    let trainer = Trainer::new(mlp, Loss::HalfMeanSquaredError, sgd)?;
    let mut workspace = vec![0.0; mlp.workspace_len(N)?];
    let mut gradient = [0.0; LAYOUT.trainable_len()];
    let loss = trainer.gradient(0, &X, Targets::values(&Y), &PARAMS, &mut gradient, &mut workspace)?;
    let mut updated = PARAMS;
    trainer.train_step(0, &X, Targets::values(&Y), &mut updated, &mut [], &mut workspace)?;
    table.rows("L", "1/(2n) Σₛ (y − ŷ)²", &[""], &[loss], &[naive.loss]);

    table.heading("Backward: δ = ∂L/∂z, by the chain rule");
    let error: [f32; N] = std::array::from_fn(|s| (y[s] - Y[s]) / N as f32);
    table.rows("∂L/∂ŷ", "(ŷ − y)/n", &["s1", "s2"], &error, &naive.error);
    // Through the output's sigmoid: a layer whose only weight is 1.
    let mut delta2 = [0.0; N];
    kernels::dense_delta(isa, &error, 1, &[1.0], &y, Activation::Sigmoid, &mut delta2, &mut scratch)?;
    table.rows("δ₂", "(ŷ − y)/n · σ′(z₂),  σ′ = ŷ(1 − ŷ)", &["s1", "s2"], &delta2, &naive.delta2);
    let mut delta1 = [0.0; N * 2];
    kernels::dense_delta(isa, &delta2, 1, w2, &a1, Activation::Sigmoid, &mut delta1, &mut scratch)?;
    let cells = ["s1 j1", "s1 j2", "s2 j1", "s2 j2"];
    table.rows("δ₁", "δ₂[s]·W₂[j] · σ′(z₁),  σ′ = a₁(1 − a₁)", &cells, &delta1, &naive.delta1);

    table.heading("Gradients");
    let cells = ["i1 j1", "i1 j2", "i2 j1", "i2 j2", "i3 j1", "i3 j2"];
    table.rows("∂L/∂W₁", "Σₛ x[s,i]·δ₁[s,j]", &cells, &gradient[..6], &naive.gradient[..6]);
    table.rows("∂L/∂b₁", "Σₛ δ₁[s,j]", &["j1", "j2"], &gradient[6..8], &naive.gradient[6..8]);
    table.rows("∂L/∂W₂", "Σₛ a₁[s,j]·δ₂[s]", &["j1", "j2"], &gradient[8..10], &naive.gradient[8..10]);
    table.rows("∂L/∂b₂", "Σₛ δ₂[s]", &[""], &gradient[10..], &naive.gradient[10..]);

    table.heading("Updated: w ← w − η·∂L/∂w, η = 0.9");
    table.rows("W₁", "W₁ − η·∂L/∂W₁", &cells, &updated[..6], &naive.updated[..6]);
    table.rows("b₁", "b₁ − η·∂L/∂b₁", &["j1", "j2"], &updated[6..8], &naive.updated[6..8]);
    table.rows("W₂", "W₂ − η·∂L/∂W₂", &["j1", "j2"], &updated[8..10], &naive.updated[8..10]);
    table.rows("b₂", "b₂ − η·∂L/∂b₂", &[""], &updated[10..], &naive.updated[10..]);

    // The pieces are the step: its deltas, handed back, and its layers, one by one, give the same bits.
    let mut from_delta = PARAMS;
    let pass = mlp.forward(&from_delta.clone(), &X, &mut workspace)?;
    pass.backward(&sgd, 0, Delta::PreActivations(&delta2), &mut from_delta, &mut [], None)?;
    let mut by_layer = PARAMS;
    let (layer1, layer2) = by_layer.split_at_mut(8);
    kernels::dense_update(isa, &X, &delta1, 2, &sgd, 0, layer1, &mut [], &mut scratch)?;
    kernels::dense_update(isa, &a1, &delta2, 1, &sgd, 0, layer2, &mut [], &mut scratch)?;
    if from_delta != updated || by_layer != updated {
        return Err("the step and its pieces differ".into());
    }
    // All numbers here are below 1, and none has more than a dozen roundings behind it.
    if table.largest_difference.total_cmp(&(4.0 * f64::from(f32::EPSILON))).is_gt() {
        return Err(format!("largest difference {:e}: more than rounding", table.largest_difference).into());
    }
    println!("\nresult: largest_difference={:.1e} loss={loss:.9}", table.largest_difference);
    Ok(())
}

/// The same step in f64, from the formulas, nothing shared.
struct Naive {
    z1: [f64; 4],
    a1: [f64; 4],
    z2: [f64; N],
    y: [f64; N],
    loss: f64,
    error: [f64; N],
    delta2: [f64; N],
    delta1: [f64; 4],
    gradient: [f64; 11],
    updated: [f64; 11],
}

impl Naive {
    fn step() -> Self {
        let (x, t, p) = (X.map(f64::from), Y.map(f64::from), PARAMS.map(f64::from));
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        let mut this = Self {
            z1: [0.0; 4],
            a1: [0.0; 4],
            z2: [0.0; N],
            y: [0.0; N],
            loss: 0.0,
            error: [0.0; N],
            delta2: [0.0; N],
            delta1: [0.0; 4],
            gradient: [0.0; 11],
            updated: p,
        };
        for s in 0..N {
            for j in 0..2 {
                let sum: f64 = (0..3).map(|i| x[3 * s + i] * p[2 * i + j]).sum();
                this.z1[2 * s + j] = sum + p[6 + j];
                this.a1[2 * s + j] = sigmoid(this.z1[2 * s + j]);
            }
            this.z2[s] = this.a1[2 * s] * p[8] + this.a1[2 * s + 1] * p[9] + p[10];
            this.y[s] = sigmoid(this.z2[s]);
            this.loss += (t[s] - this.y[s]).powi(2) / (2.0 * N as f64);
            this.error[s] = (this.y[s] - t[s]) / N as f64;
            this.delta2[s] = this.error[s] * this.y[s] * (1.0 - this.y[s]);
            for j in 0..2 {
                let a = this.a1[2 * s + j];
                this.delta1[2 * s + j] = this.delta2[s] * p[8 + j] * a * (1.0 - a);
                for i in 0..3 {
                    this.gradient[2 * i + j] += x[3 * s + i] * this.delta1[2 * s + j];
                }
                this.gradient[6 + j] += this.delta1[2 * s + j];
                this.gradient[8 + j] += a * this.delta2[s];
            }
            this.gradient[10] += this.delta2[s];
        }
        for (w, g) in this.updated.iter_mut().zip(this.gradient) {
            *w -= f64::from(RATE) * g;
        }
        this
    }
}

/// What is printed, and the largest difference in it.
struct Table {
    largest_difference: f64,
}

impl Table {
    fn new() -> Self {
        println!("3-2-1 network, sigmoid, L = 1/(2n) Σ (y − ŷ)², n = {N}: samples s, inputs i, hidden units j\n");
        println!("{:<8}{:<7}{:<42}{:>14}{:>17}{:>13}", "", "", "formula", "microprop f32", "naive f64", "difference");
        Self { largest_difference: 0.0 }
    }

    fn heading(&self, text: &str) {
        println!("\n{text}");
    }

    fn rows(&mut self, symbol: &str, formula: &str, cells: &[&str], ours: &[f32], naive: &[f64]) {
        for ((cell, &ours), &naive) in cells.iter().zip(ours).zip(naive) {
            let difference = (f64::from(ours) - naive).abs();
            println!("{symbol:<8}{cell:<7}{formula:<42}{ours:>14.9}{naive:>17.12}{difference:>13.1e}");
            // In this order NaN is above everything.
            self.largest_difference = std::cmp::max_by(difference, self.largest_difference, f64::total_cmp);
        }
    }
}
