//! A loss that the user writes.
#![forbid(unsafe_code)]

use core::fmt;

/// A loss of your own, for [`Loss::Custom`](crate::Loss::Custom): its value and its derivative in one sample. Training takes their mean over
/// the samples, multiplies by weights, and goes through the last activation.
///
/// It is called from whatever thread works on the sample. Its results are taken as they are: the bits of training are
/// the same everywhere if its own are.
///
/// ```
/// use microprop::{Isa, Layout, Loss, LossFunction, Mlp, Optimizer, Sgd, Targets, Trainer, init, layout};
///
/// /// Too high costs `over` times the square, too low the square.
/// struct Asymmetric {
///     over: f32,
/// }
///
/// impl LossFunction for Asymmetric {
///     fn value(&self, outputs: &[f32], targets: &[f32]) -> f32 {
///         let cost = |e: f32| if e > 0.0 { self.over * e * e } else { e * e };
///         outputs.iter().zip(targets).map(|(y, t)| cost(y - t)).sum()
///     }
///
///     fn derivative(&self, outputs: &[f32], targets: &[f32], derivative: &mut [f32]) {
///         for ((d, y), t) in derivative.iter_mut().zip(outputs).zip(targets) {
///             *d = 2.0 * (y - t) * if y > t { self.over } else { 1.0 };
///         }
///     }
/// }
///
/// // Without a heap: the same input, four different targets.
/// const LAYOUT: Layout = layout!(1 => dense(1, Linear));
/// const TRAINER: Trainer = match Trainer::new(
///     Mlp::new(LAYOUT, Isa::SCALAR),
///     Loss::Custom(&Asymmetric { over: 9.0 }),
///     Optimizer::Sgd(Sgd::new(0.05)),
/// ) {
///     Ok(trainer) => trainer,
///     Err(_) => panic!("a custom loss goes with every activation"),
/// };
/// const WORKSPACE: usize = match TRAINER.workspace_len(4) {
///     Ok(len) => len,
///     Err(_) => panic!("fits in memory"),
/// };
/// let (mut params, mut workspace) = ([0.0; LAYOUT.params_len()], [0.0; WORKSPACE]);
/// let targets = Targets::values(&[1.0, 2.0, 3.0, 4.0]);
/// for step in 0..200 {
///     TRAINER.train_step(step, &[0.0; 4], targets, &mut params, &mut [], &mut workspace)?;
/// }
/// // Not the mean, 2.5: (9·1 + 2 + 3 + 4) / (9 + 3).
/// assert!((params[1] - 1.5).abs() < 1e-3, "{params:?}");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// With a heap it goes into a `Fit`:
/// ```
/// # #[cfg(feature = "alloc")] {
/// use microprop::{Activation::*, Adam, Fit, Loss, LossFunction, Network};
///
/// /// (y − t)⁴, summed over the outputs.
/// struct FourthPower;
///
/// impl LossFunction for FourthPower {
///     fn value(&self, outputs: &[f32], targets: &[f32]) -> f32 {
///         outputs.iter().zip(targets).map(|(y, t)| (y - t).powi(4)).sum()
///     }
///
///     fn derivative(&self, outputs: &[f32], targets: &[f32], derivative: &mut [f32]) {
///         for ((d, y), t) in derivative.iter_mut().zip(outputs).zip(targets) {
///             *d = 4.0 * (y - t).powi(3);
///         }
///     }
/// }
///
/// let x: Vec<f32> = (0..64).map(|i| i as f32 / 32.0 - 1.0).collect();
/// let y: Vec<f32> = x.iter().map(|x| x * x).collect();
/// let mut net = Network::new(1).dense(16, Tanh).dense(1, Linear).seed(7).build()?;
/// let history = net.fit(&x, &y, Fit::new(Loss::Custom(&FourthPower), Adam::new(0.01)).epochs(300))?;
/// assert!(history.last().unwrap().training.loss < 1e-3);
/// # }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub trait LossFunction: Sync {
    /// The loss of one sample from its outputs, after the last activation, and its targets, as many.
    fn value(&self, outputs: &[f32], targets: &[f32]) -> f32;

    /// Writes ∂value/∂outputs of one sample into `derivative`, which is as long as `outputs` and comes full of zeros.
    fn derivative(&self, outputs: &[f32], targets: &[f32], derivative: &mut [f32]);

    /// What it is called in messages.
    fn name(&self) -> &'static str {
        "custom loss"
    }
}

impl fmt::Debug for dyn LossFunction + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LossFunction({})", self.name())
    }
}

/// Equal if they are the same object.
impl PartialEq for dyn LossFunction + '_ {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::addr_eq(self, other) && self.name() == other.name()
    }
}
