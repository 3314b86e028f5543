//! What callers can get wrong: one small enum per kind of operation.
//!
//! Every error but [`FitError::Diverged`](crate::FitError::Diverged) is found before the
//! first write: the parameters, the optimizer state and the outputs are as they were. (A workspace is scratch; what it
//! holds after an error is unspecified.)

use crate::activation::Activation;
use core::fmt;

/// Why there is no [`Isa`](crate::Isa) for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IsaError {
    /// Fused arithmetic needs a hardware fused multiply-add, which this CPU lacks.
    NoFusedMultiplyAdd,
}

/// Why layers do not make a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutError {
    /// The network has no inputs.
    NoInputs,
    /// The network has no layers.
    NoLayers,
    /// Layer `layer` (counted from 0) has no units.
    NoUnits {
        /// Index of the layer.
        layer: usize,
    },
    /// Layer `layer` stores its weights by output, and is not the first of its network, or has more to it than a bias.
    ByOutput {
        /// Index of the layer.
        layer: usize,
    },
    /// Layer `layer` applies softmax and is not the last.
    HiddenSoftmax {
        /// Index of the layer.
        layer: usize,
    },
    /// Layer `layer` has a leaky slope that is negative, above 1 or NaN.
    LeakySlope {
        /// Index of the layer.
        layer: usize,
    },
    /// Layer `layer` drops a share of its values that is negative, not below 1, or NaN.
    DropoutRate {
        /// Index of the layer.
        layer: usize,
    },
    /// Layer `layer` has dropout and is the last.
    LastDropout {
        /// Index of the layer.
        layer: usize,
    },
    /// The residual connection of layer `layer` spans more layers than there are.
    ResidualSpan {
        /// Index of the layer.
        layer: usize,
        /// The span asked for.
        span: usize,
    },
    /// The residual connection of layer `layer` adds another number of values than it has units.
    ResidualWidth {
        /// Index of the layer.
        layer: usize,
        /// Values that enter the span.
        from: usize,
        /// Units of the layer.
        to: usize,
    },
    /// The normalisation of layer `layer` has an ε that is not finite and above zero.
    Epsilon {
        /// Index of the layer.
        layer: usize,
    },
    /// The batch normalisation of layer `layer` has a momentum outside 0 < momentum ≤ 1.
    Momentum {
        /// Index of the layer.
        layer: usize,
    },
    /// Layer `layer` normalises inputs and is not the first.
    LateNormalization {
        /// Index of the layer.
        layer: usize,
    },
    /// Layer `layer` is an embedding above something else than the normalisation of inputs and other embeddings.
    LateEmbedding {
        /// Index of the layer.
        layer: usize,
    },
    /// The embedding of layer `layer` takes a column that its inputs don't have.
    Column {
        /// Index of the layer.
        layer: usize,
        /// The column asked for.
        column: usize,
        /// The layer's inputs.
        inputs: usize,
    },
    /// The embedding of layer `layer` takes a column that another has made.
    EmbeddedColumn {
        /// Index of the layer.
        layer: usize,
        /// The column asked for.
        column: usize,
    },
    /// Layer `layer` has an alpha of ELU that is negative, infinite or NaN.
    EluAlpha {
        /// Index of the layer.
        layer: usize,
    },
    /// Layer `layer` has a penalty with a factor that is NaN, infinite or negative.
    Penalty {
        /// Index of the layer.
        layer: usize,
    },
    /// The number of parameters, or the length of a buffer, overflows `usize`.
    TooLarge,
}

/// Why a loss or an optimizer cannot train this network.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum TrainerError {
    /// The loss makes no sense on outputs of this activation: from pre-activations, binary
    /// cross-entropy needs a sigmoid, categorical cross-entropy a softmax.
    LossOnActivation {
        /// The name of the loss asked for.
        loss: &'static str,
        /// The activation of the last layer.
        activation: Activation,
        /// The activation that the loss goes with.
        needed: Activation,
    },
    /// The delta of a Huber loss is NaN, infinite, or not above zero.
    HuberDelta {
        /// The value found.
        found: f32,
    },
    /// The quantile of a quantile loss is NaN or outside 0 < q < 1.
    Quantile {
        /// The value found.
        found: f32,
    },
    /// The label smoothing of a cross-entropy is NaN or outside 0 ≤ smoothing < 1.
    Smoothing {
        /// The value found.
        found: f32,
    },
    /// There is not one weight for each class.
    ClassWeights {
        /// The number of classes: the outputs of the last layer, or 2 where that is 1.
        expected: usize,
        /// The number of weights.
        found: usize,
    },
    /// The learning rate is NaN, infinite or negative.
    LearningRate {
        /// The value found.
        found: f32,
    },
    /// A decay rate (momentum, β₁, β₂) is NaN or outside 0 ≤ rate < 1.
    DecayRate {
        /// The value found.
        found: f32,
    },
    /// ε is NaN, infinite, or not above zero.
    Epsilon {
        /// The value found.
        found: f32,
    },
}

/// Why trainers do not make an ensemble.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum EnsembleError {
    /// The ensemble has no members.
    NoMembers,
    /// A member's learning rate is NaN, infinite or negative.
    LearningRate {
        /// Which member, counted from 0.
        member: usize,
        /// The value found.
        found: f32,
    },
    /// Layer `layer` has no interleaved form: it is neither dense nor an activation, has a residual connection, or
    /// is stored by output.
    Interleaved {
        /// Index of the layer.
        layer: usize,
    },
    /// The length of a buffer overflows `usize`.
    TooLarge,
}

/// Which slice an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Buffer {
    /// Inputs, `[batch × inputs]`.
    Inputs,
    /// Targets: values `[batch × outputs]`, or one class per sample.
    Targets,
    /// The weight of each sample, `[batch]`.
    SampleWeights,
    /// Which targets count, `[batch × outputs]`.
    Mask,
    /// Outputs, `[batch × outputs]`.
    Outputs,
    /// The network's parameters.
    Parameters,
    /// The optimizer's state.
    OptimizerState,
    /// The workspace (at least this long).
    Workspace,
    /// The gradient, as long as the trainable parameters.
    Gradient,
    /// ∂loss/∂outputs, `[batch × outputs]`.
    OutputDelta,
    /// ∂loss/∂inputs, `[batch × inputs]`.
    InputDelta,
    /// A layer's weights, `[in × out]`.
    Weights,
    /// The layers that are left when others are folded away (at least this many).
    Layers,
    /// Their parameters (at least this long).
    FoldedParameters,
    /// The losses of an ensemble, `[members]`.
    Losses,
}

/// Why a pass over the network cannot run, or a step cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum StepError {
    /// A slice has another length than the layout and the batch ask for.
    Length {
        /// The slice.
        buffer: Buffer,
        /// The length it should have (a workspace: at least).
        expected: usize,
        /// The length it has.
        found: usize,
    },
    /// The inputs hold no sample, or not a whole number of samples.
    Batch {
        /// Inputs per sample.
        inputs: usize,
        /// Length of the slice.
        found: usize,
    },
    /// A kernel was given a layer without outputs: an empty bias, or `outputs` of 0.
    NoOutputs,
    /// An input that an embedding takes for a category is not a whole number from 0 to below the number of categories.
    Category {
        /// Which sample of the batch.
        sample: usize,
        /// Which of its inputs.
        input: usize,
        /// The value found.
        found: f32,
        /// Number of categories.
        categories: usize,
    },
    /// There is no normalisation of inputs to adapt.
    NoNormalization,
    /// An input that a normalisation is to be adapted to is NaN or infinite.
    NonFiniteInput {
        /// Which sample.
        sample: usize,
        /// Which of its inputs.
        input: usize,
        /// The value found.
        found: f32,
    },
    /// Batch normalisation needs a batch, so it can't be trained in the lean schedule.
    LeanBatchNorm,
    /// Layer 0 stores its weights by output, which only the lean schedule takes.
    BatchByOutput,
    /// The lean schedule takes one sample at a time.
    LeanBatch {
        /// Samples found.
        found: usize,
    },
    /// A step in slices takes one sample at a time: it is one of the lean schedule.
    BatchSlices,
    /// A step in slices was begun by a trainer of another layout.
    OtherLayout,
    /// Parameters can't be copied to another layout, for it differs in more than the order of weights.
    LayoutsDiffer,
    /// A class index is not below the number of classes.
    Class {
        /// Which sample of the batch.
        sample: usize,
        /// The index found.
        found: u32,
        /// Number of classes: the outputs of the last layer.
        classes: usize,
    },
    /// A target of a loss that compares probabilities is none: NaN, or outside 0 ≤ t ≤ 1.
    Probability {
        /// Which element of the targets.
        index: usize,
        /// The value found.
        found: f32,
    },
    /// A target of the hinge loss is neither −1 nor 1.
    Sign {
        /// Which element of the targets.
        index: usize,
        /// The value found.
        found: f32,
    },
    /// A target of the Poisson loss is negative or NaN.
    Negative {
        /// Which element of the targets.
        index: usize,
        /// The value found.
        found: f32,
    },
    /// An element of a mask is neither 0 nor 1.
    Mask {
        /// Which element of the mask.
        index: usize,
        /// The value found.
        found: f32,
    },
    /// A mask has a part of a sample under a custom loss, which knows whole samples only.
    PartialMask {
        /// Which sample of the batch.
        sample: usize,
    },
    /// Class indices were given to a loss that compares values.
    ClassTargets {
        /// The name of the loss.
        loss: &'static str,
    },
    /// There are class weights, and target values for several outputs, which name no class.
    ClassWeights {
        /// Outputs of the last layer.
        outputs: usize,
    },
    /// The loss is NaN or infinite. No parameter was changed.
    NonFiniteLoss {
        /// The value found.
        found: f32,
    },
    /// An ensemble has no member of this number.
    Member {
        /// The number found.
        found: usize,
        /// How many members there are.
        members: usize,
    },
    /// The loss does not fit the outputs, or a setting of the optimizer is out of range.
    Trainer(TrainerError),
    /// The batch, or the number of threads, is so large that a buffer's length overflows `usize`.
    TooLarge,
}

/// Why a network cannot be fitted to samples.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FitError {
    /// Settings or samples do not fit the network.
    Step(StepError),
    /// The samples of validation do not fit the network.
    Validation(StepError),
    /// A batch has no sample.
    BatchSize,
    /// The fraction kept for validation leaves no sample on one side.
    ValidationSplit {
        /// The fraction found.
        found: f32,
        /// Samples to split.
        samples: usize,
    },
    /// The loss, or a parameter, became NaN or infinite. The network has the parameters
    /// with which the last epoch began whose first loss was finite.
    Diverged {
        /// In which epoch, counted from 1.
        epoch: usize,
        /// The loss found, or the parameter.
        found: f32,
        /// Whether it was the loss of the validation.
        validation: bool,
    },
}

#[cfg(feature = "alloc")]
impl From<StepError> for FitError {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

impl From<TrainerError> for StepError {
    fn from(error: TrainerError) -> Self {
        Self::Trainer(error)
    }
}

impl StepError {
    /// Checks that `buffer` has exactly `expected` elements.
    pub(crate) const fn check(buffer: Buffer, expected: usize, found: usize) -> Result<(), Self> {
        if expected == found { Ok(()) } else { Err(Self::Length { buffer, expected, found }) }
    }

    /// Checks that `buffer` has at least `expected` elements.
    pub(crate) const fn check_at_least(buffer: Buffer, expected: usize, found: usize) -> Result<(), Self> {
        if expected <= found { Ok(()) } else { Err(Self::Length { buffer, expected, found }) }
    }
}

impl LayoutError {
    /// The message, for `const` panics.
    pub const fn message(&self) -> &'static str {
        match self {
            Self::NoInputs => "a network has at least one input",
            Self::NoLayers => "a network has at least one layer",
            Self::NoUnits { .. } => "a layer has at least one unit",
            Self::ByOutput { .. } => {
                "weights by output are for the first layer, with a bias, an activation whose value gives its slope, and no dropout or \
                 penalty, of a network without residual connections and batch norm"
            }
            Self::HiddenSoftmax { .. } => "softmax is for the last layer only",
            Self::LeakySlope { .. } => "a leaky slope lies in 0 to 1",
            Self::DropoutRate { .. } => "a dropout rate lies in 0 <= rate < 1",
            Self::LastDropout { .. } => "dropout is not for the last layer",
            Self::ResidualSpan { .. } => "a residual connection begins at the network's inputs or above",
            Self::ResidualWidth { .. } => "a residual connection adds as many values as the layer has units",
            Self::Epsilon { .. } => "the epsilon of a normalization is finite and above zero",
            Self::Momentum { .. } => "the momentum of a batch normalization lies in 0 < momentum <= 1",
            Self::LateNormalization { .. } => "normalization of inputs is for the first layer only",
            Self::LateEmbedding { .. } => "below an embedding there are only normalization of inputs and embeddings",
            Self::Column { .. } => "an embedding takes one of its layer's inputs",
            Self::EmbeddedColumn { .. } => {
                "an embedding takes a column of the network's inputs, not of another embedding"
            }
            Self::EluAlpha { .. } => "an ELU's alpha is finite and not negative",
            Self::Penalty { .. } => "the factors of a penalty are finite and not negative",
            Self::TooLarge => "the number of parameters or a buffer's length overflows usize",
        }
    }
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFusedMultiplyAdd => {
                f.write_str("fused arithmetic needs a CPU with FMA; portable arithmetic runs here")
            }
        }
    }
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUnits { layer }
            | Self::ByOutput { layer }
            | Self::HiddenSoftmax { layer }
            | Self::LeakySlope { layer }
            | Self::EluAlpha { layer }
            | Self::DropoutRate { layer }
            | Self::LastDropout { layer }
            | Self::Epsilon { layer }
            | Self::Momentum { layer }
            | Self::LateNormalization { layer }
            | Self::LateEmbedding { layer }
            | Self::Penalty { layer } => write!(f, "layer {layer}: {}", self.message()),
            Self::ResidualSpan { layer, span } => {
                write!(f, "layer {layer}: {}; a span of {span} begins below them", self.message())
            }
            Self::ResidualWidth { layer, from, to } => {
                write!(f, "layer {layer}: {}, {to}; {from} enter the span", self.message())
            }
            Self::Column { layer, column, inputs } => {
                write!(f, "layer {layer}: {}, 0 to {}, found column {column}", self.message(), inputs - 1)
            }
            Self::EmbeddedColumn { layer, column } => {
                write!(f, "layer {layer}: {}, found column {column}", self.message())
            }
            Self::NoInputs | Self::NoLayers | Self::TooLarge => f.write_str(self.message()),
        }
    }
}

impl fmt::Display for TrainerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LossOnActivation { loss, activation, needed } => {
                write!(f, "{loss} makes no sense on {activation} outputs: end the network with a {needed}")
            }
            Self::HuberDelta { found } => write!(f, "a Huber loss's delta is finite and above zero, found {found}"),
            Self::Quantile { found } => write!(f, "a quantile lies in 0 < q < 1, found {found}"),
            Self::Smoothing { found } => write!(f, "label smoothing lies in 0 <= smoothing < 1, found {found}"),
            Self::ClassWeights { expected, found } => {
                write!(f, "expected a weight for each of {expected} classes, found {found}")
            }
            Self::LearningRate { found } => {
                write!(f, "a learning rate is finite and not negative, found {found}")
            }
            Self::DecayRate { found } => {
                write!(f, "a decay rate (momentum, beta) lies in 0 <= rate < 1, found {found}")
            }
            Self::Epsilon { found } => write!(f, "epsilon is finite and above zero, found {found}"),
        }
    }
}

impl fmt::Display for EnsembleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMembers => f.write_str("an ensemble has at least one member"),
            Self::LearningRate { member, found } => {
                write!(f, "member {member}: a learning rate is finite and not negative, found {found}")
            }
            Self::Interleaved { layer } => {
                write!(
                    f,
                    "layer {layer}: interleaved members have dense layers (not by output), activations and dropout only"
                )
            }
            Self::TooLarge => f.write_str("too many members: a buffer's length overflows usize"),
        }
    }
}

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inputs => "inputs",
            Self::Targets => "targets",
            Self::SampleWeights => "sample weights",
            Self::Mask => "mask",
            Self::Outputs => "outputs",
            Self::Parameters => "parameters",
            Self::OptimizerState => "optimizer state",
            Self::Workspace => "workspace",
            Self::Gradient => "gradient",
            Self::OutputDelta => "output delta",
            Self::InputDelta => "input delta",
            Self::Weights => "weights",
            Self::Layers => "layers",
            Self::FoldedParameters => "folded parameters",
            Self::Losses => "losses",
        })
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length {
                buffer: buffer @ (Buffer::Workspace | Buffer::Layers | Buffer::FoldedParameters),
                expected,
                found,
            } => write!(f, "{buffer}: expected a length of at least {expected}, found {found}"),
            Self::Length { buffer, expected, found } => {
                write!(f, "{buffer}: expected a length of {expected}, found {found}")
            }
            Self::Batch { inputs, found } => {
                write!(f, "inputs: expected one or more samples of {inputs}, found a length of {found}")
            }
            Self::NoOutputs => f.write_str("a layer has at least one output, found 0"),
            Self::LeanBatch { found } => {
                write!(f, "the lean schedule takes 1 sample at a time, found {found}")
            }
            Self::BatchSlices => f.write_str("a step in slices needs the lean schedule, found the batch schedule"),
            Self::LayoutsDiffer => f.write_str("the two layouts differ in more than the order of their weights"),
            Self::OtherLayout => f.write_str("the step in slices was begun by a trainer of another layout"),
            Self::Category { sample, input, found, categories } => write!(
                f,
                "sample {sample}, input {input}: expected a category, a whole number below {categories}, found {found}"
            ),
            Self::NoNormalization => f.write_str("the network does not begin with a normalization of its inputs"),
            Self::NonFiniteInput { sample, input, found } => {
                write!(f, "sample {sample}, input {input}: expected a finite number, found {found}")
            }
            Self::BatchByOutput => f.write_str(
                "layer 0 stores its weights by output, which only Schedule::Lean takes: copy_params brings them to the other order",
            ),
            Self::LeanBatchNorm => f.write_str(
                "batch normalization needs a batch, the lean schedule has one sample: \
                 use layer or RMS normalization, or the batch schedule",
            ),
            Self::Class { sample, found, classes } => {
                write!(f, "sample {sample}: expected a class below {classes} (the number of outputs), found {found}")
            }
            Self::Probability { index, found } => {
                write!(f, "target {index}: expected a probability, 0 to 1, found {found}")
            }
            Self::Sign { index, found } => write!(f, "target {index}: expected -1 or 1, found {found}"),
            Self::Negative { index, found } => write!(f, "target {index}: expected 0 or more, found {found}"),
            Self::Mask { index, found } => write!(f, "mask {index}: expected 0 or 1, found {found}"),
            Self::PartialMask { sample } => {
                write!(f, "sample {sample}: a custom loss has its samples masked whole or not at all")
            }
            Self::ClassWeights { outputs } => write!(
                f,
                "class weights need class indices or a single output, found target values for {outputs} outputs"
            ),
            Self::ClassTargets { loss } => {
                write!(f, "{loss} compares values, found class indices (they are for cross-entropy)")
            }
            Self::NonFiniteLoss { found } => {
                write!(
                    f,
                    "the loss is {found}; nothing was updated \
                     (is there a NaN or an infinity in the data, or is the learning rate too high?)"
                )
            }
            Self::Member { found, members } => write!(f, "expected a member below {members}, found {found}"),
            Self::Trainer(error) => error.fmt(f),
            Self::TooLarge => f.write_str("too many samples or threads: a buffer's length overflows usize"),
        }
    }
}

#[cfg(feature = "alloc")]
impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(error) => error.fmt(f),
            Self::Validation(error) => write!(f, "validation: {error}"),
            Self::BatchSize => f.write_str("a batch has at least 1 sample, found a batch size of 0"),
            Self::ValidationSplit { found, samples } => {
                write!(
                    f,
                    "a validation split lies between 0 and 1; {found} leaves nothing on one side of {samples} samples"
                )
            }
            Self::Diverged { epoch, found, validation } => write!(
                f,
                "the {}loss is {found} in epoch {epoch}; the network has its last good parameters (is there a NaN or \
                 an infinity in the data, are the inputs not scaled, or is the learning rate too high?)",
                if *validation { "validation " } else { "" }
            ),
        }
    }
}

impl core::error::Error for IsaError {}
impl core::error::Error for LayoutError {}
impl core::error::Error for TrainerError {}
impl core::error::Error for EnsembleError {}
impl core::error::Error for StepError {}
#[cfg(feature = "alloc")]
impl core::error::Error for FitError {}
