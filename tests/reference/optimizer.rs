//! The optimizers as their papers write them.

use super::Number;

/// How a parameter w follows its gradient g.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    Sgd {
        rate: f32,
    },
    Momentum {
        rate: f32,
        mu: f32,
    },
    Nesterov {
        rate: f32,
        mu: f32,
    },
    Adam {
        rate: f32,
        beta1: f32,
        beta2: f32,
        epsilon: f32,
    },
    /// The paper's faster order: ε beside the uncorrected √v.
    AdamUncorrected {
        rate: f32,
        beta1: f32,
        beta2: f32,
        epsilon: f32,
    },
    /// Wrong on purpose: its moments are not corrected for their start at 0.
    AdamWithoutCorrection {
        rate: f32,
        beta1: f32,
        beta2: f32,
        epsilon: f32,
    },
}

/// What an optimizer remembers of each parameter.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Velocity, or first moment.
    first: Vec<Number>,
    /// Second moment.
    second: Vec<Number>,
}

impl State {
    /// Zeros.
    pub(crate) fn new(params: usize) -> Self {
        let zeros = vec![Number::from(0.0); params];
        Self { first: zeros.clone(), second: zeros }
    }
}

impl Rule {
    /// The update of step `step`, counted from 0.
    pub(crate) fn apply(&self, step: i32, gradient: &[Number], params: &mut [Number], state: &mut State) {
        let moments = state.first.iter_mut().zip(&mut state.second);
        for ((w, &g), (first, second)) in params.iter_mut().zip(gradient).zip(moments) {
            match *self {
                // w ← w − rate·g
                Self::Sgd { rate } => *w = *w - Number::from(rate) * g,
                // v ← μ·v + g, w ← w − rate·v
                Self::Momentum { rate, mu } => {
                    *first = Number::from(mu) * *first + g;
                    *w = *w - Number::from(rate) * *first;
                }
                // v ← μ·v + g, w ← w − rate·(g + μ·v)
                Self::Nesterov { rate, mu } => {
                    *first = Number::from(mu) * *first + g;
                    *w = *w - Number::from(rate) * (g + Number::from(mu) * *first);
                }
                // m ← β₁·m + (1 − β₁)·g, v ← β₂·v + (1 − β₂)·g²
                Self::Adam { rate, beta1, beta2, epsilon }
                | Self::AdamUncorrected { rate, beta1, beta2, epsilon }
                | Self::AdamWithoutCorrection { rate, beta1, beta2, epsilon } => {
                    let (beta1, beta2) = (f64::from(beta1), f64::from(beta2));
                    *first = Number::from(beta1) * *first + Number::from(1.0 - beta1) * g;
                    *second = Number::from(beta2) * *second + Number::from(1.0 - beta2) * g.square();
                    let (m, v, rate, epsilon) = (*first, *second, Number::from(rate), Number::from(epsilon));
                    let correction1 = Number::from(1.0 - beta1.powi(step + 1));
                    let correction2 = Number::from(1.0 - beta2.powi(step + 1));
                    let change = match self {
                        // rate·m̂ / (√v̂ + ε)
                        Self::Adam { .. } => rate * (m / correction1) / ((v / correction2).sqrt() + epsilon),
                        // rate·√(1 − β₂ᵗ)/(1 − β₁ᵗ)·m / (√v + ε)
                        Self::AdamUncorrected { .. } => {
                            rate * correction2.sqrt() / correction1 * m / (v.sqrt() + epsilon)
                        }
                        _ => rate * m / (v.sqrt() + epsilon),
                    };
                    *w = *w - change;
                }
            }
        }
    }
}
