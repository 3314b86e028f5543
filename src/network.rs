//! A network that owns its parameters.
#![forbid(unsafe_code)]

use crate::activation::Activation;
use crate::error::{LayoutError, StepError};
use crate::init::init;
use crate::kernels;
use crate::layout::{Layer, Layout, Schedule};
use crate::metric::class_of;
use crate::simd::Isa;
use crate::step::Mlp;
use alloc::vec;
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
    params: Vec<f32>,
    isa: Isa,
    schedule: Schedule,
    threads: Option<usize>,
}

/// A [`Network`] in the making: its layers, its seed, and where it runs.
#[derive(Clone, Debug)]
#[must_use = "a builder makes a network when build() is called"]
pub struct NetworkBuilder {
    inputs: usize,
    layers: Vec<Layer>,
    seed: u64,
    isa: Option<Isa>,
    schedule: Schedule,
    threads: Option<usize>,
}

impl NetworkBuilder {
    /// Adds a dense layer, its weights Glorot-uniform: see [`Layer::dense`].
    pub fn dense(self, units: usize, activation: Activation) -> Self {
        self.layer(Layer::dense(units, activation))
    }

    /// Adds a layer.
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// The seed of the initial parameters, by default 0.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The instruction set and arithmetic to run in, by default [`Isa::detect`].
    pub fn isa(self, isa: Isa) -> Self {
        Self { isa: Some(isa), ..self }
    }

    /// The schedule of training, by default [`Schedule::Batch`]. In the lean one a
    /// batch is that many updates, one for each of its samples.
    pub fn schedule(self, schedule: Schedule) -> Self {
        Self { schedule, ..self }
    }

    /// At most this many threads; by default as many as rayon's current pool has
    /// (without the feature `rayon`, one). It changes no bit of a result.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// Checks the layers and initialises the parameters.
    ///
    /// # Errors
    /// [`LayoutError`], which names the layer.
    pub fn build(self) -> Result<Network, LayoutError> {
        let Self { inputs, layers, seed, isa, schedule, threads } = self;
        let layout = Layout::new(inputs, &layers)?;
        let mut params = vec![0.0; layout.params_len()];
        if init(&layout, seed, &mut params).is_err() {
            unreachable!("the parameters are as many as the layout says");
        }
        let isa = isa.unwrap_or_else(Isa::detect);
        Ok(Network { inputs, layers, params, isa, schedule, threads })
    }
}

impl Network {
    /// Begins a network of `inputs` inputs.
    #[expect(clippy::new_ret_no_self, reason = "reads as the network it will be; build() checks it")]
    pub fn new(inputs: usize) -> NetworkBuilder {
        NetworkBuilder { inputs, layers: Vec::new(), seed: 0, isa: None, schedule: Schedule::Batch, threads: None }
    }

    /// Its layout.
    pub fn layout(&self) -> Layout<'_> {
        match Layout::new(self.inputs, &self.layers) {
            Ok(layout) => layout,
            Err(_) => unreachable!("build has checked the layers"),
        }
    }

    /// Its parameters, in the order that [`Layout`] gives.
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// Its parameters, to be changed: loaded from elsewhere, say.
    pub fn params_mut(&mut self) -> &mut [f32] {
        &mut self.params
    }

    /// What computes it: for steps of your own on [`params`](Self::params), and to
    /// predict without allocating, from as many threads as you like.
    pub fn mlp(&self) -> Mlp<'_> {
        Mlp::new(self.layout(), self.isa).with_schedule(self.schedule).with_threads(self.thread_count())
    }

    /// What computes it, and the parameters, to be changed.
    pub(crate) fn parts_mut(&mut self) -> (Mlp<'_>, &mut [f32]) {
        let threads = self.thread_count();
        let Self { inputs, layers, params, isa, schedule, .. } = self;
        let Ok(layout) = Layout::new(*inputs, layers) else { unreachable!("build has checked the layers") };
        (Mlp::new(layout, *isa).with_schedule(*schedule).with_threads(threads), params)
    }

    fn thread_count(&self) -> usize {
        #[cfg(feature = "rayon")]
        let all = rayon::current_num_threads();
        #[cfg(not(feature = "rayon"))]
        let all = 1;
        self.threads.unwrap_or(all)
    }

    /// The outputs for `x: [batch × inputs]`: `[batch × outputs]`, row-major.
    ///
    /// # Errors
    /// [`StepError::Batch`] if `x` is empty or holds a part of a sample.
    pub fn predict(&self, x: &[f32]) -> Result<Vec<f32>, StepError> {
        let mlp = self.mlp();
        let batch = kernels::batch_of(x, self.inputs)?;
        let outputs = kernels::length(batch, mlp.layout().outputs())?;
        let workspace = mlp.predict_workspace_len(batch).or(Err(StepError::TooLarge))?;
        let (mut y, mut workspace) = (vec![0.0; outputs], vec![0.0; workspace]);
        mlp.predict(&self.params, x, &mut y, &mut workspace)?;
        Ok(y)
    }

    /// The class of each sample of `x: [batch × inputs]`: the index of the largest
    /// output (the first of equals), or, with one output, whether it is above 0.5.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_classes(&self, x: &[f32]) -> Result<Vec<u32>, StepError> {
        let y = self.predict(x)?;
        Ok(y.chunks_exact(self.layout().outputs()).map(class_of).collect())
    }
}

/// `20 → 64 ReLU → 1 sigmoid: 1409 parameters, avx2-fused`.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inputs)?;
        for layer in &self.layers {
            write!(f, " → {} {}", layer.units(), layer.activation())?;
        }
        write!(f, ": {} parameters, {}", self.params.len(), self.isa)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network({self})")
    }
}
