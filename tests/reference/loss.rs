//! The losses, with their derivatives by hand.

use super::{Fault, Forward, Matrix, Network, Number, largest, sum};
use microprop::Loss;

/// Where probabilities are limited.
const EPSILON: f32 = 1e-7;

/// What a batch's outputs are compared with, and how much each of them counts.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    /// `[sample][output]`; classes one-hot.
    pub(crate) targets: Matrix,
    /// The weight of each sample, if there are any.
    pub(crate) weights: Option<Vec<Number>>,
    /// `[sample][output]`: whether it counts, if there is a mask.
    pub(crate) mask: Option<Vec<Vec<bool>>>,
}

impl Goal {
    fn counts(&self, s: usize, j: usize) -> bool {
        self.mask.as_ref().is_none_or(|mask| mask[s][j])
    }

    /// Outputs that count, and samples that have any.
    fn left(&self) -> (usize, usize) {
        let rows = (0..self.targets.len()).map(|s| (0..self.targets[s].len()).filter(|&j| self.counts(s, j)).count());
        (rows.clone().sum(), rows.filter(|&left| left > 0).count())
    }
}

/// Whether a loss is a mean over samples, not over samples and outputs.
fn is_over_samples(loss: Loss<'_>) -> bool {
    matches!(
        loss,
        Loss::HalfMeanSquaredError
            | Loss::CrossEntropy
            | Loss::SmoothedCrossEntropy { .. }
            | Loss::CrossEntropyOfProbabilities
            | Loss::KullbackLeibler
    )
}

/// Targets of a smoothed cross-entropy among `classes`.
fn smoothed(t: Number, smoothing: f32, classes: usize) -> Number {
    let one = Number::from(1.0);
    t * (one - Number::from(smoothing)) + Number::from(smoothing) / Number::from(classes as f64)
}

fn limited(y: Number, highest: Number) -> Number {
    if y.value < Number::from(EPSILON).value {
        Number::from(EPSILON)
    } else if y.value > highest.value {
        highest
    } else {
        y
    }
}

impl Network {
    /// The loss of a forward pass, and its derivative ∂loss/∂z of the last layer.
    pub(crate) fn loss(&self, pass: &Forward, loss: Loss<'_>, goal: &Goal) -> (Number, Matrix) {
        let (data, delta) = self.data_loss(pass, loss, goal);
        (if self.has(Fault::NoPenaltyInLoss) { data } else { data + self.penalty() }, delta)
    }

    fn data_loss(&self, pass: &Forward, loss: Loss<'_>, goal: &Goal) -> (Number, Matrix) {
        let (n, outputs) = (goal.targets.len(), goal.targets[0].len());
        let (elements, samples) = goal.left();
        let count = Number::from((if is_over_samples(loss) { samples } else { elements }) as f64);
        let mut divisor = match self.fault {
            Some(Fault::MaskDivisor) => Number::from((if is_over_samples(loss) { n } else { n * outputs }) as f64),
            Some(Fault::NoMean) => count / Number::from(n as f64),
            Some(Fault::NoMeanOverOutputs) => count / Number::from(outputs as f64),
            _ => count,
        };
        let two = Number::from(2.0);
        let total = match loss {
            Loss::HalfMeanSquaredError => two * count,
            _ => count,
        };
        if loss == Loss::MeanSquaredError {
            divisor = divisor / two;
        }
        let (mut terms, mut delta) = self.terms_and_derivatives(pass, loss, goal);
        for s in 0..n {
            for j in 0..outputs {
                if !goal.counts(s, j) && !is_by_sample(loss) {
                    terms[s][j] = Number::from(0.0);
                    if !self.has(Fault::NoMask) {
                        delta[s][j] = Number::from(0.0);
                    }
                }
            }
            if let Some(weights) = &goal.weights {
                terms[s] = terms[s].iter().map(|&term| term * weights[s]).collect();
                if !self.has(Fault::NoWeights) {
                    delta[s] = delta[s].iter().map(|&d| d * weights[s]).collect();
                }
            }
            delta[s] = delta[s].iter().map(|&d| d / divisor).collect();
        }
        if !is_fused(loss) {
            delta = self.slopes(self.last(), pass, delta);
        }
        (sum(&terms.concat()) / total, delta)
    }

    /// The addends of each output, and their derivatives ∂/∂z where a loss is fused, else ∂/∂y.
    fn terms_and_derivatives(&self, pass: &Forward, loss: Loss<'_>, goal: &Goal) -> (Matrix, Matrix) {
        let (z, y) = (&pass.z[self.last()], pass.outputs());
        let (mut terms, mut derivatives) = (Vec::new(), Vec::new());
        for s in 0..y.len() {
            let of_sample = match loss {
                Loss::CrossEntropy | Loss::SmoothedCrossEntropy { .. } => {
                    self.cross_entropy(loss, goal, s, &z[s], &y[s])
                }
                _ => {
                    let element = |j: usize| match loss {
                        Loss::BinaryCrossEntropy => {
                            self.binary_cross_entropy(z[s][j], y[s][j], goal.targets[s][j], 0.0)
                        }
                        Loss::SmoothedBinaryCrossEntropy { smoothing } => {
                            self.binary_cross_entropy(z[s][j], y[s][j], goal.targets[s][j], smoothing)
                        }
                        _ => self.element(loss, y[s][j], goal.targets[s][j]),
                    };
                    (0..y[s].len()).map(element).unzip()
                }
            };
            terms.push(of_sample.0);
            derivatives.push(of_sample.1);
        }
        (terms, derivatives)
    }

    /// With y = sigmoid(z): −t·ln y − (1 − t)·ln(1 − y) = max(z, 0) − z·t + ln(1 + e^−|z|), ∂/∂z = y − t.
    fn binary_cross_entropy(&self, z: Number, y: Number, t: Number, smoothing: f32) -> (Number, Number) {
        let soft = if smoothing > 0.0 { smoothed(t, smoothing, 2) } else { t };
        let softplus = (Number::from(1.0) + (-z.abs()).exp()).ln();
        let term = if z.value > 0.0 { z - z * soft } else { -z * soft } + softplus;
        (term, y - if self.has(Fault::NoSmoothing) { t } else { soft })
    }

    /// With y = softmax(z): −Σⱼ tⱼ·ln yⱼ = Σⱼ tⱼ·(m + ln Σₖ e^(zₖ−m) − zⱼ), ∂/∂zⱼ = yⱼ·Σₖ tₖ − tⱼ.
    fn cross_entropy(
        &self,
        loss: Loss<'_>,
        goal: &Goal,
        s: usize,
        z: &[Number],
        y: &[Number],
    ) -> (Vec<Number>, Vec<Number>) {
        let soft = |smoothing: f32| -> Vec<Number> {
            let target = |j: usize| match (goal.counts(s, j), smoothing > 0.0) {
                (false, _) => Number::from(0.0),
                (true, true) => smoothed(goal.targets[s][j], smoothing, z.len()),
                (true, false) => goal.targets[s][j],
            };
            (0..z.len()).map(target).collect()
        };
        let smoothing = if let Loss::SmoothedCrossEntropy { smoothing } = loss { smoothing } else { 0.0 };
        let t = soft(smoothing);
        let m = largest(z);
        let ln_sum = sum(&z.iter().map(|&z| (z - m).exp()).collect::<Vec<_>>()).ln();
        let terms = z.iter().zip(&t).map(|(&z, &t)| t * ((m - z) + ln_sum)).collect();
        let t = if self.has(Fault::NoSmoothing) { soft(0.0) } else { t };
        let all = sum(&t);
        (terms, y.iter().zip(&t).map(|(&y, &t)| y * all - t).collect())
    }

    /// The losses that work element by element on outputs: addend and ∂/∂y, but for constants.
    fn element(&self, loss: Loss<'_>, y: Number, t: Number) -> (Number, Number) {
        let number = |x: f32| Number::from(x);
        let (zero, one, e) = (number(0.0), number(1.0), y - t);
        let highest = Number::from(1.0 - EPSILON);
        // 0 where y is limited.
        let within = |highest: Number, d: Number| {
            let inside = (number(EPSILON).value..=highest.value).contains(&y.value);
            if inside || self.has(Fault::NotLimited) { d } else { zero }
        };
        match loss {
            Loss::HalfMeanSquaredError | Loss::MeanSquaredError => (e.square(), e),
            Loss::MeanAbsoluteError if self.has(Fault::AbsoluteSlope) => (e.abs(), e),
            Loss::MeanAbsoluteError => (e.abs(), Number::from(if e.value == 0.0 { 0.0 } else { e.value.signum() })),
            Loss::Huber { delta } => {
                let (delta, half) = (number(delta), number(0.5));
                if e.abs().value <= delta.value {
                    (half * e.square(), e)
                } else {
                    let slope = if e.value > 0.0 { delta } else { -delta };
                    (delta * (e.abs() - half * delta), if self.has(Fault::HuberUnlimited) { e } else { slope })
                }
            }
            Loss::LogCosh => (e.ln_cosh(), if self.has(Fault::LogCoshSlope) { e } else { e.tanh() }),
            Loss::Quantile { quantile } => {
                let (above, below) = (one - number(quantile), -number(quantile));
                let (term, slope, other) =
                    if e.value > 0.0 { (above * e, above, below) } else { (below * e, below, above) };
                (term, if self.has(Fault::QuantileExchanged) { -other } else { slope })
            }
            Loss::Poisson => {
                let mean = y + number(EPSILON);
                (y - t * mean.ln(), if self.has(Fault::PoissonSlope) { one - t } else { one - t / mean })
            }
            Loss::Hinge => {
                let margin = one - t * y;
                let short = margin.value > 0.0;
                let pulls = short || self.has(Fault::HingeBeyondMargin);
                (if short { margin } else { zero }, if pulls { -t } else { zero })
            }
            Loss::BinaryCrossEntropyOfProbabilities => {
                let p = limited(y, highest);
                let slope = if self.has(Fault::BinaryProbabilitySlope) { e } else { e / (y * (one - y)) };
                (-(t * p.ln() + (one - t) * (one - p).ln()), within(highest, slope))
            }
            Loss::CrossEntropyOfProbabilities => {
                let slope = if self.has(Fault::ProbabilitySlope) { -t } else { -t / y };
                (-t * limited(y, highest).ln(), within(highest, slope))
            }
            Loss::KullbackLeibler => {
                let t = limited(t, one);
                let slope = if self.has(Fault::ProbabilitySlope) { -t } else { -t / y };
                (t * (t / limited(y, one)).ln(), within(one, slope))
            }
            other => panic!("the reference does not know {other}"),
        }
    }

    /// What changes its sign where the loss has a kink or a step.
    pub(crate) fn loss_kinks(&self, pass: &Forward, loss: Loss<'_>, goal: &Goal) -> Vec<Number> {
        let mut kinks = Vec::new();
        for s in 0..goal.targets.len() {
            for (j, (&y, &t)) in pass.outputs()[s].iter().zip(&goal.targets[s]).enumerate() {
                if !goal.counts(s, j) {
                    continue;
                }
                let one = Number::from(1.0);
                match loss {
                    Loss::MeanAbsoluteError | Loss::Quantile { .. } => kinks.push(y - t),
                    Loss::Huber { delta } => kinks.push((y - t).abs() - Number::from(delta)),
                    Loss::Hinge => kinks.push(one - t * y),
                    Loss::BinaryCrossEntropyOfProbabilities
                    | Loss::CrossEntropyOfProbabilities
                    | Loss::KullbackLeibler => {
                        kinks.extend([y - Number::from(EPSILON), Number::from(1.0 - EPSILON) - y]);
                    }
                    _ => {}
                }
            }
        }
        kinks
    }
}

/// Whether the derivative is by z.
fn is_fused(loss: Loss<'_>) -> bool {
    matches!(
        loss,
        Loss::BinaryCrossEntropy
            | Loss::SmoothedBinaryCrossEntropy { .. }
            | Loss::CrossEntropy
            | Loss::SmoothedCrossEntropy { .. }
    )
}

/// Whether a mask is taken into account before the derivative.
fn is_by_sample(loss: Loss<'_>) -> bool {
    matches!(loss, Loss::CrossEntropy | Loss::SmoothedCrossEntropy { .. })
}
