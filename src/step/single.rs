//! A batch of one sample, on vectors: the sums of the batch schedule on the way of the [lean](super::lean) one.
//!
//! What a batch asks of a step, its banks, rows and bands, would take as long as the sums of a small network; and a large
//! one has each row of W come to the core once on the way back, not twice.

use super::plan::Plan;
use super::{Mlp, StepLoss, Update, lean, plain};
use crate::error::StepError;
use crate::kernels;
use crate::layout::Layout;
use crate::loss::Objective;
use crate::parts;
use crate::simd::{Simd, dispatch, on_one_lane};

/// Whether a step is one that [`run`] takes.
pub(super) fn suits(mlp: &Mlp<'_>, plan: &Plan) -> bool {
    let layout = &mlp.layout;
    mlp.is_alone(plan.batch)
        && plan.pieces == 1
        && layout.is_all_plain()
        && !layout.is_penalized()
        && on_one_lane!(mlp.engine.isa, _s => false; true)
}

/// A whole training step, or its gradient; returns the loss. The outputs are left where the [`Plan`] has them, with the values
/// of the layers below before them.
pub(super) fn run(
    mlp: &Mlp<'_>,
    plan: &Plan,
    x: &[f32],
    objective: &Objective<'_>,
    target: Update<'_>,
    workspace: &mut [f32],
) -> Result<StepLoss, StepError> {
    let (layout, isa) = (&mlp.layout, mlp.engine.isa);
    let (hidden, outputs) = (layout.lean_top(), layout.outputs());
    // The banks there have room for them, twice.
    let start = plan.outputs_start(workspace) - hidden;
    let (neurons, rest) = parts::split_mut(parts::from_mut(workspace, start), hidden + outputs);
    let stop_short = objective.loss.stops_short(layout.output_activation());
    dispatch!(isa, s => lean::plain_forward(s, layout, target.params(), x, neurons, stop_short));
    let (below, values) = parts::split_mut(neurons, hidden);
    let (delta, rest) = parts::split_mut(rest, outputs);
    let (terms, scratch) = parts::split_mut(rest, outputs);
    let loss = plain::loss(mlp, objective, 1, values, delta, terms, scratch)?;
    dispatch!(isa, s => backward(s, layout, x, target, below, delta));
    Ok(loss)
}

/// Runs the delta of the last layer back through all, updating each on the way.
#[inline(always)]
fn backward<S: Simd>(s: S, layout: &Layout<'_>, x: &[f32], mut target: Update<'_>, values: &mut [f32], delta: &[f32]) {
    let (mut values, mut delta, mut params_end) = (values, delta, layout.trainable_len());
    for l in (1..layout.layers().len()).rev() {
        let place = layout.below(l, params_end);
        let (lower, own) = parts::split_mut(values, values.len() - place.inputs);
        kernels::single_layer(s, delta, own, layout.activation_of(l - 1), target.of(place.range()));
        (values, delta, params_end) = (lower, own, place.offset);
    }
    let place = layout.below(0, params_end);
    kernels::single_first_layer(s, delta, x, target.of(place.range()));
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::suits;
    use crate::Activation::{LeakyRelu, Linear, Relu, Sigmoid, Softmax, Softsign, Tanh};
    use crate::Loss::{BinaryCrossEntropy, CrossEntropy, Custom, MeanAbsoluteError, MeanSquaredError};
    use crate::{
        Adam, Arithmetic, Isa, Layer, Layout, Loss, LossFunction, Mlp, Optimizer, Rng, Sgd, Targets, Trainer, init,
    };

    /// One whose addends need a scratch.
    struct Cubes;

    impl LossFunction for Cubes {
        fn value(&self, outputs: &[f32], targets: &[f32]) -> f32 {
            outputs.iter().zip(targets).map(|(y, t)| (y - t).abs().powi(3)).sum()
        }

        fn derivative(&self, outputs: &[f32], targets: &[f32], derivative: &mut [f32]) {
            for ((y, t), d) in outputs.iter().zip(targets).zip(derivative) {
                *d = 3.0 * (y - t) * (y - t).abs();
            }
        }
    }

    /// What three steps and a gradient leave: losses, parameters, state, outputs, gradient.
    fn trained(trainer: &Trainer<'_>, x: &[f32], targets: &[f32], classes: &[u32]) -> Vec<u32> {
        let layout = trainer.mlp().layout();
        let mut params = vec![0.0; layout.params_len()];
        init(layout, 5, &mut params).unwrap();
        let mut state = vec![0.0; layout.optimizer_len(trainer.optimizer())];
        let mut gradient = vec![f32::NAN; layout.trainable_len()];
        let mut workspace = vec![f32::NAN; trainer.workspace_len(1).unwrap()];
        let (inputs, outputs) = (layout.inputs(), layout.outputs());
        let mut all = vec![];
        for step in 0..3 {
            let x = &x[step * inputs..][..inputs];
            let targets = match classes {
                [] => Targets::values(&targets[step * outputs..][..outputs]),
                classes => Targets::classes(&classes[step..=step]),
            };
            let of_gradient = trainer.gradient(step as u64, x, targets, &params, &mut gradient, &mut workspace);
            all.push(of_gradient.unwrap());
            all.extend(trainer.outputs_in(1, &workspace).unwrap());
            let loss = trainer.train_step(step as u64, x, targets, &mut params, &mut state, &mut workspace);
            all.push(loss.unwrap());
            all.extend(trainer.outputs_in(1, &workspace).unwrap());
            all.extend(&gradient);
        }
        all.extend(params);
        all.extend(state);
        all.into_iter().map(f32::to_bits).collect()
    }

    /// Rows that fill their vectors and not, side by side and one by one, near and far, alone and in blocks of terms: against
    /// the pieces of several threads, which take the way of a batch.
    #[test]
    fn a_sample_by_itself_takes_the_step_of_a_batch() {
        let dense = Layer::dense;
        let cases: [(usize, Vec<Layer>, Loss<'_>); 12] = [
            (5, vec![dense(1, Sigmoid)], BinaryCrossEntropy),
            (20, vec![dense(64, Relu), dense(1, Sigmoid)], BinaryCrossEntropy),
            (6, vec![dense(64, Tanh), dense(8, Tanh), dense(4, Linear)], MeanSquaredError),
            (30, vec![dense(8, Relu), dense(8, Relu), dense(3, Linear)], MeanAbsoluteError),
            (3, vec![dense(1, Tanh), dense(1, Relu), dense(2, Sigmoid)], MeanSquaredError),
            (33, vec![dense(130, Softsign), dense(23, Tanh), dense(10, Softmax)], CrossEntropy),
            (9, vec![dense(17, LeakyRelu { slope: 0.1 }), dense(75, Sigmoid), dense(31, Softmax)], CrossEntropy),
            (12, vec![dense(81, Relu), dense(16, Relu), dense(5, Softmax)], MeanSquaredError),
            (7, vec![dense(40, Relu), dense(9, Tanh)], Custom(&Cubes)),
            (31, vec![dense(100, Sigmoid), dense(1, Linear)], Custom(&Cubes)),
            (2, vec![dense(70, Relu), dense(259, Relu), dense(33, Softmax)], CrossEntropy),
            (3, vec![dense(190, Tanh), dense(200, Relu), dense(6, Linear)], MeanSquaredError),
        ];
        let sgd = Sgd::new(0.1);
        let optimizers: [Optimizer; 4] =
            [sgd.into(), sgd.momentum(0.9).into(), sgd.nesterov(0.9).into(), Adam::new(0.01).into()];
        let mut rng = Rng::new(1);
        for (inputs, layers, loss) in cases {
            let layout = Layout::new(inputs, &layers).unwrap();
            let outputs = layout.outputs();
            let mut x: Vec<f32> = (0..3 * inputs).map(|_| 2.0 * rng.uniform() - 1.0).collect();
            x[inputs / 2] = 0.0;
            let targets: Vec<f32> = (0..3 * outputs).map(|_| rng.uniform()).collect();
            let classes: Vec<u32> = (0..3).map(|_| rng.below(outputs as u32)).collect();
            let classes = if matches!(loss, CrossEntropy) { &*classes } else { &[] };
            for (optimizer, isa) in optimizers.iter().flat_map(|o| Isa::available().map(move |isa| (*o, isa))) {
                let by = |threads: usize, isa: Isa| {
                    let mlp = Mlp::new(layout, isa).with_threads(threads).with_grain(1);
                    let alone = suits(&mlp, &mlp.plan(1).unwrap());
                    (alone, trained(&Trainer::new(mlp, loss, optimizer).unwrap(), &x, &targets, classes))
                };
                let one_lane = match isa.arithmetic() {
                    Arithmetic::Portable => Isa::SCALAR,
                    Arithmetic::Fused => Isa::available().find(|isa| isa.name() == "scalar-fused").unwrap(),
                };
                let ((alone, own), (other, expected)) = (by(1, isa), by(2, isa));
                assert!(alone == (isa != one_lane) && !other, "{isa}");
                assert!(own == expected, "{isa}: {layers:?}, {optimizer:?}");
                assert!(own == by(1, one_lane).1, "{isa}: {layers:?}, {optimizer:?}");
            }
        }
    }
}
