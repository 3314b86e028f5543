//! Training over epochs: fit and evaluate.
#![forbid(unsafe_code)]

use crate::data::{Batches, Samples};
use crate::error::{FitError, StepError};
use crate::history::{Epoch, History, Score};
use crate::layout::{Layout, Schedule};
use crate::loss::{Loss, Objective, Targets};
use crate::metric::Metric;
use crate::network::{Network, zeros};
use crate::optimizer::Optimizer;
use crate::step::{StepLoss, Trainer};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// How [`Network::fit`] trains.
///
/// ```
/// use microprop::{Activation::*, Fit, Loss::BinaryCrossEntropy, Metric::Accuracy, Network, Sgd};
///
/// let (x, y) = ([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]);
/// let mut net = Network::new(2).dense(8, Tanh).dense(1, Sigmoid).build()?;
/// let fit = Fit::new(BinaryCrossEntropy, Sgd::new(0.5).momentum(0.9))
///     .epochs(200)
///     .batch_size(4)
///     .metric(Accuracy)
///     .on_epoch(|epoch| if epoch.number % 50 == 0 { println!("{epoch}") });
/// let history = net.fit(&x, &y, fit)?;
/// assert_eq!(history.last().unwrap().training.metric, Some(1.0));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[must_use = "a Fit does nothing until it is given to Network::fit"]
pub struct Fit<'a> {
    loss: Loss<'a>,
    class_weights: Option<&'a [f32]>,
    optimizer: Optimizer,
    epochs: usize,
    batch_size: usize,
    metric: Option<Metric>,
    shuffle: bool,
    seed: u64,
    validation: Validation<'a>,
    patience: Option<usize>,
    on_epoch: Option<Callback<'a, ()>>,
    stop_when: Option<Callback<'a, bool>>,
}

/// What is called after each epoch.
type Callback<'a, R> = Box<dyn FnMut(&Epoch) -> R + 'a>;

/// Where the samples of validation come from.
enum Validation<'a> {
    None,
    Split(f32),
    Samples(&'a [f32], Targets<'a>),
}

impl<'a> Fit<'a> {
    /// One epoch in batches of 32, shuffled; no metric, no validation.
    pub fn new(loss: Loss<'a>, optimizer: impl Into<Optimizer>) -> Self {
        Self {
            loss,
            class_weights: None,
            optimizer: optimizer.into(),
            epochs: 1,
            batch_size: 32,
            metric: None,
            shuffle: true,
            seed: 0,
            validation: Validation::None,
            patience: None,
            on_epoch: None,
            stop_when: None,
        }
    }

    /// A weight for each class, as in [`Trainer::with_class_weights`]: what is rare can count as much as what is
    /// frequent. For training only, as in Keras; the validation is without.
    pub fn class_weights(self, weights: &'a [f32]) -> Self {
        Self { class_weights: Some(weights), ..self }
    }

    /// Passes over the samples.
    pub fn epochs(self, epochs: usize) -> Self {
        Self { epochs, ..self }
    }

    /// Samples per step. The last batch of an epoch may be smaller.
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// A metric to report beside the loss.
    pub fn metric(self, metric: Metric) -> Self {
        Self { metric: Some(metric), ..self }
    }

    /// Whether each epoch takes the samples in a new random order; by default yes.
    pub fn shuffle(self, shuffle: bool) -> Self {
        Self { shuffle, ..self }
    }

    /// The seed of the shuffling and of dropout, by default 0.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Evaluates these samples after each epoch: `x: [samples × inputs]`.
    pub fn validation(self, x: &'a [f32], targets: impl Into<Targets<'a>>) -> Self {
        Self { validation: Validation::Samples(x, targets.into()), ..self }
    }

    /// Keeps the last `fraction` (0 < fraction < 1) of the samples from training, rounded
    /// to whole samples, and evaluates them after each epoch.
    pub fn validation_split(self, fraction: f32) -> Self {
        Self { validation: Validation::Split(fraction), ..self }
    }

    /// Stops when the validation loss (without validation, the training loss) has not
    /// fallen for `epochs` epochs, and gives back the parameters of the best epoch. As in Keras,
    /// the loss includes the penalty on the weights.
    pub fn patience(self, epochs: usize) -> Self {
        Self { patience: Some(epochs), ..self }
    }

    /// Calls `f` after each epoch: to print it, to draw it.
    pub fn on_epoch(self, f: impl FnMut(&Epoch) + 'a) -> Self {
        Self { on_epoch: Some(Box::new(f)), ..self }
    }

    /// Stops after the first epoch for which `f` is true.
    pub fn stop_when(self, f: impl FnMut(&Epoch) -> bool + 'a) -> Self {
        Self { stop_when: Some(Box::new(f)), ..self }
    }
}

impl fmt::Debug for Fit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fit")
            .field("loss", &self.loss)
            .field("optimizer", &self.optimizer)
            .field("epochs", &self.epochs)
            .field("batch_size", &self.batch_size)
            .field("metric", &self.metric)
            .finish_non_exhaustive()
    }
}

impl Network {
    /// Trains on `x: [samples × inputs]` and `targets`, values `[samples × outputs]`
    /// or class indices `[samples]`, and returns what the epochs have come to.
    ///
    /// The optimizer begins anew: its state is zero at the first step.
    ///
    /// # Errors
    /// [`FitError`]. Settings and all samples are checked before the first step; the
    /// network is then as it was. When the loss stops being finite, the network gets
    /// back the parameters with which the last epoch began whose first loss was finite.
    pub fn fit<'a>(
        &mut self,
        x: &'a [f32],
        targets: impl Into<Targets<'a>>,
        fit: Fit<'a>,
    ) -> Result<History, FitError> {
        let threads = self.threads_for(fit.batch_size.min(x.len() / self.layout().inputs()));
        let (mlp, params) = self.parts_mut();
        let mlp = mlp.with_threads(threads).with_seed(fit.seed);
        let evaluator = Trainer::new(mlp, fit.loss, fit.optimizer).map_err(StepError::from)?;
        let trainer = match fit.class_weights {
            Some(weights) => evaluator.with_class_weights(weights).map_err(StepError::from)?,
            None => evaluator,
        };
        let objective = Objective { loss: fit.loss, targets: targets.into(), class_weights: fit.class_weights };
        let samples = Samples::new(x, objective, mlp.layout())?;
        let (samples, validation) = match fit.validation {
            Validation::None => (samples, None),
            Validation::Split(fraction) => {
                let (training, validation) = split(samples.len(), fraction)?;
                (samples.range(training), Some(samples.range(validation)))
            }
            Validation::Samples(x, targets) => {
                let objective = Objective { loss: fit.loss, targets, class_weights: None };
                let validation = Samples::new(x, objective, mlp.layout());
                (samples, Some(validation.map_err(FitError::Validation)?))
            }
        };
        if fit.batch_size == 0 {
            return Err(FitError::BatchSize);
        }
        let run = Run::new(trainer, evaluator, params, samples, validation, fit.batch_size, fit.metric)?;
        let batches = Batches::new(&samples, fit.batch_size, fit.shuffle.then_some(fit.seed));
        run.train(batches, fit)
    }

    /// Works out loss and metric over `x: [samples × inputs]` and `targets`, as
    /// [`fit`](Self::fit) does for its validation. Trains nothing.
    ///
    /// # Errors
    /// [`StepError`]: the lengths don't fit, a class is out of range, the loss makes
    /// no sense on the outputs or is not finite.
    pub fn evaluate<'a>(
        &self,
        x: &'a [f32],
        targets: impl Into<Targets<'a>>,
        loss: Loss<'a>,
        metric: impl Into<Option<Metric>>,
    ) -> Result<Score, StepError> {
        let layout = self.layout();
        let rows = EVALUATED_ROWS.min(x.len() / layout.inputs());
        let trainer = Trainer::new(self.mlp_on(self.threads_for(rows)), loss, crate::Sgd::new(0.0).into())?;
        let objective = Objective { loss, targets: targets.into(), class_weights: None };
        let samples = Samples::new(x, objective, &layout)?;
        let mut scratch = Scratch::new(&trainer, samples.len().min(EVALUATED_ROWS))?;
        scratch.evaluate(&trainer, self.params(), &samples, metric.into())
    }
}

/// Samples that are evaluated at a time. (The loss over all is the mean of theirs, in f64.)
const EVALUATED_ROWS: usize = 256;

/// The samples to train on, and the last `fraction` of them to validate on.
fn split(len: usize, fraction: f32) -> Result<(Range<usize>, Range<usize>), FitError> {
    let error = FitError::ValidationSplit { found: fraction, samples: len };
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(error);
    }
    let validation = libm::round(len as f64 * f64::from(fraction)) as usize;
    if validation == 0 || validation >= len { Err(error) } else { Ok((0..len - validation, len - validation..len)) }
}

/// Loss and metric as they add up.
#[derive(Default)]
struct Tally {
    loss: f64,
    penalty: f64,
    /// What the mean of the losses is over: samples, or what masks have left.
    count: usize,
    right: usize,
    of: usize,
}

impl Tally {
    /// Adds the mean loss of some samples.
    fn add_loss(&mut self, trainer: &Trainer<'_>, loss: StepLoss, samples: &Samples<'_>) {
        let left = trainer.left(samples.targets());
        let count = left.unwrap_or(samples.len());
        self.loss += f64::from(loss.total()) * count as f64;
        self.penalty += f64::from(loss.penalty.unwrap_or(0.0)) * count as f64;
        self.count += count;
    }

    fn add_outputs(&mut self, metric: Metric, outputs: &[f32], targets: Targets<'_>, layout: &Layout<'_>) {
        let (right, of) = metric.count(outputs, layout.output_activation(), targets, layout.outputs());
        self.right += right;
        self.of += of;
    }

    fn score(&self) -> Score {
        Score {
            loss: (self.loss / self.count.max(1) as f64) as f32,
            penalty: (self.penalty / self.count.max(1) as f64) as f32,
            metric: (self.of > 0).then(|| (self.right as f64 / self.of as f64) as f32),
        }
    }
}

/// Buffers of a pass: the workspace, and a sample's outputs where the workspace does not keep them.
struct Scratch {
    workspace: Vec<f32>,
    outputs: Vec<f32>,
}

impl Scratch {
    fn new(trainer: &Trainer<'_>, batch: usize) -> Result<Self, StepError> {
        let len = trainer.workspace_len(batch).or(Err(StepError::TooLarge))?;
        let outputs = match trainer.mlp().schedule() {
            Schedule::Batch => 0,
            Schedule::Lean => trainer.mlp().layout().outputs(),
        };
        let [workspace, outputs] = [len, outputs].map(|len| zeros(len).ok_or(StepError::TooLarge));
        Ok(Self { workspace: workspace?, outputs: outputs? })
    }

    /// Loss and metric of all samples, which train nothing.
    fn evaluate(
        &mut self,
        trainer: &Trainer<'_>,
        params: &[f32],
        samples: &Samples<'_>,
        metric: Option<Metric>,
    ) -> Result<Score, StepError> {
        let rows = match trainer.mlp().schedule() {
            Schedule::Batch => EVALUATED_ROWS,
            Schedule::Lean => 1,
        };
        let mut tally = Tally::default();
        let penalty = trainer.mlp().penalty_of(params);
        for start in (0..samples.len()).step_by(rows) {
            let block = samples.range(start..samples.len().min(start + rows));
            self.add_lean_outputs(trainer, params, &block, metric, &mut tally)?;
            let loss = trainer.loss_beside(penalty, block.x(), block.targets(), params, &mut self.workspace)?;
            tally.add_loss(trainer, loss, &block);
            self.add_outputs(trainer, &block, metric, &mut tally);
        }
        Ok(tally.score())
    }

    /// Counts the outputs that a pass over a batch has left in the workspace.
    fn add_outputs(&self, trainer: &Trainer<'_>, batch: &Samples<'_>, metric: Option<Metric>, tally: &mut Tally) {
        let outputs = trainer.outputs_in(batch.len(), &self.workspace);
        if let (Some(metric), Some(outputs)) = (metric, outputs) {
            tally.add_outputs(metric, outputs, batch.targets(), trainer.mlp().layout());
        }
    }

    /// In the lean schedule deltas replace the outputs: a metric needs a pass of its own, before.
    fn add_lean_outputs(
        &mut self,
        trainer: &Trainer<'_>,
        params: &[f32],
        sample: &Samples<'_>,
        metric: Option<Metric>,
        tally: &mut Tally,
    ) -> Result<(), StepError> {
        if let (Some(metric), false) = (metric, self.outputs.is_empty()) {
            trainer.mlp().predict(params, sample.x(), &mut self.outputs, &mut self.workspace)?;
            tally.add_outputs(metric, &self.outputs, sample.targets(), trainer.mlp().layout());
        }
        Ok(())
    }
}

/// A run of [`Network::fit`], all checked.
struct Run<'a, 'p> {
    trainer: Trainer<'p>,
    /// The trainer without weights of classes.
    evaluator: Trainer<'p>,
    params: &'p mut [f32],
    state: Vec<f32>,
    step: u64,
    samples: Samples<'a>,
    validation: Option<Samples<'a>>,
    batch_size: usize,
    metric: Option<Metric>,
    scratch: Scratch,
}

impl<'a, 'p> Run<'a, 'p> {
    fn new(
        trainer: Trainer<'p>,
        evaluator: Trainer<'p>,
        params: &'p mut [f32],
        samples: Samples<'a>,
        validation: Option<Samples<'a>>,
        batch_size: usize,
        metric: Option<Metric>,
    ) -> Result<Self, StepError> {
        let evaluated = validation.map_or(0, |samples| samples.len().min(EVALUATED_ROWS));
        let scratch = Scratch::new(&trainer, samples.len().min(batch_size).max(evaluated))?;
        let state = zeros(trainer.mlp().layout().optimizer_len(trainer.optimizer())).ok_or(StepError::TooLarge)?;
        Ok(Self { trainer, evaluator, params, state, step: 0, samples, validation, batch_size, metric, scratch })
    }

    fn train(mut self, mut batches: Batches, mut fit: Fit<'_>) -> Result<History, FitError> {
        let mut history = History { epochs: Vec::new(), best: None };
        // What gave a finite loss when the last complete epoch began, and what this one begins with.
        let mut last_good = self.params.to_vec();
        let mut start = last_good.clone();
        let mut best_params = if fit.patience.is_some() { last_good.clone() } else { Vec::new() };
        let mut best_loss = f32::INFINITY;
        for number in 1..=fit.epochs {
            let before = self.step;
            let epoch = match self.epoch(number, fit.epochs, &mut batches) {
                Ok(epoch) => epoch,
                Err(error) => {
                    // The first step of an epoch shows whether its start was good.
                    self.params.copy_from_slice(if self.step > before { &start } else { &last_good });
                    return Err(error);
                }
            };
            last_good.copy_from_slice(&start);
            start.copy_from_slice(self.params);
            history.epochs.push(epoch);
            if let Some(f) = &mut fit.on_epoch {
                f(&epoch);
            }
            if let Some(patience) = fit.patience {
                let loss = epoch.validation.unwrap_or(epoch.training).loss;
                if loss < best_loss {
                    best_loss = loss;
                    history.best = Some(number - 1);
                    best_params.copy_from_slice(self.params);
                } else if number - 1 - history.best.unwrap_or(0) >= patience {
                    break;
                }
            }
            if fit.stop_when.as_mut().is_some_and(|f| f(&epoch)) {
                break;
            }
        }
        if history.best.is_some() {
            self.params.copy_from_slice(&best_params);
        }
        Ok(history)
    }

    /// One pass over the samples, then the validation.
    fn epoch(&mut self, number: usize, epochs: usize, batches: &mut Batches) -> Result<Epoch, FitError> {
        let diverged = |validation| {
            move |error| match error {
                StepError::NonFiniteLoss { found } => FitError::Diverged { epoch: number, found, validation },
                error => FitError::Step(error),
            }
        };
        #[cfg(feature = "std")]
        let start = std::time::Instant::now();
        batches.start_epoch();
        let mut tally = Tally::default();
        for from in (0..self.samples.len()).step_by(self.batch_size) {
            let range = from..self.samples.len().min(from.saturating_add(self.batch_size));
            let batch = batches.batch(&self.samples, range);
            match self.trainer.mlp().schedule() {
                Schedule::Batch => self.step(&batch, &mut tally).map_err(diverged(false))?,
                Schedule::Lean => {
                    for sample in 0..batch.len() {
                        self.step(&batch.range(sample..sample + 1), &mut tally).map_err(diverged(false))?;
                    }
                }
            }
        }
        #[cfg(feature = "std")]
        let duration = Some(start.elapsed());
        #[cfg(not(feature = "std"))]
        let duration = None;
        // No loss has seen what the last step has made of the parameters.
        if let Some(&found) = self.params.iter().find(|w| !w.is_finite()) {
            return Err(FitError::Diverged { epoch: number, found, validation: false });
        }
        let validation = match &self.validation {
            Some(samples) => {
                let score = self.scratch.evaluate(&self.evaluator, self.params, samples, self.metric);
                Some(score.map_err(diverged(true))?)
            }
            None => None,
        };
        Ok(Epoch { number, epochs, training: tally.score(), validation, duration, metric: self.metric })
    }

    /// One training step.
    fn step(&mut self, batch: &Samples<'_>, tally: &mut Tally) -> Result<(), StepError> {
        let Self { trainer, params, state, step, metric, scratch, .. } = self;
        scratch.add_lean_outputs(trainer, params, batch, *metric, tally)?;
        let workspace = &mut scratch.workspace;
        let loss = trainer.train_step_in_parts(*step, batch.x(), batch.targets(), params, state, workspace)?;
        *step += 1;
        tally.add_loss(trainer, loss, batch);
        scratch.add_outputs(trainer, batch, *metric, tally);
        Ok(())
    }
}
