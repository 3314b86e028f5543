//! The textbook's multi-layer perceptron, as plain as it can be written: rows of
//! numbers, one loop per sum, f64. It shares no computation with the crate.
//!
//! Its numbers carry the error that the same computation has in f32: see [`Number`].

pub(crate) mod compare;
pub(crate) mod dropout;
mod layer;
mod loss;
mod number;
mod optimizer;

pub(crate) use layer::{Kind, Spec};
pub(crate) use loss::Goal;
pub(crate) use number::Number;
pub(crate) use optimizer::{Rule, State};

use layer::Layer;
use microprop::Activation;

/// Rows of numbers.
pub(crate) type Matrix = Vec<Vec<Number>>;

/// An enum that lists its variants.
macro_rules! listed {
    ($(#[$of_enum:meta])* $name:ident { $($(#[$of_variant:meta])* $variant:ident,)* }) => {
        $(#[$of_enum])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name { $($(#[$of_variant])* $variant,)* }

        impl $name {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];
        }
    };
}

listed! {
    /// A derivative made wrong on purpose, which a check has to catch.
    Fault {
        /// tanh′ = 1 − y.
        TanhSlope,
        /// sigmoid′ = y.
        SigmoidSlope,
        /// ReLU′ = 1.
        ReluSlope,
        /// Leaky ReLU′ = 0 below zero.
        LeakySlope,
        /// ELU′ = e^z below zero, without alpha.
        EluSlope,
        /// SELU′ without λ.
        SeluSlope,
        /// GELU′ = Φ(z).
        GeluSlope,
        /// The same for its tanh form: ½(1 + tanh u).
        GeluTanhSlope,
        /// SiLU′ = sigmoid(z).
        SiluSlope,
        /// mish′ = tanh(softplus(z)).
        MishSlope,
        /// softplus′ = 1.
        SoftplusSlope,
        /// softsign′ = 1/(1 + |z|).
        SoftsignSlope,
        /// Hard sigmoid′ = 1.
        HardSigmoidSlope,
        /// Hard swish′ = hard sigmoid.
        HardSwishSlope,
        /// ∂yⱼ/∂zₖ = 0 for j ≠ k in a softmax.
        SoftmaxDiagonal,
        /// The delta is not divided by the number of samples.
        NoMean,
        /// The derivative of |e| is e.
        AbsoluteSlope,
        /// The derivative of Huber's loss is e, however far away.
        HuberUnlimited,
        /// The derivative of ln cosh e is e.
        LogCoshSlope,
        /// A quantile loss's two slopes are exchanged.
        QuantileExchanged,
        /// The derivative of Poisson's loss is 1 − t.
        PoissonSlope,
        /// The hinge loss pulls beyond its margin.
        HingeBeyondMargin,
        /// The derivative of a binary cross-entropy of probabilities is y − t.
        BinaryProbabilitySlope,
        /// The derivative of a cross-entropy of probabilities, or of Kullback and Leibler's divergence, is −t.
        ProbabilitySlope,
        /// Where probabilities are limited, the derivative goes on.
        NotLimited,
        /// The delta is that of targets that are not smoothed.
        NoSmoothing,
        /// The delta has no weights.
        NoWeights,
        /// The delta is divided by what there would be without a mask.
        MaskDivisor,
        /// The delta is there where the mask is 0.
        NoMask,
        /// A squared error's delta is not divided by the number of outputs.
        NoMeanOverOutputs,
        /// The gradient of the bias is missing.
        NoBias,
        /// The gradient leaves out the last sample.
        LastSample,
        /// The delta goes down through W where it should through Wᵀ.
        TransposedWeights,
        /// Dropout's mask is left out on the way back.
        DropoutOnlyForward,
        /// A residual connection is left out on the way back.
        ResidualOnlyForward,
        /// The mean of a norm counts as a constant.
        NormMeanConstant,
        /// The variance of a norm counts as a constant.
        NormVarianceConstant,
        /// The gradient of a norm's scale takes x for x̂.
        NormScale,
        /// The delta below a norm leaves out its scale.
        NormUnscaled,
        /// The gradient of a category is that of its last sample alone.
        LastCategory,
        /// The delta at the inputs leaves out the scale of their normalisation.
        Standardized,
        /// The gradient of |w| is 1.
        UnsignedL1,
        /// The gradient of ½·w² is 2·w.
        DoubleL2,
        /// The bias has the penalty of the weights.
        PenalizedBias,
        /// The penalty is no part of the loss.
        NoPenaltyInLoss,
    }
}

/// A network.
pub(crate) struct Network {
    layers: Vec<Layer>,
    fault: Option<Fault>,
    /// Of each layer, which values of which sample dropout keeps; none is dropped if there is no mask.
    masks: Vec<Option<Vec<Vec<bool>>>>,
    /// Whether batch norms take the statistics of the batch.
    training: bool,
}

/// What a forward pass has computed: pre-activations z, activations a and values y of each
/// layer, `[layer][sample][unit]`. `y[0]` are the inputs, so layer l leads from `y[l]` to `y[l + 1]`.
pub(crate) struct Forward {
    z: Vec<Matrix>,
    a: Vec<Matrix>,
    y: Vec<Matrix>,
}

/// What a backward pass has computed.
pub(crate) struct Backward {
    /// ∂loss/∂parameters of each layer, row by row.
    pub(crate) layers: Vec<Matrix>,
    /// ∂loss/∂inputs, `[sample][input]`.
    pub(crate) inputs: Matrix,
}

impl Network {
    /// A network with these parameters: those of each layer, row after row, then the statistics of each.
    pub(crate) fn new(inputs: usize, specs: &[Spec], params: &[Number]) -> Self {
        let mut params = params.iter().copied();
        let mut layers: Vec<Layer> = Vec::new();
        for &spec in specs {
            let inputs = layers.last().map_or(inputs, Layer::outputs);
            layers.push(Layer::new(spec, inputs, &mut params));
        }
        for layer in &mut layers {
            layer.take_statistics(&mut params);
        }
        assert_eq!(params.next().map(|p| p.value), None, "parameters are left over");
        Self { masks: vec![None; layers.len()], layers, fault: None, training: false }
    }

    /// The same with a wrong derivative.
    pub(crate) fn with_fault(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    /// The same in training, with these masks of dropout.
    pub(crate) fn in_training(self, masks: Vec<Option<Vec<Vec<bool>>>>) -> Self {
        Self { masks, training: true, ..self }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Layer after layer.
    pub(crate) fn forward(&self, x: Matrix) -> Forward {
        let mut pass = Forward { z: Vec::new(), a: Vec::new(), y: vec![x] };
        for (l, layer) in self.layers.iter().enumerate() {
            let mut z = layer.pre_activations(&pass.y[l], self.training);
            if layer.spec.residual > 0 {
                z = sums(&z, &pass.y[l + 1 - layer.spec.residual]);
            }
            let a: Matrix = z.iter().map(|z| self.values(layer.spec.activation, z)).collect();
            pass.y.push(self.dropped(l, &a));
            pass.a.push(a);
            pass.z.push(z);
        }
        pass
    }

    /// What dropout makes of the values of layer `l`, or of their derivatives.
    fn dropped(&self, l: usize, values: &Matrix) -> Matrix {
        let Some(mask) = &self.masks[l] else { return values.clone() };
        let scale = Number::from(1.0) / Number::from(1.0 - self.layers[l].spec.dropout);
        let rows = values.iter().zip(mask);
        rows.map(|(values, mask)| {
            let kept = |(&value, &keep): (&Number, &bool)| if keep { value * scale } else { Number::from(0.0) };
            values.iter().zip(mask).map(kept).collect()
        })
        .collect()
    }

    /// From ∂loss/∂z of the last layer down to the inputs.
    pub(crate) fn backward(&self, pass: &Forward, delta: Matrix) -> Backward {
        // What has come down to the values y[l] so far.
        let mut down: Vec<Option<Matrix>> = vec![None; self.layers.len() + 1];
        let add = |to: &mut Option<Matrix>, d: &Matrix| *to = Some(to.as_ref().map_or(d.clone(), |to| sums(to, d)));
        let mut layers = Vec::new();
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let delta = match &down[l + 1] {
                None => delta.clone(),
                Some(d) if self.has(Fault::DropoutOnlyForward) => self.slopes(l, pass, d.clone()),
                Some(d) => self.slopes(l, pass, self.dropped(l, d)),
            };
            let faulty = self.fault;
            layers.insert(0, layer.gradient(&pass.y[l], &delta, self.training, faulty));
            add(&mut down[l], &layer.delta_below(&pass.y[l], &delta, self.training, faulty));
            if layer.spec.residual > 0 && !self.has(Fault::ResidualOnlyForward) {
                add(&mut down[l + 1 - layer.spec.residual], &delta);
            }
        }
        Backward { layers, inputs: down.swap_remove(0).unwrap() }
    }

    /// ∂loss/∂z of layer `l` from ∂loss/∂y.
    pub(crate) fn slopes(&self, l: usize, pass: &Forward, delta: Matrix) -> Matrix {
        let rows = delta.iter().zip(&pass.z[l]).zip(&pass.a[l]);
        rows.map(|((d, z), y)| self.slope(self.layers[l].spec.activation, d, z, y)).collect()
    }

    /// The sum over the layers of l1·Σ|w| + ½·l2·Σw².
    pub(crate) fn penalty(&self) -> Number {
        self.layers.iter().map(Layer::penalty).fold(Number::from(0.0), |total, penalty| total + penalty)
    }

    /// The running statistics after a step in training with this pass.
    pub(crate) fn moved_statistics(&self, pass: &Forward) -> Vec<Number> {
        self.layers.iter().zip(&pass.y).flat_map(|(layer, x)| layer.moved_statistics(x).concat()).collect()
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
            Activation::Elu { .. } | Activation::Selu if z.value > 0.0 => Number::from(elu(activation).0) * z,
            Activation::Elu { .. } | Activation::Selu => Number::from(elu(activation).1) * z.exp_m1(),
            Activation::Gelu => z * z.normal_distribution(),
            Activation::GeluTanh => z * tanh_distribution(z).0,
            Activation::Silu => z * sigmoid(z),
            Activation::Mish => z * softplus(z).tanh(),
            Activation::Softplus => softplus(z),
            Activation::Softsign => z / (Number::from(1.0) + z.abs()),
            Activation::HardSigmoid => hard_sigmoid(z),
            Activation::HardSwish => z * hard_sigmoid(z),
            Activation::Sigmoid => sigmoid(z),
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
                Activation::Elu { .. } | Activation::Selu => {
                    let (mut above, mut below) = elu(activation);
                    if self.has(Fault::EluSlope) {
                        below = 1.0;
                    }
                    if self.has(Fault::SeluSlope) {
                        (above, below) = (1.0, below / above);
                    }
                    // e^z as (e^z − 1) + 1: slopes are taken from values, with the error of these.
                    let below = || Number::from(below) * z[j].exp_m1() + Number::from(below);
                    d[j] * if on { Number::from(above) } else { below() }
                }
                Activation::Gelu if self.has(Fault::GeluSlope) => d[j] * z[j].normal_distribution(),
                Activation::Gelu => d[j] * (z[j].normal_distribution() + z[j] * normal_density(z[j])),
                Activation::GeluTanh if self.has(Fault::GeluTanhSlope) => d[j] * tanh_distribution(z[j]).0,
                Activation::GeluTanh => {
                    let (distribution, density) = tanh_distribution(z[j]);
                    d[j] * (distribution + z[j] * density)
                }
                Activation::Silu if self.has(Fault::SiluSlope) => d[j] * sigmoid(z[j]),
                Activation::Silu => d[j] * (sigmoid(z[j]) * (one + z[j] * sigmoid(-z[j]))),
                Activation::Mish => {
                    // (z·tanh s)′ with s = softplus(z) and s′ = sigmoid(z).
                    let tanh = softplus(z[j]).tanh();
                    let inner = if self.has(Fault::MishSlope) { 0.0 } else { 1.0 };
                    d[j] * (tanh + Number::from(inner) * z[j] * (one - tanh.square()) * sigmoid(z[j]))
                }
                Activation::Softplus if self.has(Fault::SoftplusSlope) => d[j],
                Activation::Softplus => d[j] * sigmoid(z[j]),
                Activation::Softsign if self.has(Fault::SoftsignSlope) => d[j] / (one + z[j].abs()),
                // From the value too.
                Activation::Softsign => d[j] * (one - (z[j] / (one + z[j].abs())).abs()).square(),
                Activation::HardSigmoid if z[j].value.abs() >= 3.0 => Number::from(0.0),
                Activation::HardSigmoid if self.has(Fault::HardSigmoidSlope) => d[j],
                Activation::HardSigmoid => d[j] / Number::from(6.0),
                Activation::HardSwish if self.has(Fault::HardSwishSlope) => d[j] * hard_sigmoid(z[j]),
                Activation::HardSwish if z[j].value <= -3.0 => Number::from(0.0),
                Activation::HardSwish if z[j].value >= 3.0 => d[j],
                Activation::HardSwish => d[j] * (z[j] / Number::from(3.0) + Number::from(0.5)),
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
}

impl Forward {
    /// The network's outputs, `[sample][output]`.
    pub(crate) fn outputs(&self) -> &Matrix {
        &self.y[self.y.len() - 1]
    }

    /// How near the input of a unit of `network` comes to a kink of its activation, where f32 and
    /// f64 could take different branches: the distance over the standard deviation of its error.
    pub(crate) fn nearest_kink(&self, network: &Network) -> f64 {
        let mut nearest = f64::INFINITY;
        for (layer, z) in network.layers.iter().zip(&self.z) {
            if layer.spec.penalty.l1 > 0.0 {
                for w in layer.weights().concat() {
                    nearest = nearest.min(w.value.abs() / w.deviation());
                }
            }
            let kinks: &[f64] = match layer.spec.activation {
                Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. } | Activation::Selu => &[0.0],
                Activation::HardSigmoid | Activation::HardSwish => &[-3.0, 3.0],
                _ => &[],
            };
            for z in z.concat() {
                // A zero times anything is zero in f32 too.
                let exact = z.value == 0.0 && z.deviation() < f64::from(f32::MIN_POSITIVE);
                for kink in kinks.iter().filter(|_| !exact) {
                    nearest = nearest.min((z.value - kink).abs() / z.deviation());
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
        self.layers.concat().concat()
    }
}

/// a + b, element by element.
fn sums(a: &Matrix, b: &Matrix) -> Matrix {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| a + b).collect()).collect()
}

/// `numbers` as rows of `width`.
pub(crate) fn rows(numbers: &[f32], width: usize) -> Matrix {
    numbers.chunks(width).map(|row| row.iter().map(|&x| Number::from(x)).collect()).collect()
}

/// 1/(1 + e^−z), and the same times e^z/e^z where e^−z could overflow.
fn sigmoid(z: Number) -> Number {
    let one = Number::from(1.0);
    if z.value > 0.0 { one / (one + (-z).exp()) } else { z.exp() / (one + z.exp()) }
}

/// ln(1 + e^z), without overflow.
fn softplus(z: Number) -> Number {
    let tail = (Number::from(1.0) + (-z.abs()).exp()).ln();
    if z.value > 0.0 { z + tail } else { tail }
}

/// The slope of an ELU or SELU above zero, and minus its value at −∞.
fn elu(activation: Activation) -> (f64, f64) {
    match activation {
        Activation::Elu { alpha } => (1.0, f64::from(alpha)),
        _ => (1.050_700_987_355_480_5, 1.050_700_987_355_480_5 * 1.673_263_242_354_377_2),
    }
}

/// e^(−z²/2)/√(2π).
fn normal_density(z: Number) -> Number {
    (z.square() / Number::from(-2.0)).exp() / Number::from(std::f64::consts::TAU.sqrt())
}

/// ½(1 + tanh u) with u = √(2/π)·(z + 0.044715z³), which is sigmoid(2u), and its derivative.
fn tanh_distribution(z: Number) -> (Number, Number) {
    let (one, scale) = (Number::from(1.0), Number::from(2.0 * (2.0 / std::f64::consts::PI).sqrt()));
    let w = scale * (z * (one + Number::from(0.044_715) * z.square()));
    let slope = scale * (one + Number::from(3.0 * 0.044_715) * z.square());
    (sigmoid(w), sigmoid(w) * sigmoid(-w) * slope)
}

/// (z + 3)/6, from 0 to 1.
fn hard_sigmoid(z: Number) -> Number {
    match z.value {
        value if value <= -3.0 => Number::from(0.0),
        value if value >= 3.0 => Number::from(1.0),
        _ => (z + Number::from(3.0)) / Number::from(6.0),
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
