//! Optimizers: settings, state floats per parameter, and the update of one vector.
#![forbid(unsafe_code)]

use crate::error::TrainerError;
use crate::simd::Simd;

/// How a parameter follows its gradient g. `lr` is the learning rate.
///
/// ```
/// use microprop::{Adam, Optimizer, Sgd};
///
/// const PLAIN: Optimizer = Optimizer::Sgd(Sgd::new(0.01));
/// let nesterov: Optimizer = Sgd::new(0.01).nesterov(0.9).into();
/// let adam: Optimizer = Adam::new(0.001).into();
/// assert_eq!((PLAIN.state_per_parameter(), nesterov.state_per_parameter(), adam.state_per_parameter()), (0, 1, 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent, plain or with momentum.
    Sgd(Sgd),
    /// Adam.
    Adam(Adam),
}

/// Stochastic gradient descent: `w ← w − lr·g`.
///
/// With momentum μ (Polyak 1964) a velocity v is kept: `v ← μ·v + g`, `w ← w − lr·v`;
/// Nesterov's form (Sutskever et al. 2013) looks ahead: `w ← w − lr·(g + μ·v)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    learning_rate: f32,
    momentum: Option<Momentum>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Momentum {
    decay: f32,
    nesterov: bool,
}

/// Adam (Kingma and Ba 2015): first moment `m ← β₁·m + (1 − β₁)·g`, second moment
/// `v ← β₂·v + (1 − β₂)·g²`, and at step t = 1, 2, …
/// `w ← w − lr·m̂ / (√v̂ + ε)` with `m̂ = m / (1 − β₁ᵗ)` and `v̂ = v / (1 − β₂ᵗ)`.
///
/// Defaults are the paper's: β₁ = 0.9, β₂ = 0.999, ε = 1e−8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    learning_rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    placement: EpsilonPlacement,
}

/// Where Adam's ε is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EpsilonPlacement {
    /// `√v̂ + ε`: the paper's Algorithm 1, PyTorch, JAX (optax).
    Corrected,
    /// `√v + ε`, with `lr·√(1 − β₂ᵗ) / (1 − β₁ᵗ)` as the rate: the end of the
    /// paper's section 2, Keras and TensorFlow (whose ε is 1e−7).
    Uncorrected,
}

impl Sgd {
    /// Plain gradient descent with this learning rate.
    pub const fn new(learning_rate: f32) -> Self {
        Self { learning_rate, momentum: None }
    }

    /// With momentum μ, 0 ≤ μ < 1.
    #[must_use]
    pub const fn momentum(self, mu: f32) -> Self {
        Self { momentum: Some(Momentum { decay: mu, nesterov: false }), ..self }
    }

    /// With Nesterov's momentum μ, 0 ≤ μ < 1.
    #[must_use]
    pub const fn nesterov(self, mu: f32) -> Self {
        Self { momentum: Some(Momentum { decay: mu, nesterov: true }), ..self }
    }
}

impl Adam {
    /// Adam with this learning rate and the paper's other settings.
    pub const fn new(learning_rate: f32) -> Self {
        Self { learning_rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, placement: EpsilonPlacement::Corrected }
    }

    /// The decay rates of the first and second moment, 0 ≤ β < 1.
    #[must_use]
    pub const fn betas(self, beta1: f32, beta2: f32) -> Self {
        Self { beta1, beta2, ..self }
    }

    /// ε > 0, and where it is added.
    #[must_use]
    pub const fn epsilon(self, epsilon: f32, placement: EpsilonPlacement) -> Self {
        Self { epsilon, placement, ..self }
    }
}

impl From<Sgd> for Optimizer {
    fn from(sgd: Sgd) -> Self {
        Self::Sgd(sgd)
    }
}

impl From<Adam> for Optimizer {
    fn from(adam: Adam) -> Self {
        Self::Adam(adam)
    }
}

impl Optimizer {
    /// How many floats of state it keeps for each parameter: 0 for plain SGD, 1 with momentum, 2 for Adam.
    pub const fn state_per_parameter(&self) -> usize {
        match self {
            Self::Sgd(Sgd { momentum: None, .. }) => 0,
            Self::Sgd(_) => 1,
            Self::Adam(_) => 2,
        }
    }

    /// The learning rate.
    pub const fn learning_rate(&self) -> f32 {
        match self {
            Self::Sgd(sgd) => sgd.learning_rate,
            Self::Adam(adam) => adam.learning_rate,
        }
    }

    /// The same with another learning rate: what a schedule changes from step to step.
    #[must_use]
    pub const fn with_learning_rate(self, learning_rate: f32) -> Self {
        match self {
            Self::Sgd(sgd) => Self::Sgd(Sgd { learning_rate, ..sgd }),
            Self::Adam(adam) => Self::Adam(Adam { learning_rate, ..adam }),
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`TrainerError::LearningRate`], [`TrainerError::DecayRate`] or
    /// [`TrainerError::Epsilon`] with the value that is out of range.
    pub const fn check(&self) -> Result<(), TrainerError> {
        let rate = self.learning_rate();
        if !(rate >= 0.0 && rate < f32::INFINITY) {
            return Err(TrainerError::LearningRate { found: rate });
        }
        match self {
            Self::Sgd(Sgd { momentum: Some(momentum), .. }) => check_decay(momentum.decay),
            Self::Sgd(_) => Ok(()),
            Self::Adam(adam) => {
                if !(adam.epsilon > 0.0 && adam.epsilon < f32::INFINITY) {
                    return Err(TrainerError::Epsilon { found: adam.epsilon });
                }
                match check_decay(adam.beta1) {
                    Ok(()) => check_decay(adam.beta2),
                    error => error,
                }
            }
        }
    }

    /// What the update needs at step `step` (counted from 0), its scalars worked out.
    pub(crate) fn rule(&self, step: u64) -> Rule {
        self.rule_of(self.scalars(step))
    }

    /// What changes from step to step.
    pub(crate) fn scalars(&self, step: u64) -> [f32; 2] {
        match self {
            Self::Sgd(_) => [0.0; 2],
            Self::Adam(adam) => adam.scalars(step),
        }
    }

    /// The [`rule`](Self::rule) of a step with these [`scalars`](Self::scalars). (Inlined, so that of a constant optimizer
    /// the kind of rule is one.)
    #[inline(always)]
    pub(crate) fn rule_of(&self, scalars: [f32; 2]) -> Rule {
        match *self {
            Self::Sgd(Sgd { learning_rate, momentum: None }) => Rule::Sgd { minus_rate: -learning_rate },
            Self::Sgd(Sgd { learning_rate, momentum: Some(Momentum { decay, nesterov }) }) => {
                Rule::Momentum { minus_rate: -learning_rate, decay, nesterov }
            }
            Self::Adam(adam) => adam.rule_of(scalars),
        }
    }

    /// The `minus_rate` of the [`rule`](Self::rule) at step `step` for any learning rate.
    pub(crate) fn minus_rates(&self, step: u64) -> impl Fn(f32) -> f32 + Sync + use<> {
        let adam = match *self {
            Self::Sgd(_) => None,
            Self::Adam(adam) => Some((adam, adam.corrections(step))),
        };
        move |learning_rate| match &adam {
            None => -learning_rate,
            Some((adam, corrections)) => adam.minus_rate(learning_rate, *corrections),
        }
    }
}

impl Adam {
    fn rule_of(&self, [minus_rate, root_scale]: [f32; 2]) -> Rule {
        Rule::Adam(AdamScalars {
            beta1: self.beta1,
            rest1: (1.0 - f64::from(self.beta1)) as f32,
            beta2: self.beta2,
            rest2: (1.0 - f64::from(self.beta2)) as f32,
            minus_rate,
            root_scale,
            epsilon: self.epsilon,
        })
    }

    /// `minus_rate` and `root_scale` of its rule, worked out in f64 and rounded once, as the frameworks do.
    fn scalars(&self, step: u64) -> [f32; 2] {
        let corrections = self.corrections(step);
        let root_scale = match self.placement {
            EpsilonPlacement::Corrected => 1.0 / corrections[1],
            EpsilonPlacement::Uncorrected => 1.0,
        };
        [self.minus_rate(self.learning_rate, corrections), root_scale as f32]
    }

    /// `1 − β₁ᵗ` and `√(1 − β₂ᵗ)`.
    fn corrections(&self, step: u64) -> [f64; 2] {
        let t = step.saturating_add(1);
        let correction2 = libm::sqrt(1.0 - power(f64::from(self.beta2), t));
        [1.0 - power(f64::from(self.beta1), t), correction2]
    }

    fn minus_rate(&self, learning_rate: f32, corrections: [f64; 2]) -> f32 {
        let rate = f64::from(learning_rate) / corrections[0];
        match self.placement {
            EpsilonPlacement::Corrected => -rate as f32,
            EpsilonPlacement::Uncorrected => -(rate * corrections[1]) as f32,
        }
    }
}

const fn check_decay(rate: f32) -> Result<(), TrainerError> {
    if rate >= 0.0 && rate < 1.0 { Ok(()) } else { Err(TrainerError::DecayRate { found: rate }) }
}

/// `base^exponent` by squaring, from the highest bit of the exponent down: only
/// f64 multiplications, so it is the same on every target.
fn power(base: f64, exponent: u64) -> f64 {
    let mut result = 1.0;
    for bit in (0..u64::BITS - exponent.leading_zeros()).rev() {
        result *= result;
        if exponent >> bit & 1 == 1 {
            result *= base;
        }
    }
    result
}

/// One step's update of a parameter from its gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    /// `w ← g`: the gradient itself is wanted.
    Gradient,
    /// `w ← mul_add(g, −lr, w)`.
    Sgd { minus_rate: f32 },
    /// `v ← mul_add(μ, v, g)`, then `w ← mul_add(v, −lr, w)`; Nesterov's form
    /// puts `mul_add(μ, v, g)`, with the new v, in v's place.
    Momentum { minus_rate: f32, decay: f32, nesterov: bool },
    /// `m ← mul_add(β₁, m, (1 − β₁)·g)`, `v ← mul_add(β₂, v, ((1 − β₂)·g)·g)`,
    /// `w ← w + (−rate · m) / mul_add(√v, scale, ε)`.
    Adam(AdamScalars),
}

/// What Adam's step multiplies by: assembly reads them in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub(crate) struct AdamScalars {
    pub(crate) beta1: f32,
    pub(crate) rest1: f32,
    pub(crate) beta2: f32,
    pub(crate) rest2: f32,
    pub(crate) minus_rate: f32,
    pub(crate) root_scale: f32,
    pub(crate) epsilon: f32,
}

impl Rule {
    /// The new parameter and its new state, from gradient `g`, parameter `w` and state.
    #[inline(always)]
    pub(crate) fn update<S: Simd>(
        &self,
        s: S,
        g: S::Vector,
        w: S::Vector,
        state: [S::Vector; 2],
    ) -> (S::Vector, [S::Vector; 2]) {
        match *self {
            Self::Gradient => (g, state),
            Self::Sgd { minus_rate } => self.update_at(s, s.splat(minus_rate), g, w, state),
            Self::Momentum { minus_rate, .. } => self.update_at(s, s.splat(minus_rate), g, w, state),
            Self::Adam(AdamScalars { minus_rate, .. }) => self.update_at(s, s.splat(minus_rate), g, w, state),
        }
    }

    /// The same with another `minus_rate` in each lane.
    #[inline(always)]
    pub(crate) fn update_at<S: Simd>(
        &self,
        s: S,
        minus_rate: S::Vector,
        g: S::Vector,
        w: S::Vector,
        state: [S::Vector; 2],
    ) -> (S::Vector, [S::Vector; 2]) {
        match *self {
            Self::Gradient => (g, state),
            Self::Sgd { .. } => (s.mul_add(g, minus_rate, w), state),
            Self::Momentum { decay, nesterov, .. } => {
                let decay = s.splat(decay);
                let v = s.mul_add(decay, state[0], g);
                let ahead = if nesterov { s.mul_add(decay, v, g) } else { v };
                (s.mul_add(ahead, minus_rate, w), [v, state[1]])
            }
            Self::Adam(AdamScalars { beta1, rest1, beta2, rest2, root_scale, epsilon, .. }) => {
                let m = s.mul_add(s.splat(beta1), state[0], s.mul(s.splat(rest1), g));
                let v = s.mul_add(s.splat(beta2), state[1], s.mul(s.mul(s.splat(rest2), g), g));
                let root = s.mul_add(s.sqrt(v), s.splat(root_scale), s.splat(epsilon));
                let change = s.div(s.mul(minus_rate, m), root);
                (s.add(w, change), [m, v])
            }
        }
    }

    /// Calls `f` with this rule where the compiler sees which one it is: its scalars
    /// stay in registers over a loop, and no vector pays for the choice.
    #[inline(always)]
    pub(crate) fn known<R>(&self, f: impl FnOnce(Self) -> R) -> R {
        match *self {
            Self::Gradient => f(Self::Gradient),
            Self::Sgd { minus_rate } => f(Self::Sgd { minus_rate }),
            Self::Momentum { minus_rate, decay, nesterov: true } => {
                f(Self::Momentum { minus_rate, decay, nesterov: true })
            }
            Self::Momentum { minus_rate, decay, nesterov: false } => {
                f(Self::Momentum { minus_rate, decay, nesterov: false })
            }
            Self::Adam(AdamScalars { beta1, rest1, beta2, rest2, minus_rate, root_scale, epsilon }) => {
                f(Self::Adam(AdamScalars { beta1, rest1, beta2, rest2, minus_rate, root_scale, epsilon }))
            }
        }
    }

    /// How many of the two state vectors it reads and writes.
    pub(crate) const fn states(&self) -> usize {
        match self {
            Self::Gradient | Self::Sgd { .. } => 0,
            Self::Momentum { .. } => 1,
            Self::Adam { .. } => 2,
        }
    }
}
