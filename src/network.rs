//! A network that owns its parameters.
#![forbid(unsafe_code)]

use crate::activation::Activation;
use crate::adapt::adapt;
use crate::aligned::AlignedVec;
use crate::backend::Backend;
use crate::error::{LayoutError, StepError};
use crate::fold::fold_batch_norm;
use crate::init::init;
use crate::kernels;
use crate::layer::Layer;
use crate::layout::{Layout, Schedule};
use crate::memory::Summary;
use crate::metric::class_of;
use crate::penalty::Penalty;
use crate::simd::Isa;
use crate::step::{GRAIN, Mlp};
use alloc::vec::Vec;
use core::fmt;

/// A network with its parameters: built like a Keras model, trained by [`fit`](Self::fit).
///
/// It adds ownership, data handling and manners to the core; what it computes is
/// [`Mlp`]'s and [`Trainer`](crate::Trainer)'s work, with their bits.
///
/// ```
/// use microprop::{Activation::*, Fit, Loss::CrossEntropy, Metric::Accuracy, Network, Adam};
///
/// // Is the first number the larger one?
/// let x = [0.1, 0.9, 0.8, 0.3, 0.4, 0.6, 0.7, 0.2, 0.2, 0.3, 0.9, 0.6];
/// let classes = [0_u32, 1, 0, 1, 0, 1];
///
/// let mut net = Network::new(2).dense(8, Relu).dense(2, Softmax).seed(7).build()?;
/// let fit = Fit::new(CrossEntropy, Adam::new(0.05)).epochs(100).batch_size(2).metric(Accuracy);
/// let history = net.fit(&x, &classes, fit)?;
/// assert_eq!(history.last().unwrap().training.metric, Some(1.0));
///
/// assert_eq!(net.predict_classes(&[0.95, 0.05])?, [1]);
/// let probabilities = net.predict(&[0.95, 0.05])?; // [1 × 2]
/// assert!(probabilities[1] > 0.9);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Network {
    inputs: usize,
    layers: Vec<Layer>,
    params: AlignedVec,
    isa: Isa,
    backend: Backend,
    schedule: Schedule,
    threads: Option<usize>,
}

/// A [`Network`] in the making: its layers, its seed, and where it runs.
#[derive(Clone, Debug)]
#[must_use = "a builder makes a network when build() is called"]
pub struct NetworkBuilder {
    inputs: usize,
    layers: Vec<Layer>,
    /// What was asked of a layer that is not there.
    misplaced: Option<LayoutError>,
    penalty: Penalty,
    seed: u64,
    isa: Option<Isa>,
    backend: Backend,
    schedule: Schedule,
    threads: Option<usize>,
}

impl NetworkBuilder {
    /// Adds a dense layer, its weights Glorot-uniform: see [`Layer::dense`].
    pub fn dense(self, units: usize, activation: Activation) -> Self {
        self.layer(Layer::dense(units, activation))
    }

    /// Adds layer normalisation: see [`Layer::layer_norm`].
    pub fn layer_norm(self, activation: Activation) -> Self {
        self.layer(Layer::layer_norm(activation))
    }

    /// Adds root-mean-square normalisation: see [`Layer::rms_norm`].
    pub fn rms_norm(self, activation: Activation) -> Self {
        self.layer(Layer::rms_norm(activation))
    }

    /// Adds batch normalisation: see [`Layer::batch_norm`].
    pub fn batch_norm(self, activation: Activation) -> Self {
        self.layer(Layer::batch_norm(activation))
    }

    /// Adds normalisation of the inputs: see [`Layer::normalization`] and [`Network::adapt`].
    pub fn normalization(self) -> Self {
        self.layer(Layer::normalization())
    }

    /// Adds an embedding of a column of categories: see [`Layer::embedding`].
    pub fn embedding(self, column: usize, categories: usize, dimensions: usize) -> Self {
        self.layer(Layer::embedding(column, categories, dimensions))
    }

    /// Drops a share of the values of the layer added last (of the inputs, if there is none) in training: see
    /// [`Layer::with_dropout`].
    pub fn dropout(mut self, rate: f32) -> Self {
        match self.layers.last_mut() {
            Some(last) => *last = last.with_dropout(rate),
            None => self.layers.push(Layer::dropout(rate)),
        }
        self
    }

    /// Adds what enters `span` layers, the one added last being the last of them, to its pre-activations: see
    /// [`Layer::with_residual`]. Before there is a layer it is a mistake, which [`build`](Self::build) returns.
    pub fn residual(mut self, span: usize) -> Self {
        match self.layers.last_mut() {
            Some(last) => *last = last.with_residual(span),
            None => self.misplaced = Some(LayoutError::ResidualSpan { layer: 0, span }),
        }
        self
    }

    /// Adds a layer.
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// The penalty on the weights of all dense layers that have none of their own
    /// ([`Layer::with_penalty`]), wherever in the chain this stands; by default [`Penalty::NONE`].
    ///
    /// ```
    /// use microprop::{Activation::*, Layer, Network, Penalty};
    ///
    /// let last = Layer::dense(10, Softmax).with_penalty(Penalty::NONE);
    /// let net = Network::new(64).dense(128, Relu).layer(last).penalty(Penalty::l2(1e-3)).build()?;
    /// let layers = net.layout().layers();
    /// assert_eq!([layers[0].penalty(), layers[1].penalty()], [Penalty::l2(1e-3), Penalty::NONE]);
    /// # Ok::<(), microprop::LayoutError>(())
    /// ```
    pub fn penalty(self, penalty: Penalty) -> Self {
        Self { penalty, ..self }
    }

    /// The seed of the initial parameters, by default 0.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The instruction set and arithmetic to run in, by default [`Isa::detect`].
    pub fn isa(self, isa: Isa) -> Self {
        Self { isa: Some(isa), ..self }
    }

    /// Whose kernels compute large products, by default [`Backend::OWN`]. It changes no bit of a result.
    pub fn backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// The schedule of training, by default [`Schedule::Batch`]. In the lean one a
    /// batch is that many updates, one for each of its samples.
    pub fn schedule(self, schedule: Schedule) -> Self {
        Self { schedule, ..self }
    }

    /// At most this many threads; by default as many as rayon's current pool has, if
    /// there is work for more than one (without the feature `rayon`, one). It changes
    /// no bit of a result.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// Checks the layers and initialises the parameters.
    ///
    /// # Errors
    /// [`LayoutError`], which names the layer; [`LayoutError::TooLarge`] also if there is
    /// not enough memory.
    pub fn build(self) -> Result<Network, LayoutError> {
        let Self { inputs, mut layers, misplaced, penalty, seed, isa, backend, schedule, threads } = self;
        if let Some(error) = misplaced {
            return Err(error);
        }
        for layer in &mut layers {
            *layer = layer.or_penalty(penalty);
        }
        let layout = Layout::new(inputs, &layers)?;
        let mut params = AlignedVec::zeros(layout.params_len()).ok_or(LayoutError::TooLarge)?;
        if init(&layout, seed, &mut params).is_err() {
            unreachable!("the parameters are as many as the layout says");
        }
        let isa = isa.unwrap_or_else(Isa::detect);
        Ok(Network { inputs, layers, params, isa, backend, schedule, threads })
    }
}

impl Network {
    /// Begins a network of `inputs` inputs.
    #[expect(clippy::new_ret_no_self, reason = "reads as the network it will be; build() checks it")]
    pub fn new(inputs: usize) -> NetworkBuilder {
        NetworkBuilder {
            inputs,
            layers: Vec::new(),
            misplaced: None,
            penalty: Penalty::NONE,
            seed: 0,
            isa: None,
            backend: Backend::OWN,
            schedule: Schedule::Batch,
            threads: None,
        }
    }

    /// Its layout.
    pub fn layout(&self) -> Layout<'_> {
        match Layout::new(self.inputs, &self.layers) {
            Ok(layout) => layout,
            Err(_) => unreachable!("build has checked the layers"),
        }
    }

    /// Its layers, and what it costs on a board: see [`Layout::summary`].
    ///
    /// ```
    /// use microprop::{Activation::*, Network};
    ///
    /// let net = Network::new(64).dense(16, Tanh).dense(10, Softmax).build()?;
    /// println!("{}", net.summary());
    /// # Ok::<(), microprop::LayoutError>(())
    /// ```
    pub fn summary(&self) -> Summary<'_> {
        self.layout().summary()
    }

    /// Its parameters, in the order that [`Layout`] gives.
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// Its parameters, to be changed: loaded from elsewhere, say.
    pub fn params_mut(&mut self) -> &mut [f32] {
        &mut self.params
    }

    /// What computes it, on one thread unless [`NetworkBuilder::threads`] says otherwise:
    /// to predict without allocating, from as many threads as you like.
    pub fn mlp(&self) -> Mlp<'_> {
        self.mlp_on(self.threads.unwrap_or(1))
    }

    /// Adapts the normalisation of its inputs to the samples `x: [samples × inputs]`: see [`adapt`](crate::adapt).
    ///
    /// ```
    /// use microprop::{Activation::*, Network};
    ///
    /// let mut net = Network::new(2).normalization().dense(8, Relu).dense(1, Linear).build()?;
    /// net.adapt(&[18.0, 101_300.0, 22.0, 99_800.0])?; // before it is trained
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`adapt`](crate::adapt).
    pub fn adapt(&mut self, x: &[f32]) -> Result<(), StepError> {
        let (mlp, params) = self.parts_mut();
        adapt(mlp.layout(), x, params)
    }

    /// The same network for predictions, its batch normalisations folded into the dense layers below them: see
    /// [`fold_batch_norm`].
    ///
    /// # Errors
    /// [`StepError::TooLarge`] if there is not enough memory.
    pub fn folded(&self) -> Result<Self, StepError> {
        let mut layers = self.layers.clone();
        let mut params = AlignedVec::zeros(self.params.len()).ok_or(StepError::TooLarge)?;
        let (count, len) = fold_batch_norm(&self.layout(), &self.params, &mut layers, &mut params)?;
        layers.truncate(count);
        let mut folded = AlignedVec::zeros(len).ok_or(StepError::TooLarge)?;
        folded.copy_from_slice(&params[..len]);
        Ok(Self { layers, params: folded, ..self.clone() })
    }

    /// What computes it, and its parameters, to be changed: for steps of your own.
    ///
    /// ```
    /// use microprop::{Activation::*, Loss, Network, Sgd, Targets, Trainer};
    ///
    /// let mut net = Network::new(2).dense(3, Tanh).dense(1, Linear).build()?;
    /// let (mlp, params) = net.parts_mut();
    /// let trainer = Trainer::new(mlp, Loss::MeanSquaredError, Sgd::new(0.1).into())?;
    /// let mut workspace = vec![0.0; mlp.workspace_len(1)?];
    /// let (x, target) = ([1.0, 0.5], Targets::values(&[0.3]));
    /// let first = trainer.train_step(0, &x, target, params, &mut [], &mut workspace)?;
    /// let second = trainer.train_step(1, &x, target, params, &mut [], &mut workspace)?;
    /// assert!(second < first);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn parts_mut(&mut self) -> (Mlp<'_>, &mut [f32]) {
        let Self { inputs, layers, params, isa, backend, schedule, threads } = self;
        let Ok(layout) = Layout::new(*inputs, layers) else { unreachable!("build has checked the layers") };
        let mlp = Mlp::new(layout, *isa).with_backend(*backend).with_schedule(*schedule);
        (mlp.with_threads(threads.unwrap_or(1)), params)
    }

    /// What computes it, on so many threads.
    pub(crate) fn mlp_on(&self, threads: usize) -> Mlp<'_> {
        let mlp = Mlp::new(self.layout(), self.isa).with_backend(self.backend).with_schedule(self.schedule);
        mlp.with_threads(threads)
    }

    /// Threads for passes over `batch` samples. The pool is asked for its size, which
    /// starts it, only where there is work for two.
    pub(crate) fn threads_for(&self, batch: usize) -> usize {
        let worthwhile = batch.saturating_mul(self.params.len()) >= 2 * GRAIN;
        self.threads.unwrap_or_else(|| if worthwhile { pool_threads() } else { 1 })
    }

    /// The outputs for `x: [batch × inputs]`: `[batch × outputs]`, row-major.
    ///
    /// # Errors
    /// [`StepError::Batch`] if `x` is empty or holds a part of a sample,
    /// [`StepError::TooLarge`] if there is not enough memory.
    pub fn predict(&self, x: &[f32]) -> Result<Vec<f32>, StepError> {
        let batch = kernels::batch_of(x, self.inputs)?;
        let mlp = self.mlp_on(self.threads_for(batch));
        let outputs = kernels::length(batch, mlp.layout().outputs())?;
        let workspace = mlp.predict_workspace_len(batch).or(Err(StepError::TooLarge))?;
        let mut y = zeros(outputs).ok_or(StepError::TooLarge)?;
        let mut workspace = zeros(workspace).ok_or(StepError::TooLarge)?;
        mlp.predict(&self.params, x, &mut y, &mut workspace)?;
        Ok(y)
    }

    /// The class of each sample of `x: [batch × inputs]`: the index of the largest
    /// output (the first of equals), or, with one output, whether it is above 0.5.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_classes(&self, x: &[f32]) -> Result<Vec<u32>, StepError> {
        let (y, layout) = (self.predict(x)?, self.layout());
        let class = |y: &[f32]| class_of(y, layout.output_activation());
        Ok(y.chunks_exact(layout.outputs()).map(class).collect())
    }
}

/// Threads of rayon's current pool.
fn pool_threads() -> usize {
    #[cfg(feature = "rayon")]
    let threads = rayon::current_num_threads();
    #[cfg(not(feature = "rayon"))]
    let threads = 1;
    threads
}

/// So many zeros, if there is memory for them.
pub(crate) fn zeros(len: usize) -> Option<Vec<f32>> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(len).ok()?;
    zeros.resize(len, 0.0);
    Some(zeros)
}

/// `20 → 64 ReLU, dropout 0.2 → 1 sigmoid: 1409 parameters, avx2-fused`.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inputs)?;
        for layer in &self.layers {
            write!(f, " → {layer}")?;
        }
        write!(f, ": {} parameters, {}", self.params.len(), self.isa)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network({self})")
    }
}
