//! Many networks of one layout, trained side by side: what an ensemble is, and how long its buffers are.
#![forbid(unsafe_code)]

mod interleaved;
mod share;

use crate::error::{Buffer, EnsembleError, LayoutError, StepError};
use crate::init::init_strided;
use crate::kernels;
use crate::layout::Schedule;
use crate::step::Trainer;
use interleaved::BLOCK;
pub use share::{MemberInputs, MemberTargets};
use share::{Prediction, Sizes, Spread, Training};

/// One network of an [`Ensemble`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member {
    /// The seed of its initial parameters and of dropout's masks.
    pub seed: u64,
    /// Its learning rate, finite and not negative.
    pub learning_rate: f32,
}

/// N independent networks of one layout: sweeps, bagging, populations, a model for each user.
///
/// Each member has its own seed and learning rate, and if you like its own samples. It ends with the bits of its solo
/// run: those of a [`Trainer`] whose [`Mlp`](crate::Mlp) has the member's seed and whose optimizer has its learning
/// rate.
///
/// Parameters and state of member m are a contiguous part of the ensemble's,
/// m·[`Layout::params_len`](crate::Layout::params_len) and m·[`Layout::optimizer_len`](crate::Layout::optimizer_len)
/// floats from their start. Members are spread over the threads of the trainer's [`Mlp`](crate::Mlp::with_threads)
/// (feature `rayon`), several at a time on each.
///
/// An ensemble owns nothing and allocates nothing.
///
/// ```
/// use microprop::{Ensemble, Isa, Layout, Loss, Member, MemberInputs, MemberTargets, Mlp, Sgd, Targets, Trainer, layout};
///
/// const LAYOUT: Layout = layout!(2 => dense(8, Tanh), dense(1, Sigmoid));
/// let trainer = Trainer::new(Mlp::new(LAYOUT, Isa::detect()), Loss::BinaryCrossEntropy, Sgd::new(0.0).momentum(0.9).into())?;
/// // A sweep: four learning rates.
/// let members = [0.01, 0.1, 0.5, 3e38].map(|learning_rate| Member { seed: 7, learning_rate });
/// let ensemble = Ensemble::new(trainer, &members)?;
///
/// let x = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
/// let targets = Targets::values(&[0.0, 1.0, 1.0, 0.0]);
/// let (mut params, mut state) = (vec![0.0; ensemble.params_len()], vec![0.0; ensemble.state_len()]);
/// let mut workspace = vec![0.0; ensemble.workspace_len(4)?];
/// let (mut losses, mut trained) = ([0.0; 4], 0);
/// ensemble.init(&mut params)?;
/// for step in 0..300 {
///     let (inputs, targets) = (MemberInputs::Shared(&x), MemberTargets::Shared(targets));
///     trained = ensemble.train_step(step, inputs, targets, &mut params, &mut state, &mut workspace, &mut losses)?;
/// }
/// assert_eq!(trained, 3); // the last one's loss is no longer finite
/// assert!(losses[0] > losses[1] && losses[1] > losses[2] && losses[2] < 0.05, "{losses:?}");
///
/// // The best of them, by itself.
/// let mut best = [0.0; LAYOUT.params_len()];
/// ensemble.extract(2, &params, &mut best)?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ensemble<'a> {
    trainer: Trainer<'a>,
    members: &'a [Member],
    grain: usize,
    /// Whether lanes are members.
    interleaved: bool,
}

/// Multiply-adds below which a share of an ensemble's step is not worth a thread of its own: see
/// [`Ensemble::with_grain`].
const GRAIN: usize = 1 << 18;

/// Shares that each thread of a large ensemble gets. A thread that wakes late leaves some of its own to the others.
const SHARES: usize = 4;

impl<'a> Ensemble<'a> {
    /// An ensemble of `members`, each trained as `trainer` would. Its seed and its optimizer's learning rate are not
    /// used.
    ///
    /// # Errors
    /// [`EnsembleError`]: there are no members, a learning rate is out of range, or a length overflows.
    pub const fn new(trainer: Trainer<'a>, members: &'a [Member]) -> Result<Self, EnsembleError> {
        if members.is_empty() {
            return Err(EnsembleError::NoMembers);
        }
        let mut member = 0;
        while member < members.len() {
            let found = members[member].learning_rate;
            if !(found >= 0.0 && found < f32::INFINITY) {
                return Err(EnsembleError::LearningRate { member, found });
            }
            member += 1;
        }
        let ensemble = Self { trainer, members, grain: GRAIN, interleaved: false };
        // A block more, should they be interleaved.
        let (params, state) =
            (trainer.mlp().layout().params_len(), trainer.mlp().layout().optimizer_len(trainer.optimizer()));
        let most = if params > state { params } else { state };
        match members.len().saturating_add(BLOCK).checked_mul(most) {
            Some(len) if len <= isize::MAX as usize / 4 => Ok(ensemble),
            _ => Err(EnsembleError::TooLarge),
        }
    }

    /// The same with its members side by side, so that a lane of a vector is a member: for small networks and small
    /// batches, whose solo steps leave most lanes empty.
    ///
    /// Members lie in blocks of 16, the last one filled up: element e of the parameters or of the state of member m
    /// is the ensemble's e·16 + m mod 16 in block m/16, of 16·[`params_len`](crate::Layout::params_len) floats (of
    /// the state: [`optimizer_len`](crate::Layout::optimizer_len)). [`insert`](Self::insert) and
    /// [`extract`](Self::extract) know the way. Steps are faster if both slices begin on a line of 64 bytes.
    ///
    /// Layers are dense, with or without bias and penalty, activations and dropout. Every loss will do; a custom one,
    /// a smoothed cross-entropy, masks, and softmax under other losses than cross-entropy are worked out one member
    /// after the other. Large products belong to members one after the other: they fill their vectors by themselves.
    ///
    /// # Errors
    /// [`EnsembleError::Interleaved`] if a layer is of another kind, has a residual connection or is stored by output.
    pub const fn interleaved(self) -> Result<Self, EnsembleError> {
        let layers = self.trainer.mlp().layout().layers();
        let mut layer = 0;
        while layer < layers.len() {
            if !interleaved::takes(&layers[layer]) {
                return Err(EnsembleError::Interleaved { layer });
            }
            layer += 1;
        }
        Ok(Self { interleaved: true, ..self })
    }

    /// The same with at least `multiply_adds` of work in each share that a thread may take, by default 2¹⁸:
    /// parameters times samples times members. It decides the number of shares, and so the workspace's length. The
    /// bits of the results don't depend on it.
    #[must_use]
    pub const fn with_grain(self, multiply_adds: usize) -> Self {
        Self { grain: if multiply_adds == 0 { 1 } else { multiply_adds }, ..self }
    }

    /// How each member is trained, but for its seed and its learning rate.
    pub const fn trainer(&self) -> &Trainer<'a> {
        &self.trainer
    }

    /// The members.
    pub const fn members(&self) -> &'a [Member] {
        self.members
    }

    /// Floats of all members' parameters.
    pub const fn params_len(&self) -> usize {
        self.places() * self.trainer.mlp().layout().params_len()
    }

    /// Floats of all members' optimizer state. They start at zero.
    pub const fn state_len(&self) -> usize {
        self.places() * self.trainer.mlp().layout().optimizer_len(self.trainer.optimizer())
    }

    /// Members that there is room for: whole blocks if they are interleaved.
    const fn places(&self) -> usize {
        if self.interleaved { self.members.len().next_multiple_of(BLOCK) } else { self.members.len() }
    }

    /// Members that are worked on at a time.
    const fn group(&self) -> usize {
        if self.interleaved { BLOCK } else { 1 }
    }

    /// Floats of workspace for a step over `batch` samples of each member: a solo step's for each share.
    ///
    /// # Errors
    /// [`LayoutError::TooLarge`] if that overflows.
    pub const fn workspace_len(&self, batch: usize) -> Result<usize, LayoutError> {
        let shares = self.shares(batch);
        if self.interleaved {
            return times(interleaved::workspace_len(self.trainer.mlp().layout(), batch), shares);
        }
        match self.trainer.of_member(0, 0.0, self.threads_of_each(shares)).workspace_len(batch) {
            Ok(len) => times(Some(len), shares),
            error => error,
        }
    }

    /// Floats of workspace for [`predict`](Self::predict) over `batch` samples of each member.
    ///
    /// # Errors
    /// [`LayoutError::TooLarge`] if that overflows.
    pub const fn predict_workspace_len(&self, batch: usize) -> Result<usize, LayoutError> {
        let shares = self.shares(batch);
        if self.interleaved {
            return times(interleaved::workspace_len(self.trainer.mlp().layout(), batch), shares);
        }
        match self.trainer.mlp().with_threads(self.threads_of_each(shares)).predict_workspace_len(batch) {
            Ok(len) => times(Some(len), shares),
            error => error,
        }
    }

    /// Threads that are left for each of so many shares.
    const fn threads_of_each(&self, shares: usize) -> usize {
        self.trainer.mlp().threads() / shares
    }

    /// Into how many shares a step over `batch` samples is cut.
    const fn shares(&self, batch: usize) -> usize {
        let threads = self.trainer.mlp().threads();
        if threads == 1 {
            return 1;
        }
        let most = threads.saturating_mul(SHARES);
        let groups = self.places() / self.group();
        let most = if most < groups { most } else { groups };
        match self.params_len().saturating_mul(batch) / self.grain {
            0 => 1,
            shares if shares > most => most,
            shares => shares,
        }
    }

    /// Fills `params`, [`params_len`](Self::params_len) floats, with the initial parameters of each member under its
    /// seed.
    ///
    /// # Errors
    /// [`StepError::Length`]; `params` is then as it was.
    pub fn init(&self, params: &mut [f32]) -> Result<(), StepError> {
        StepError::check(Buffer::Parameters, self.params_len(), params.len())?;
        let layout = self.trainer.mlp().layout();
        for place in 0..self.places() {
            // Lanes that are left over do as the last member does.
            let seed = self.members[place.min(self.members.len() - 1)].seed;
            let own = &mut params[self.first(place, layout.params_len())..];
            if self.interleaved {
                init_strided::<BLOCK>(layout, seed, own);
            } else {
                init_strided::<1>(layout, seed, own);
            }
        }
        Ok(())
    }

    /// Copies the parameters of member `member` out of the ensemble's `params` into `to`,
    /// [`Layout::params_len`](crate::Layout::params_len) floats in their usual order.
    ///
    /// # Errors
    /// [`StepError::Member`] or [`StepError::Length`]; `to` is then as it was.
    pub fn extract(&self, member: usize, params: &[f32], to: &mut [f32]) -> Result<(), StepError> {
        let len = self.trainer.mlp().layout().params_len();
        self.check_copy(member, Buffer::Parameters, [self.params_len(), params.len()], [len, to.len()])?;
        self.copy_out(member, params, to);
        Ok(())
    }

    /// Copies the parameters `from`, [`Layout::params_len`](crate::Layout::params_len) floats in their usual
    /// order, into member `member` of the ensemble's `params`.
    ///
    /// # Errors
    /// As [`extract`](Self::extract); `params` is then as it was.
    pub fn insert(&self, member: usize, from: &[f32], params: &mut [f32]) -> Result<(), StepError> {
        let len = self.trainer.mlp().layout().params_len();
        self.check_copy(member, Buffer::Parameters, [self.params_len(), params.len()], [len, from.len()])?;
        self.copy_in(member, from, params);
        Ok(())
    }

    /// The same as [`extract`](Self::extract) for the optimizer's state,
    /// [`Layout::optimizer_len`](crate::Layout::optimizer_len) floats of each member.
    ///
    /// # Errors
    /// As [`extract`](Self::extract).
    pub fn extract_state(&self, member: usize, state: &[f32], to: &mut [f32]) -> Result<(), StepError> {
        let len = self.trainer.mlp().layout().optimizer_len(self.trainer.optimizer());
        self.check_copy(member, Buffer::OptimizerState, [self.state_len(), state.len()], [len, to.len()])?;
        self.copy_out(member, state, to);
        Ok(())
    }

    /// The same as [`insert`](Self::insert) for the optimizer's state.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_state(&self, member: usize, from: &[f32], state: &mut [f32]) -> Result<(), StepError> {
        let len = self.trainer.mlp().layout().optimizer_len(self.trainer.optimizer());
        self.check_copy(member, Buffer::OptimizerState, [self.state_len(), state.len()], [len, from.len()])?;
        self.copy_in(member, from, state);
        Ok(())
    }

    /// Checks what is copied: lengths expected and found, of all members and of one.
    fn check_copy(&self, member: usize, buffer: Buffer, all: [usize; 2], one: [usize; 2]) -> Result<(), StepError> {
        if member >= self.members.len() {
            return Err(StepError::Member { found: member, members: self.members.len() });
        }
        StepError::check(buffer, all[0], all[1])?;
        StepError::check(buffer, one[0], one[1])
    }

    fn copy_out(&self, member: usize, all: &[f32], one: &mut [f32]) {
        let from = all.iter().skip(self.first(member, one.len())).step_by(self.group());
        one.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }

    fn copy_in(&self, member: usize, one: &[f32], all: &mut [f32]) {
        let to = all.iter_mut().skip(self.first(member, one.len())).step_by(self.group());
        to.zip(one).for_each(|(to, from)| *to = *from);
    }

    /// Where the first of the `len` floats of a member lies.
    const fn first(&self, member: usize, len: usize) -> usize {
        let lane = member % self.group();
        (member - lane) * len + lane
    }

    /// Takes one training step of each member, writes the losses that they had before it (penalties included), and
    /// returns how many members it has trained.
    ///
    /// A member whose loss is NaN or infinite is not trained: its parameters and its state stay as they were, its
    /// loss says so, and the others go on. (What is wrong with the samples is an error, and no member is trained.)
    ///
    /// `step` counts the steps of all members from 0; `inputs` and `targets` hold `batch` samples for all or for each
    /// (in the lean schedule 1); `params`: [`params_len`](Self::params_len); `state`: [`state_len`](Self::state_len),
    /// zeros before step 0; `workspace`: at least [`workspace_len`](Self::workspace_len); `losses: [members]`.
    ///
    /// # Errors
    /// [`StepError`], as [`Trainer::train_step`], but for a loss that is not finite; parameters, state and losses are
    /// then as they were. Where samples are each member's own, an error counts them through all members.
    #[expect(clippy::too_many_arguments, reason = "those of a solo step, and where the losses go")]
    pub fn train_step(
        &self,
        step: u64,
        inputs: MemberInputs<'_>,
        targets: MemberTargets<'_>,
        params: &mut [f32],
        state: &mut [f32],
        workspace: &mut [f32],
        losses: &mut [f32],
    ) -> Result<usize, StepError> {
        let batch = self.check_inputs(inputs, params.len())?;
        self.check_targets(targets, batch)?;
        StepError::check(Buffer::OptimizerState, self.state_len(), state.len())?;
        StepError::check(Buffer::Losses, self.members.len(), losses.len())?;
        let spread = self.spread(batch, self.workspace_len(batch), workspace.len())?;
        let sizes = self.sizes(batch);
        let share = Training { members: self.members, inputs, targets, params, state, losses: &mut *losses };
        if self.interleaved {
            let (rule, minus_rate) = (self.trainer.optimizer().rule(step), self.trainer.optimizer().minus_rates(step));
            let step = interleaved::Step { trainer: &self.trainer, step, batch, rule, minus_rate };
            spread.run(share, &sizes, workspace, &|share, workspace| step.train(share, workspace));
        } else {
            let threads = self.threads_of_each(spread.shares);
            spread
                .run(share, &sizes, workspace, &|share, workspace| self.train_member(step, threads, share, workspace));
        }
        Ok(losses.iter().filter(|loss| loss.is_finite()).count())
    }

    /// Writes the outputs of each member, `y: [members × batch × outputs]`.
    ///
    /// `inputs`: samples for all or for each; `params`: [`params_len`](Self::params_len); `workspace`: at least
    /// [`predict_workspace_len`](Self::predict_workspace_len).
    ///
    /// # Errors
    /// [`StepError`], as [`Mlp::predict`](crate::Mlp::predict); `y` is then as it was.
    pub fn predict(
        &self,
        inputs: MemberInputs<'_>,
        params: &[f32],
        y: &mut [f32],
        workspace: &mut [f32],
    ) -> Result<(), StepError> {
        let batch = self.check_inputs(inputs, params.len())?;
        let samples = kernels::length(self.members.len(), batch)?;
        let sizes = self.sizes(batch);
        StepError::check(Buffer::Outputs, kernels::length(samples, sizes.outputs)?, y.len())?;
        let spread = self.spread(batch, self.predict_workspace_len(batch), workspace.len())?;
        let share = Prediction { members: self.members.len(), inputs, params, outputs: y };
        if self.interleaved {
            let mlp = self.trainer.mlp();
            spread
                .run(share, &sizes, workspace, &|share, workspace| interleaved::predict(mlp, batch, share, workspace));
        } else {
            let threads = self.threads_of_each(spread.shares);
            spread.run(share, &sizes, workspace, &|share, workspace| self.predict_member(threads, share, workspace));
        }
        Ok(())
    }

    /// Trains a member on the threads that its share has.
    fn train_member(&self, step: u64, threads: usize, share: Training<'_>, workspace: &mut [f32]) {
        let Training { members, inputs, targets, params, state, losses } = share;
        for (&Member { seed, learning_rate }, loss) in members.iter().zip(losses) {
            let solo = self.trainer.of_member(seed, learning_rate, threads);
            *loss = match solo.train_step(step, inputs.all(), targets.all(), params, state, workspace) {
                Ok(loss) | Err(StepError::NonFiniteLoss { found: loss }) => loss,
                Err(_) => unreachable!("train_step has checked all else"),
            };
        }
    }

    /// Predicts with a member on the threads that its share has.
    fn predict_member(&self, threads: usize, share: Prediction<'_>, workspace: &mut [f32]) {
        let Prediction { inputs, params, outputs, .. } = share;
        let mlp = self.trainer.mlp().with_threads(threads);
        if mlp.predict(params, inputs.all(), outputs, workspace).is_err() {
            unreachable!("predict has checked");
        }
    }

    /// How much of everything a member has.
    const fn sizes(&self, batch: usize) -> Sizes {
        let layout = self.trainer.mlp().layout();
        Sizes::new(layout, batch, layout.optimizer_len(self.trainer.optimizer()))
    }

    /// How members are shared out, if the workspace, of which `needed` floats are wanted, is long enough.
    fn spread(&self, batch: usize, needed: Result<usize, LayoutError>, found: usize) -> Result<Spread, StepError> {
        let needed = needed.or(Err(StepError::TooLarge))?;
        StepError::check_at_least(Buffer::Workspace, needed, found)?;
        let shares = self.shares(batch);
        Ok(Spread { shares, group: self.group(), workspace: needed / shares })
    }

    /// Checks parameters and inputs; returns the samples that each member has.
    fn check_inputs(&self, inputs: MemberInputs<'_>, params: usize) -> Result<usize, StepError> {
        StepError::check(Buffer::Parameters, self.params_len(), params)?;
        self.trainer.mlp().check_order()?;
        let layout = self.trainer.mlp().layout();
        layout.check_categories(inputs.all())?;
        match inputs {
            MemberInputs::Shared(x) => kernels::batch_of(x, layout.inputs()),
            MemberInputs::Own(x) => kernels::batch_of(x, kernels::length(self.members.len(), layout.inputs())?),
        }
    }

    /// Checks targets, and that the schedule takes so many samples.
    fn check_targets(&self, targets: MemberTargets<'_>, batch: usize) -> Result<(), StepError> {
        let layout = self.trainer.mlp().layout();
        match self.trainer.mlp().schedule() {
            Schedule::Lean if batch != 1 => return Err(StepError::LeanBatch { found: batch }),
            Schedule::Lean if layout.has_batch_norm() => return Err(StepError::LeanBatchNorm),
            _ => {}
        }
        let samples = match targets {
            MemberTargets::Shared(_) => batch,
            MemberTargets::Own(_) => kernels::length(self.members.len(), batch)?,
        };
        kernels::length(samples, layout.outputs())?;
        self.trainer.objective(targets.all()).check(samples, layout.outputs())
    }
}

/// `len · count`.
const fn times(len: Option<usize>, count: usize) -> Result<usize, LayoutError> {
    let Some(len) = len else { return Err(LayoutError::TooLarge) };
    match len.checked_mul(count) {
        Some(len) if len <= isize::MAX as usize / 4 => Ok(len),
        _ => Err(LayoutError::TooLarge),
    }
}
