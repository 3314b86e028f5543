//! Layers: what each computes, and what it adds to that.
#![forbid(unsafe_code)]

use crate::activation::Activation;
use crate::init::Initializer;
use crate::penalty::Penalty;
use core::fmt;

/// One layer of a network: from its inputs x it makes its values y.
///
/// Each kind has a pre-activation z of its own (see the constructors). What follows is the same for all:
///
/// 1. z += r, where [`with_residual`](Self::with_residual) brings in values r from below;
/// 2. a = activation(z);
/// 3. in training, y is a with some of its elements dropped ([`with_dropout`](Self::with_dropout)); else y = a.
///
/// ```
/// use microprop::{Activation::*, Initializer, Layer};
///
/// const HIDDEN: Layer = Layer::dense(64, Relu).with_init(Initializer::HeNormal).with_dropout(0.2);
/// assert_eq!(HIDDEN.units(), Some(64));
/// assert_eq!(Layer::layer_norm(Relu).units(), None); // as many as feed it
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layer {
    pub(crate) kind: Kind,
    pub(crate) activation: Activation,
    /// Layers that a residual connection spans; 0: there is none.
    pub(crate) residual: usize,
    /// The share of elements that training drops.
    pub(crate) dropout: f32,
    /// That of its weights; `None`: not said, so a builder may.
    pub(crate) penalty: Option<Penalty>,
}

/// What a layer's pre-activation is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Dense { units: usize, bias: bool, init: Initializer, by_output: bool },
    Activation,
    LayerNorm { epsilon: f32 },
    RmsNorm { epsilon: f32 },
    BatchNorm { epsilon: f32, momentum: f32 },
    Normalization,
    Embedding { column: usize, categories: usize, dimensions: usize },
}

/// Added to a variance, unless [`Layer::with_epsilon`] says otherwise: PyTorch's. (Keras has 1e−3.)
const EPSILON: f32 = 1e-5;

impl Layer {
    const fn new(kind: Kind, activation: Activation) -> Self {
        Self { kind, activation, residual: 0, dropout: 0.0, penalty: None }
    }

    /// A dense layer: `z = x·W + b` with `W: [in × units]` and `b: [units]`.
    /// Its weights start Glorot-uniform, its bias at zero.
    pub const fn dense(units: usize, activation: Activation) -> Self {
        Self::new(Kind::Dense { units, bias: true, init: Initializer::GlorotUniform, by_output: false }, activation)
    }

    /// An activation by itself: `z = x`. It has no parameters.
    pub const fn elementwise(activation: Activation) -> Self {
        Self::new(Kind::Activation, activation)
    }

    /// Dropout by itself, on what feeds it: the inputs, say. After another layer
    /// [`with_dropout`](Self::with_dropout) does the same and needs no layer of its own.
    pub const fn dropout(rate: f32) -> Self {
        Self::elementwise(Activation::Linear).with_dropout(rate)
    }

    /// Layer normalisation (Ba, Kiros, Hinton 2016): `z = γ ⊙ (x − mean) / √(variance + ε) + β`, with mean and
    /// (biased) variance over the inputs of a sample. γ starts at 1, β at 0; ε is 1e−5.
    pub const fn layer_norm(activation: Activation) -> Self {
        Self::new(Kind::LayerNorm { epsilon: EPSILON }, activation)
    }

    /// Root-mean-square normalisation (Zhang, Sennrich 2019): `z = γ ⊙ x / √(mean of x² + ε)`, the mean
    /// over the inputs of a sample. γ starts at 1; ε is 1e−5.
    pub const fn rms_norm(activation: Activation) -> Self {
        Self::new(Kind::RmsNorm { epsilon: EPSILON }, activation)
    }

    /// Batch normalisation (Ioffe, Szegedy 2015): `z = γ ⊙ (x − mean) / √(variance + ε) + β`, with mean and
    /// (biased) variance of each input over the samples of a step. γ starts at 1, β at 0; ε is 1e−5.
    ///
    /// Predictions, and losses that train nothing, use running statistics instead, which each training step moves
    /// by `running ← running + momentum · (batch − running)`; momentum is 0.1 (Keras would say 0.9). They stand
    /// behind the trainable parameters. Not for the lean schedule, where a batch is one sample.
    pub const fn batch_norm(activation: Activation) -> Self {
        Self::new(Kind::BatchNorm { epsilon: EPSILON, momentum: 0.1 }, activation)
    }

    /// Normalisation of the network's inputs: `z = (x − mean) · scale`, both stored with the parameters
    /// (behind the trainable ones) and adapted from data by [`adapt`](crate::adapt). The first layer only.
    ///
    /// Columns that an embedding further up takes for categories pass as they are.
    pub const fn normalization() -> Self {
        Self::new(Kind::Normalization, Activation::Linear)
    }

    /// An embedding (Bengio et al. 2003): input `column` holds a category, 0, 1, … below `categories`, as a float, and is replaced where
    /// it stands by the `dimensions` coordinates that a trained table `[categories × dimensions]` has for it. The
    /// other inputs pass. The table starts uniform between −0.05 and 0.05, as Keras's does.
    ///
    /// Only below all other kinds but [`normalization`](Self::normalization); several can stand one after the
    /// other, each counting columns in what the one before has made.
    pub const fn embedding(column: usize, categories: usize, dimensions: usize) -> Self {
        Self::new(Kind::Embedding { column, categories, dimensions }, Activation::Linear)
    }

    /// The same dense layer with other initial weights.
    #[must_use]
    pub const fn with_init(self, init: Initializer) -> Self {
        match self.kind {
            Kind::Dense { units, bias, by_output, .. } => {
                Self { kind: Kind::Dense { units, bias, init, by_output }, ..self }
            }
            _ => self,
        }
    }

    /// The same dense layer or embedding with a penalty on its weights.
    #[must_use]
    pub const fn with_penalty(self, penalty: Penalty) -> Self {
        match self.kind {
            Kind::Dense { .. } | Kind::Embedding { .. } => Self { penalty: Some(penalty), ..self },
            _ => self,
        }
    }

    /// The same dense layer without bias: `z = x·W`. Before a normalisation, which would take a bias out again.
    #[must_use]
    pub const fn without_bias(self) -> Self {
        match self.kind {
            Kind::Dense { units, init, by_output, .. } => {
                Self { kind: Kind::Dense { units, bias: false, init, by_output }, ..self }
            }
            _ => self,
        }
    }

    /// The same dense layer with its weights stored by output, `W: [units × in]` as in PyTorch, and not `[in × units]`. Any other
    /// layer stays as it is.
    ///
    /// It is for the first layer of a network that learns one sample at a time on a small CPU: plain SGD then leaves
    /// the rows of outputs whose δ is ±0, under ReLU about half of them. In the other order it leaves those of inputs that are ±0: where
    /// many are (pixels, counts), that one is better. The same seed gives the same network, and sums are the same to the last
    /// bit (`docs/ARITHMETIC.md`; rule 6.4 says what can differ: the sign of zeros, and what comes of a δ or an input that is not finite).
    ///
    /// Only [`Schedule::Lean`](crate::Schedule::Lean) takes it, and on a desktop without its vectors.
    /// [`copy_params`](crate::copy_params) brings parameters from one order to the other.
    ///
    /// ```
    /// use microprop::{Layout, init, layout};
    ///
    /// const IN_ORDER: Layout = layout!(2 => dense(3, Relu), dense(1, Sigmoid));
    /// const BY_OUTPUT: Layout = layout!(2 => dense(3, Relu).by_output(), dense(1, Sigmoid));
    /// let mut params = [[0.0; BY_OUTPUT.params_len()]; 2];
    /// init(&IN_ORDER, 7, &mut params[0])?;
    /// init(&BY_OUTPUT, 7, &mut params[1])?;
    /// let [in_order, by_output] = params;
    /// assert_eq!([in_order[0], in_order[3]], by_output[..2]); // what both inputs bring to output 0
    /// # Ok::<(), microprop::StepError>(())
    /// ```
    #[must_use]
    pub const fn by_output(self) -> Self {
        match self.kind {
            Kind::Dense { units, bias, init, .. } => {
                Self { kind: Kind::Dense { units, bias, init, by_output: true }, ..self }
            }
            _ => self,
        }
    }

    /// The same normalisation with another ε > 0.
    #[must_use]
    pub const fn with_epsilon(self, epsilon: f32) -> Self {
        let kind = match self.kind {
            Kind::LayerNorm { .. } => Kind::LayerNorm { epsilon },
            Kind::RmsNorm { .. } => Kind::RmsNorm { epsilon },
            Kind::BatchNorm { momentum, .. } => Kind::BatchNorm { epsilon, momentum },
            kind => kind,
        };
        Self { kind, ..self }
    }

    /// The same batch normalisation with another momentum of its running statistics, 0 < momentum ≤ 1.
    #[must_use]
    pub const fn with_momentum(self, momentum: f32) -> Self {
        match self.kind {
            Kind::BatchNorm { epsilon, .. } => Self { kind: Kind::BatchNorm { epsilon, momentum }, ..self },
            _ => self,
        }
    }

    /// The same with a residual connection (He et al. 2016) around `span` layers, this one being the last
    /// of them: the values that enter the first are added to this layer's pre-activation. As many as it has units.
    ///
    /// `with_residual(1)` adds the layer's own inputs; 0 takes the connection away.
    #[must_use]
    pub const fn with_residual(self, span: usize) -> Self {
        Self { residual: span, ..self }
    }

    /// The same with dropout (Srivastava et al. 2014), inverted: in training each value is dropped, that is +0, with
    /// probability `rate`, 0 ≤ rate < 1, and the others are multiplied by `1 / (1 − rate)`; predictions are left alone.
    ///
    /// Which ones is a function of seed, step, layer and element alone: the same for any number of threads, kept nowhere.
    /// Not for the last layer.
    #[must_use]
    pub const fn with_dropout(self, rate: f32) -> Self {
        Self { dropout: rate, ..self }
    }

    /// Number of units; `None` where there are as many as feed it.
    pub const fn units(&self) -> Option<usize> {
        match self.kind {
            Kind::Dense { units, .. } => Some(units),
            _ => None,
        }
    }

    /// Its activation.
    pub const fn activation(&self) -> Activation {
        self.activation
    }

    /// How a dense layer's weights start.
    pub const fn init(&self) -> Option<Initializer> {
        match self.kind {
            Kind::Dense { init, .. } => Some(init),
            _ => None,
        }
    }

    /// The penalty on its weights.
    pub const fn penalty(&self) -> Penalty {
        match self.penalty {
            Some(penalty) => penalty,
            None => Penalty::NONE,
        }
    }

    /// The same dense layer with this penalty, unless it was told one.
    #[cfg(feature = "alloc")]
    pub(crate) const fn or_penalty(self, penalty: Penalty) -> Self {
        match (self.kind, self.penalty) {
            (Kind::Dense { .. }, None) => self.with_penalty(penalty),
            _ => self,
        }
    }

    /// Whether its weights are stored by output.
    #[inline(always)]
    pub(crate) const fn is_by_output(&self) -> bool {
        matches!(self.kind, Kind::Dense { by_output: true, .. })
    }

    /// Its outputs, given its inputs.
    pub(crate) const fn outputs(&self, inputs: usize) -> usize {
        match self.kind {
            Kind::Dense { units, .. } => units,
            Kind::Embedding { dimensions, .. } => inputs - 1 + dimensions,
            _ => inputs,
        }
    }

    /// The same, if it fits in `usize`.
    pub(crate) const fn checked_outputs(&self, inputs: usize) -> Option<usize> {
        match self.kind {
            Kind::Embedding { dimensions, .. } => (inputs - 1).checked_add(dimensions),
            _ => Some(self.outputs(inputs)),
        }
    }

    /// Whether nothing follows its pre-activation.
    pub(crate) const fn is_bare(&self) -> bool {
        matches!(self.activation, Activation::Linear) && self.residual == 0 && self.dropout == 0.0
    }

    /// Whether it is dense with a bias, and what follows is what the epilogue of a product does.
    pub(crate) const fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Dense { bias: true, .. })
            && self.residual == 0
            && self.dropout == 0.0
            && !self.activation.slopes_at_pre_activation()
    }

    /// Whether the slope is taken at something that is not its value: then that is kept too.
    pub(crate) const fn keeps(&self) -> bool {
        let by_sign = matches!(self.activation, Activation::Linear | Activation::Relu | Activation::LeakyRelu { .. });
        self.activation.slopes_at_pre_activation() || self.dropout > 0.0 && !by_sign
    }
}

/// `64 ReLU`, `layer norm, ReLU, residual over 2, dropout 0.1`.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Dense { units, bias, by_output, .. } => {
                write!(f, "{units} {}{}", self.activation, if bias { "" } else { " without bias" })?;
                f.write_str(if by_output { " by output" } else { "" })?;
            }
            Kind::Activation => write!(f, "{}", self.activation)?,
            Kind::LayerNorm { .. } => f.write_str("layer norm")?,
            Kind::RmsNorm { .. } => f.write_str("RMS norm")?,
            Kind::BatchNorm { .. } => f.write_str("batch norm")?,
            Kind::Normalization => f.write_str("normalization")?,
            Kind::Embedding { column, categories, dimensions } => {
                write!(f, "embedding of input {column}, {categories} × {dimensions}")?;
            }
        }
        let named = matches!(self.kind, Kind::Dense { .. } | Kind::Activation);
        if !named && self.activation != Activation::Linear {
            write!(f, ", {}", self.activation)?;
        }
        if self.residual > 0 {
            write!(f, ", residual over {}", self.residual)?;
        }
        if self.dropout > 0.0 {
            write!(f, ", dropout {}", self.dropout)?;
        }
        Ok(())
    }
}
