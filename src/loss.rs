//! Losses: which there are, what they go with, and what their means are over.
#![forbid(unsafe_code)]

mod function;
mod objective;
mod targets;

pub use function::LossFunction;
pub(crate) use objective::Objective;
pub(crate) use targets::Labels;
pub use targets::Targets;

use crate::activation::Activation;
use crate::error::TrainerError;
use core::fmt;

/// What training makes small. n is the number of samples, y an output, t its target, e = y − t.
///
/// All but the cross-entropies and the custom loss work element by element. Unless said otherwise a loss is the
/// mean over samples and outputs, its targets are values, and it goes with every activation. The derivative of a
/// loss with a kink or a step there is 0, as PyTorch has it.
///
/// Weights and masks come with the targets: see [`Targets`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Loss<'a> {
    /// `1/(2n) · Σ e²` over samples and outputs: the textbook's (Nielsen 2015, eq. 6). Its derivative is `e/n`.
    HalfMeanSquaredError,
    /// The mean of `e²`. Keras's `MeanSquaredError`, PyTorch's `MSELoss`.
    MeanSquaredError,
    /// The mean of `|e|`; its derivative is the sign of e, 0 at 0. Keras's `MeanAbsoluteError`, PyTorch's `L1Loss`.
    MeanAbsoluteError,
    /// The mean of `e²/2` where |e| ≤ delta, else of `delta·(|e| − delta/2)` (Huber 1964): squared near the target,
    /// so that it settles, and absolute far away, so that outliers pull no harder than delta. Its derivative is e,
    /// limited to −delta … delta. Keras's `Huber`, PyTorch's `HuberLoss`; PyTorch's `SmoothL1Loss` is this over delta.
    Huber {
        /// Where it becomes linear, above 0 and finite. (1 in Keras and PyTorch.)
        delta: f32,
    },
    /// The mean of `ln cosh e`: about e²/2 near 0, |e| − ln 2 far away, smooth everywhere. Its derivative is
    /// `tanh e`. Keras's `LogCosh`. Neither overflows nor cancels, however large or small e is.
    LogCosh,
    /// The mean of `max(q·(t − y), (q − 1)·(t − y))`, the pinball loss (Koenker and Bassett 1978): least where y is
    /// the q-quantile of t given the inputs. Its derivative is −q below the target, 1 − q above, 0 on it.
    /// scikit-learn's `mean_pinball_loss`. With q = 0.5 it is half the mean absolute error.
    Quantile {
        /// q, with 0 < q < 1.
        quantile: f32,
    },
    /// The mean of `y − t·ln(y + 1e−7)` for counts t ≥ 0: the log-likelihood of Poisson distributions of means y, but
    /// for what depends on t alone. Outputs have to be positive (softplus, sigmoid, softmax). Its derivative is
    /// `1 − t/(y + 1e−7)`. Keras's `Poisson`; PyTorch's `PoissonNLLLoss(log_input=False)` adds 1e−8.
    Poisson,
    /// The mean of `max(0, 1 − t·y)` for targets −1 and 1 (Cortes and Vapnik 1995). Its derivative is −t where
    /// t·y < 1, else 0. Keras's `Hinge`, which also takes 0 for −1; scikit-learn's `hinge_loss`.
    Hinge,
    /// The mean of `−t·ln y − (1 − t)·ln(1 − y)`, for sigmoid outputs. Targets are probabilities,
    /// 0 ≤ t ≤ 1: outside, the loss has no minimum, and they are an error (as in PyTorch's `BCELoss`). Worked out from
    /// the pre-activations z, so it is accurate however large a logit is; its derivative by z is y − t. Keras's
    /// `BinaryCrossentropy(from_logits=True)`, PyTorch's `BCEWithLogitsLoss`.
    BinaryCrossEntropy,
    /// [`BinaryCrossEntropy`](Self::BinaryCrossEntropy) with the target `t·(1 − smoothing) + smoothing/2` in place of
    /// t (Szegedy et al. 2016). Keras's `BinaryCrossentropy(from_logits=True, label_smoothing=…)`.
    SmoothedBinaryCrossEntropy {
        /// How far targets go towards ½: 0 ≤ smoothing < 1.
        smoothing: f32,
    },
    /// The mean of `−t·ln p − (1 − t)·ln(1 − p)`, where p is the output y limited to 1e−7 … 1 − 1e−7, for outputs
    /// that are probabilities whatever their activation. Targets are probabilities. Its derivative is
    /// `(y − t)/(y·(1 − y))`, and 0 where y is limited. Keras's `BinaryCrossentropy()`; PyTorch's `BCELoss` limits the
    /// logarithms to −100 instead. On sigmoid outputs [`BinaryCrossEntropy`](Self::BinaryCrossEntropy) is the better one:
    /// this one stops learning where an output is wrong beyond 1 − 1e−7.
    BinaryCrossEntropyOfProbabilities,
    /// The mean of `−Σⱼ tⱼ·ln yⱼ` over samples, for softmax outputs. Targets are
    /// class indices, or values: one-hot rows, probabilities, or rows scaled by
    /// weights of any sign, as policy gradients have them. Worked out from the
    /// pre-activations z, so it is accurate however large a logit is; its derivative by zⱼ is `yⱼ·Σₖ tₖ − tⱼ`. Keras's
    /// `CategoricalCrossentropy(from_logits=True)` and its sparse sister, PyTorch's `CrossEntropyLoss`.
    CrossEntropy,
    /// [`CrossEntropy`](Self::CrossEntropy) with the targets `tⱼ·(1 − smoothing) + smoothing/outputs` in place of tⱼ,
    /// a class index standing for its one-hot row (Szegedy et al. 2016). PyTorch's
    /// `CrossEntropyLoss(label_smoothing=…)`, Keras's `CategoricalCrossentropy(from_logits=True, label_smoothing=…)`.
    SmoothedCrossEntropy {
        /// How far targets go towards the uniform distribution: 0 ≤ smoothing < 1.
        smoothing: f32,
    },
    /// The mean of `−Σⱼ tⱼ·ln pⱼ` over samples, where p is the output y limited to 1e−7 … 1 − 1e−7, for outputs that are
    /// probabilities whatever their activation. Targets are probabilities. Its derivative is `−tⱼ/yⱼ`, and 0 where yⱼ
    /// is limited. Keras's `CategoricalCrossentropy()`, which first divides the outputs by their sum; here they are
    /// taken as they are.
    CrossEntropyOfProbabilities,
    /// The mean of `Σⱼ tⱼ·ln(tⱼ/yⱼ)` over samples, both limited to 1e−7 … 1: how far the distribution y is from t
    /// (Kullback and Leibler 1951). Targets are probabilities. Its derivative is `−tⱼ/yⱼ` (tⱼ limited), and 0 where
    /// yⱼ is limited. Keras's `KLDivergence`; PyTorch's `KLDivLoss(reduction="batchmean")` takes ln y.
    KullbackLeibler,
    /// The mean of a function of your own over samples, on any activation.
    Custom(&'a dyn LossFunction),
}

/// What a loss asks of target values.
pub(crate) enum TargetRange {
    Any,
    /// 0 to 1.
    Probability,
    /// −1 or 1.
    Sign,
    /// 0 or more.
    NotNegative,
}

impl Loss<'_> {
    /// Checks its settings, and that it makes sense on outputs of `activation`.
    ///
    /// The binary cross-entropies from pre-activations go with sigmoid, the cross-entropies from pre-activations with
    /// softmax, all others with every activation.
    ///
    /// # Errors
    /// [`TrainerError`]: `HuberDelta`, `Quantile` or `Smoothing` with the value found, or `LossOnActivation`.
    pub const fn check(self, activation: Activation) -> Result<(), TrainerError> {
        match self {
            Self::Huber { delta } if !(delta > 0.0 && delta.is_finite()) => {
                return Err(TrainerError::HuberDelta { found: delta });
            }
            Self::Quantile { quantile } if !(quantile > 0.0 && quantile < 1.0) => {
                return Err(TrainerError::Quantile { found: quantile });
            }
            Self::SmoothedBinaryCrossEntropy { smoothing } | Self::SmoothedCrossEntropy { smoothing }
                if !(smoothing >= 0.0 && smoothing < 1.0) =>
            {
                return Err(TrainerError::Smoothing { found: smoothing });
            }
            _ => {}
        }
        let needed = match self {
            Self::BinaryCrossEntropy | Self::SmoothedBinaryCrossEntropy { .. } => Activation::Sigmoid,
            Self::CrossEntropy | Self::SmoothedCrossEntropy { .. } => Activation::Softmax,
            _ => return Ok(()),
        };
        match (needed, activation) {
            (Activation::Sigmoid, Activation::Sigmoid) | (Activation::Softmax, Activation::Softmax) => Ok(()),
            _ => Err(TrainerError::LossOnActivation { loss: self.built_in_name(), activation, needed }),
        }
    }

    /// Whether it starts from pre-activations, the output activation fused into it.
    const fn is_fused(self) -> bool {
        matches!(self, Self::BinaryCrossEntropy | Self::SmoothedBinaryCrossEntropy { .. }) || self.takes_classes()
    }

    /// Whether targets may be class indices.
    pub(crate) const fn takes_classes(self) -> bool {
        matches!(self, Self::CrossEntropy | Self::SmoothedCrossEntropy { .. })
    }

    /// Where the last layer stops: before its activation if the loss takes it from there.
    pub(crate) const fn top(self, activation: Activation) -> Activation {
        if self.is_fused() || !activation.is_elementwise() || activation.slopes_at_pre_activation() {
            Activation::Linear
        } else {
            activation
        }
    }

    /// Whether that is before its activation.
    #[inline(always)]
    pub(crate) fn stops_short(self, activation: Activation) -> bool {
        self.top(activation) != activation
    }

    /// How many addends a sample brings to the sum of the loss.
    pub(crate) const fn terms_per_sample(self, outputs: usize) -> usize {
        match self {
            Self::CrossEntropy | Self::SmoothedCrossEntropy { .. } | Self::Custom(_) => 1,
            _ => outputs,
        }
    }

    /// Whether its mean is over samples; else it is over samples and outputs.
    pub(crate) const fn is_mean_over_samples(self) -> bool {
        matches!(
            self,
            Self::HalfMeanSquaredError
                | Self::CrossEntropy
                | Self::SmoothedCrossEntropy { .. }
                | Self::CrossEntropyOfProbabilities
                | Self::KullbackLeibler
                | Self::Custom(_)
        )
    }

    /// The number that the sum of the addends is divided by, in a mean over `count`.
    pub(crate) fn divisor(self, count: f32) -> f32 {
        match self {
            Self::HalfMeanSquaredError => 2.0 * count,
            _ => count,
        }
    }

    /// The factor of an element's derivative (of a squared error: of y − t), in a mean over `count`.
    pub(crate) fn delta_scale(self, count: f32) -> f32 {
        match self {
            Self::MeanSquaredError => 2.0 / count,
            _ => 1.0 / count,
        }
    }

    /// Floats of workspace that it needs in the lean schedule beside the neurons.
    pub(crate) const fn lean_scratch_len(self, activation: Activation, outputs: usize) -> usize {
        match self {
            Self::Custom(_) if activation.slopes_at_pre_activation() => 2 * outputs,
            Self::Custom(_) => outputs,
            _ => 0,
        }
    }

    /// What it asks of target values.
    pub(crate) const fn target_range(self) -> TargetRange {
        match self {
            Self::BinaryCrossEntropy
            | Self::SmoothedBinaryCrossEntropy { .. }
            | Self::BinaryCrossEntropyOfProbabilities
            | Self::CrossEntropyOfProbabilities
            | Self::KullbackLeibler => TargetRange::Probability,
            Self::Hinge => TargetRange::Sign,
            Self::Poisson => TargetRange::NotNegative,
            _ => TargetRange::Any,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Custom(function) => function.name(),
            loss => loss.built_in_name(),
        }
    }

    const fn built_in_name(self) -> &'static str {
        match self {
            Self::HalfMeanSquaredError => "half mean squared error",
            Self::MeanSquaredError => "mean squared error",
            Self::MeanAbsoluteError => "mean absolute error",
            Self::Huber { .. } => "Huber loss",
            Self::LogCosh => "log-cosh loss",
            Self::Quantile { .. } => "quantile loss",
            Self::Poisson => "Poisson loss",
            Self::Hinge => "hinge loss",
            Self::BinaryCrossEntropy => "binary cross-entropy",
            Self::SmoothedBinaryCrossEntropy { .. } => "smoothed binary cross-entropy",
            Self::BinaryCrossEntropyOfProbabilities => "binary cross-entropy of probabilities",
            Self::CrossEntropy => "cross-entropy",
            Self::SmoothedCrossEntropy { .. } => "smoothed cross-entropy",
            Self::CrossEntropyOfProbabilities => "cross-entropy of probabilities",
            Self::KullbackLeibler => "Kullback-Leibler divergence",
            Self::Custom(_) => "custom loss",
        }
    }
}

impl fmt::Display for Loss<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
