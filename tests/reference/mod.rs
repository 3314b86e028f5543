//! The textbook's multi-layer perceptron, as plain as it can be written: rows of
//! numbers, one loop per sum, f64. It shares no computation with the crate.
//!
//! Its numbers carry the error that the same computation has in f32: see [`Number`].

mod number;
mod optimizer;

pub(crate) use number::Number;
pub(crate) use optimizer::{Rule, State};

use microprop::{Activation, Layer, Loss, Targets};

/// Rows of numbers.
pub(crate) type Matrix = Vec<Vec<Number>>;

/// A derivative made wrong on purpose, which a check has to catch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// tanh′ = 1 − y.
    TanhSlope,
    /// sigmoid′ = y.
    SigmoidSlope,
    /// ReLU′ = 1.
    ReluSlope,
    /// Leaky ReLU′ = 0 below zero.
    LeakySlope,
    /// ∂yⱼ/∂zₖ = 0 for j ≠ k in a softmax.
    SoftmaxDiagonal,
    /// The delta is not divided by the number of samples.
    NoMean,
    /// A squared error's delta is not divided by the number of outputs.
    NoMeanOverOutputs,
    /// The gradient of the bias is missing.
    NoBias,
    /// The gradient leaves out the last sample.
    LastSample,
    /// The delta goes down through W where it should through Wᵀ.
    TransposedWeights,
}

/// A dense layer: y = activation(x·W + b).
struct Dense {
    /// `[in][out]`.
    weights: Matrix,
    bias: Vec<Number>,
    activation: Activation,
}

/// A network.
pub(crate) struct Network {
    layers: Vec<Dense>,
    fault: Option<Fault>,
}

/// What a forward pass has computed: pre-activations z and values y of each
/// layer, `[layer][sample][unit]`. `y[0]` are the inputs, so layer l leads from `y[l]` to `y[l + 1]`.
pub(crate) struct Forward {
    z: Vec<Matrix>,
    y: Vec<Matrix>,
}

/// What a backward pass has computed.
pub(crate) struct Backward {
    /// ∂loss/∂weights `[in][out]` and ∂loss/∂bias `[out]` of each layer.
    pub(crate) layers: Vec<(Matrix, Vec<Number>)>,
    /// ∂loss/∂inputs, `[sample][input]`.
    pub(crate) inputs: Matrix,
}

impl Network {
    /// A network with these parameters: of each layer the weights `[in × out]`, then the bias.
    pub(crate) fn new(inputs: usize, layers: &[Layer], params: &[Number]) -> Self {
        let mut params = params.iter().copied();
        let mut width = inputs;
        let mut dense = Vec::new();
        for layer in layers {
            let mut weights = Vec::new();
            for _ in 0..width {
                weights.push(params.by_ref().take(layer.units().unwrap()).collect());
            }
            let bias = params.by_ref().take(layer.units().unwrap()).collect();
            dense.push(Dense { weights, bias, activation: layer.activation() });
            width = layer.units().unwrap();
        }
        assert_eq!(params.next().map(|p| p.value), None, "parameters are left over");
        Self { layers: dense, fault: None }
    }

    /// The same with a wrong derivative.
    pub(crate) fn with_fault(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Layer after layer.
    pub(crate) fn forward(&self, x: Matrix) -> Forward {
        let mut pass = Forward { z: Vec::new(), y: vec![x] };
        for (l, layer) in self.layers.iter().enumerate() {
            let z = Self::pre_activations(layer, &pass.y[l]);
            pass.y.push(z.iter().map(|z| self.values(layer.activation, z)).collect());
            pass.z.push(z);
        }
        pass
    }

    /// From ∂loss/∂z of the last layer down to the inputs.
    pub(crate) fn backward(&self, pass: &Forward, delta: Matrix) -> Backward {
        let mut delta = delta;
        let mut layers = Vec::new();
        for (l, layer) in self.layers.iter().enumerate().rev() {
            layers.insert(0, self.gradient(&pass.y[l], &delta));
            let below = self.delta_below(layer, &delta);
            delta = if l == 0 { below } else { self.slopes(l - 1, pass, below) };
        }
        Backward { layers, inputs: delta }
    }

    /// ∂loss/∂z of layer `l` from ∂loss/∂y.
    pub(crate) fn slopes(&self, l: usize, pass: &Forward, delta: Matrix) -> Matrix {
        let rows = delta.iter().zip(&pass.z[l]).zip(&pass.y[l + 1]);
        rows.map(|((d, z), y)| self.slope(self.layers[l].activation, d, z, y)).collect()
    }

    /// The index of the last layer.
    pub(crate) fn last(&self) -> usize {
        self.layers.len() - 1
    }

    /// y = activation(z), in one sample.
    fn values(&self, activation: Activation, z: &[Number]) -> Vec<Number> {
        if activation == Activation::Softmax {
            let largest = largest(z);
            let e: Vec<Number> = z.iter().map(|&z| (z - largest).exp()).collect();
            let sum = sum(&e);
            return e.iter().map(|&e| e / sum).collect();
        }
        let value = |z: Number| match activation {
            Activation::Linear => z,
            Activation::Relu => {
                if z.value > 0.0 {
                    z
                } else {
                    Number::from(0.0)
                }
            }
            Activation::LeakyRelu { slope } => {
                if z.value > 0.0 {
                    z
                } else {
                    Number::from(slope) * z
                }
            }
            // 1/(1 + e^−z), and the same times e^z/e^z where e^−z could overflow.
            Activation::Sigmoid if z.value > 0.0 => Number::from(1.0) / (Number::from(1.0) + (-z).exp()),
            Activation::Sigmoid => z.exp() / (Number::from(1.0) + z.exp()),
            Activation::Tanh => z.tanh(),
            other => panic!("the reference does not know {other}"),
        };
        z.iter().map(|&z| value(z)).collect()
    }

    /// Its derivative: ∂loss/∂z from d = ∂loss/∂y, in one sample.
    fn slope(&self, activation: Activation, d: &[Number], z: &[Number], y: &[Number]) -> Vec<Number> {
        let one = Number::from(1.0);
        let mut delta = Vec::new();
        for j in 0..d.len() {
            let on = z[j].value > 0.0;
            delta.push(match activation {
                Activation::Linear => d[j],
                Activation::Relu => {
                    if on || self.has(Fault::ReluSlope) {
                        d[j]
                    } else {
                        Number::from(0.0)
                    }
                }
                Activation::LeakyRelu { .. } if on => d[j],
                Activation::LeakyRelu { .. } if self.has(Fault::LeakySlope) => Number::from(0.0),
                Activation::LeakyRelu { slope } => Number::from(slope) * d[j],
                Activation::Sigmoid if self.has(Fault::SigmoidSlope) => d[j] * y[j],
                Activation::Sigmoid => d[j] * y[j] * (one - y[j]),
                Activation::Tanh if self.has(Fault::TanhSlope) => d[j] * (one - y[j]),
                Activation::Tanh => d[j] * (one - y[j].square()),
                Activation::Softmax => {
                    // Σₖ dₖ · ∂yₖ/∂zⱼ, with ∂yₖ/∂zⱼ = yₖ·([j = k] − yⱼ).
                    let mut sum = Number::from(0.0);
                    for k in 0..d.len() {
                        if k == j {
                            sum += d[k] * y[k] * (one - y[j]);
                        } else if !self.has(Fault::SoftmaxDiagonal) {
                            sum += d[k] * y[k] * -y[j];
                        }
                    }
                    sum
                }
                other => panic!("the reference does not know {other}"),
            });
        }
        delta
    }

    /// z = x·W + b.
    fn pre_activations(layer: &Dense, x: &Matrix) -> Matrix {
        let mut z = Vec::new();
        for x in x {
            let mut row = Vec::new();
            for j in 0..layer.bias.len() {
                let mut sum = Number::from(0.0);
                for (&x, weights) in x.iter().zip(&layer.weights) {
                    sum += x * weights[j];
                }
                row.push(sum + layer.bias[j]);
            }
            z.push(row);
        }
        z
    }

    /// ∂loss/∂W = xᵀ·delta, and ∂loss/∂b, the sum of the deltas.
    fn gradient(&self, x: &Matrix, delta: &Matrix) -> (Matrix, Vec<Number>) {
        let samples = if self.has(Fault::LastSample) { x.len() - 1 } else { x.len() };
        let mut weights = vec![vec![Number::from(0.0); delta[0].len()]; x[0].len()];
        let mut bias = vec![Number::from(0.0); delta[0].len()];
        for s in 0..samples {
            for j in 0..bias.len() {
                for i in 0..weights.len() {
                    weights[i][j] += x[s][i] * delta[s][j];
                }
                if !self.has(Fault::NoBias) {
                    bias[j] += delta[s][j];
                }
            }
        }
        (weights, bias)
    }

    /// ∂loss/∂x = delta·Wᵀ.
    fn delta_below(&self, layer: &Dense, delta: &Matrix) -> Matrix {
        let mut below = Vec::new();
        for delta in delta {
            let mut row = Vec::new();
            for i in 0..layer.weights.len() {
                let mut sum = Number::from(0.0);
                for j in 0..delta.len() {
                    let transposed = self.has(Fault::TransposedWeights) && layer.weights.len() == delta.len();
                    sum += delta[j] * if transposed { layer.weights[j][i] } else { layer.weights[i][j] };
                }
                row.push(sum);
            }
            below.push(row);
        }
        below
    }

    /// The loss of a forward pass, and its derivative ∂loss/∂z of the last layer.
    pub(crate) fn loss(&self, pass: &Forward, loss: Loss, targets: Targets<'_>) -> (Number, Matrix) {
        let (z, y) = (&pass.z[self.last()], pass.outputs());
        let t = target_rows(targets, y.len(), y[0].len());
        let n = Number::from(y.len() as f64);
        let outputs = Number::from(y[0].len() as f64);
        let (two, divisor) = (Number::from(2.0), if self.has(Fault::NoMean) { Number::from(1.0) } else { n });
        let pairs = |f: &dyn Fn(Number, Number) -> Number| -> Matrix {
            y.iter().zip(&t).map(|(y, t)| y.iter().zip(t).map(|(&y, &t)| f(y, t)).collect()).collect()
        };
        match loss {
            // 1/(2n) Σ (y − t)², ∂/∂y = (y − t)/n.
            Loss::HalfMeanSquaredError => {
                let terms = pairs(&|y, t| (y - t).square());
                let delta = pairs(&|y, t| (y - t) / divisor);
                (sum(&terms.concat()) / (two * n), self.slopes(self.last(), pass, delta))
            }
            // 1/(n·o) Σ (y − t)², ∂/∂y = 2·(y − t)/(n·o).
            Loss::MeanSquaredError => {
                let width = if self.has(Fault::NoMeanOverOutputs) { Number::from(1.0) } else { outputs };
                let terms = pairs(&|y, t| (y - t).square());
                let delta = pairs(&|y, t| two * (y - t) / (divisor * width));
                (sum(&terms.concat()) / (n * outputs), self.slopes(self.last(), pass, delta))
            }
            // With y = sigmoid(z): −t·ln y − (1 − t)·ln(1 − y) = max(z, 0) − z·t + ln(1 + e^−|z|), ∂/∂z = y − t.
            Loss::BinaryCrossEntropy => {
                let mut terms = Vec::new();
                for (z, t) in z.concat().into_iter().zip(t.concat()) {
                    let softplus = (Number::from(1.0) + (-z.abs()).exp()).ln();
                    terms.push(if z.value > 0.0 { z - z * t } else { -z * t } + softplus);
                }
                (sum(&terms) / (n * outputs), pairs(&|y, t| (y - t) / (divisor * outputs)))
            }
            // With y = softmax(z): −Σⱼ tⱼ·ln yⱼ = Σⱼ tⱼ·(m + ln Σₖ e^(zₖ−m) − zⱼ), ∂/∂zⱼ = yⱼ·Σₖ tₖ − tⱼ.
            Loss::CrossEntropy => {
                let (mut terms, mut delta) = (Vec::new(), Vec::new());
                for ((z, y), t) in z.iter().zip(y).zip(&t) {
                    let m = largest(z);
                    let e: Vec<Number> = z.iter().map(|&z| (z - m).exp()).collect();
                    let ln_sum = sum(&e).ln();
                    for (&z, &t) in z.iter().zip(t) {
                        terms.push(t * ((m - z) + ln_sum));
                    }
                    let all = sum(t);
                    delta.push(y.iter().zip(t).map(|(&y, &t)| (y * all - t) / divisor).collect());
                }
                (sum(&terms) / n, delta)
            }
            other => panic!("the reference does not know {other}"),
        }
    }
}

impl Forward {
    /// The network's outputs, `[sample][output]`.
    pub(crate) fn outputs(&self) -> &Matrix {
        &self.y[self.y.len() - 1]
    }

    /// How near the input of a ReLU or leaky ReLU of `network` comes to 0, where f32 and
    /// f64 could take different branches: |z| over the standard deviation of its error.
    pub(crate) fn nearest_kink(&self, network: &Network) -> f64 {
        let mut nearest = f64::INFINITY;
        for (layer, z) in network.layers.iter().zip(&self.z) {
            if matches!(layer.activation, Activation::Relu | Activation::LeakyRelu { .. }) {
                for z in z.concat() {
                    nearest = nearest.min(z.value.abs() / z.deviation());
                }
            }
        }
        nearest
    }

    /// On which side of 0 the inputs of all units lie.
    pub(crate) fn sides(&self) -> Vec<bool> {
        self.z.concat().concat().iter().map(|z| z.value > 0.0).collect()
    }
}

impl Backward {
    /// The gradient in the order of the parameters.
    pub(crate) fn gradient(&self) -> Vec<Number> {
        self.layers.iter().flat_map(|(weights, bias)| [weights.concat(), bias.clone()].concat()).collect()
    }
}

/// `numbers` as rows of `width`.
pub(crate) fn rows(numbers: &[f32], width: usize) -> Matrix {
    numbers.chunks(width).map(|row| row.iter().map(|&x| Number::from(x)).collect()).collect()
}

/// Targets as values, classes one-hot.
fn target_rows(targets: Targets<'_>, samples: usize, outputs: usize) -> Matrix {
    match targets {
        Targets::Values(values) => rows(values, outputs),
        Targets::Classes(classes) => {
            let mut t = vec![vec![Number::from(0.0); outputs]; samples];
            for (t, &class) in t.iter_mut().zip(classes) {
                t[class as usize] = Number::from(1.0);
            }
            t
        }
    }
}

fn sum(numbers: &[Number]) -> Number {
    let mut sum = Number::from(0.0);
    for &number in numbers {
        sum += number;
    }
    sum
}

fn largest(numbers: &[Number]) -> Number {
    let mut largest = numbers[0];
    for &number in numbers {
        if number.value > largest.value {
            largest = number;
        }
    }
    largest
}
