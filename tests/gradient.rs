//! Losses, gradients, input deltas and training steps against a naive f64 network
//! ([`reference`]), on every instruction set and in both schedules; and the proof that
//! the comparison finds a wrong derivative.
//!
//! The bound on an element's error is [`DEVIATIONS`] standard deviations of the error that f32 rounding
//! gives the reference's own formula: see [`reference::Number`]. It follows each element's terms,
//! so it is about 1e−7 relative where nothing cancels, and grows with the square root of a sum's length.

#[path = "gradient/layers.rs"]
mod layers;
mod reference;

use microprop::Activation::{self, *};
use microprop::{
    Adam, Delta, EpsilonPlacement, Isa, Layer, Layout, Loss, LossFunction, Mlp, Optimizer, Penalty, Schedule, Sgd,
    Targets, Trainer,
};
use reference::compare::{DEVIATIONS, Draw, agree, central, direction, dot, moved, numbers, telling, values_of};
use reference::{Backward, Fault, Forward, Goal, Network, Number, Rule, Spec, State};
use std::collections::BTreeSet;

/// Layer widths, inputs included.
const SIZES: [usize; 6] = [1, 3, 7, 17, 33, 65];

const BATCHES: [usize; 3] = [1, 2, 31];

const HIDDEN: [Activation; 15] = [
    Linear,
    Relu,
    LeakyRelu { slope: 0.1 },
    Sigmoid,
    Tanh,
    Elu { alpha: 0.7 },
    Selu,
    Gelu,
    GeluTanh,
    Silu,
    Mish,
    Softplus,
    Softsign,
    HardSigmoid,
    HardSwish,
];

/// Those of output layers.
fn output_activations() -> impl Iterator<Item = Activation> {
    HIDDEN.into_iter().chain([Softmax])
}

/// How targets are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum TargetKind {
    /// Between −1 and 1, or 0 and 1 for outputs in that range.
    Values,
    Classes,
    OneHot,
    /// Any values between 0 and 1, whose sum in a row is not 1.
    Soft,
    /// −1 and 1.
    Signs,
    /// 0, 1, 2 …
    Counts,
}

/// What weighs the targets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Weighing {
    Nothing,
    SampleWeights,
    /// Of several samples one is left out as a whole.
    Mask,
    Both,
}

/// What stands at the top of a network.
#[derive(Clone, Copy, Debug)]
struct Top {
    activation: Activation,
    loss: Loss<'static>,
    targets: TargetKind,
    weighing: Weighing,
}

/// The squared errors and the cross-entropies on every activation that they go with, with every kind of target.
fn tops() -> Vec<Top> {
    let mut tops = Vec::new();
    for activation in output_activations() {
        for loss in [Loss::HalfMeanSquaredError, Loss::MeanSquaredError, Loss::BinaryCrossEntropy, Loss::CrossEntropy] {
            if loss.check(activation).is_err() {
                continue;
            }
            let kinds: &[TargetKind] = match loss {
                Loss::CrossEntropy => &[TargetKind::Classes, TargetKind::OneHot, TargetKind::Soft],
                Loss::BinaryCrossEntropy => &[TargetKind::OneHot, TargetKind::Soft],
                _ => &[TargetKind::Values],
            };
            let weighing = Weighing::Nothing;
            tops.extend(kinds.iter().map(|&targets| Top { activation, loss, targets, weighing }));
        }
    }
    assert_eq!(tops.len(), 2 * 16 + 2 + 3);
    tops
}

/// Every other loss, on the activations whose outputs it is for, and all losses under weights and masks: where an
/// activation is one of many, these take turns.
fn other_tops() -> Vec<Top> {
    let all: Vec<Activation> = output_activations().collect();
    let probabilities = &[Sigmoid, Softmax][..];
    let losses: [(Loss<'static>, &[Activation], &[TargetKind]); 11] = [
        (Loss::MeanAbsoluteError, &all, &[TargetKind::Values]),
        (Loss::Huber { delta: 0.4 }, &all, &[TargetKind::Values]),
        (Loss::LogCosh, &all, &[TargetKind::Values]),
        (Loss::Quantile { quantile: 0.8 }, &all, &[TargetKind::Values]),
        (Loss::Hinge, &all, &[TargetKind::Signs]),
        (Loss::Poisson, &[Sigmoid, Softplus, Softmax], &[TargetKind::Counts]),
        (Loss::SmoothedBinaryCrossEntropy { smoothing: 0.2 }, &[Sigmoid], &[TargetKind::OneHot, TargetKind::Soft]),
        (
            Loss::SmoothedCrossEntropy { smoothing: 0.3 },
            &[Softmax],
            &[TargetKind::Classes, TargetKind::OneHot, TargetKind::Soft],
        ),
        (Loss::BinaryCrossEntropyOfProbabilities, probabilities, &[TargetKind::OneHot, TargetKind::Soft]),
        (Loss::CrossEntropyOfProbabilities, probabilities, &[TargetKind::Soft]),
        (Loss::KullbackLeibler, probabilities, &[TargetKind::Soft]),
    ];
    let mut tops = Vec::new();
    for (loss, activations, kinds) in losses {
        for &activation in activations {
            let weighing = Weighing::Nothing;
            tops.extend(kinds.iter().map(|&targets| Top { activation, loss, targets, weighing }));
        }
    }
    let unweighted = [tops.clone(), self::tops()].concat();
    for (shift, weighing) in [Weighing::SampleWeights, Weighing::Mask, Weighing::Both].into_iter().enumerate() {
        let first = [Linear, Sigmoid, Softmax];
        let (by_turns, in_full) = unweighted.iter().partition::<Vec<Top>, _>(|top| !first.contains(&top.activation));
        let turns = by_turns.into_iter().enumerate().filter(|(turn, _)| turn % 3 == shift).map(|(_, top)| top);
        tops.extend(in_full.into_iter().chain(turns).map(|top| Top { weighing, ..top }));
    }
    tops
}

/// Targets of a batch.
#[derive(Clone, Debug)]
enum TargetData {
    Values(Vec<f32>),
    Classes(Vec<u32>),
}

/// Targets of a batch that `top` can be compared with.
fn draw_targets(draw: &mut Draw, top: Top, batch: usize, outputs: usize) -> TargetData {
    let values = draw.vec(batch * outputs, 1.0);
    let classes: Vec<u32> = (0..batch).map(|_| (draw.bits() % outputs as u64) as u32).collect();
    match top.targets {
        TargetKind::Classes => TargetData::Classes(classes),
        TargetKind::OneHot if top.activation == Softmax => {
            let mut t = vec![0.0; batch * outputs];
            for (t, class) in t.chunks_mut(outputs).zip(classes) {
                t[class as usize] = 1.0;
            }
            TargetData::Values(t)
        }
        TargetKind::OneHot => TargetData::Values(values.iter().map(|v| f32::from(*v > 0.0)).collect()),
        TargetKind::Values if !matches!(top.activation, Relu | Sigmoid | HardSigmoid | Softplus | Softmax) => {
            TargetData::Values(values)
        }
        TargetKind::Values | TargetKind::Soft => TargetData::Values(values.iter().map(|v| v.abs()).collect()),
        TargetKind::Signs => TargetData::Values(values.iter().map(|v| v.signum()).collect()),
        TargetKind::Counts => TargetData::Values(values.iter().map(|v| (3.0 * v.abs()).round()).collect()),
    }
}

/// Sample weights, and a mask `[batch × outputs]`.
type Weights = (Option<Vec<f32>>, Option<Vec<f32>>);

fn draw_weighing(draw: &mut Draw, weighing: Weighing, batch: usize, outputs: usize) -> Weights {
    let (is_weighted, is_masked) = match weighing {
        Weighing::Nothing => (false, false),
        Weighing::SampleWeights => (true, false),
        Weighing::Mask => (false, true),
        Weighing::Both => (true, true),
    };
    let weights = is_weighted.then(|| draw.vec(batch, 1.5).iter().map(|w| w.abs() + 0.1).collect());
    let mask = is_masked.then(|| {
        let left = |i: usize, v: f32| v > -0.4 && (batch == 1 || i / outputs != 1);
        draw.vec(batch * outputs, 1.0).iter().enumerate().map(|(i, &v)| f32::from(left(i, v))).collect()
    });
    (weights, mask)
}

/// Makes masked target values NaN.
fn hide_masked(targets: &mut TargetData, mask: Option<&[f32]>) {
    if let (TargetData::Values(values), Some(mask)) = (targets, mask) {
        values.iter_mut().zip(mask).filter(|(_, m)| **m == 0.0).for_each(|(t, _)| *t = f32::NAN);
    }
}

/// Targets as values, classes one-hot.
fn target_rows(targets: &TargetData, outputs: usize) -> Vec<Vec<Number>> {
    match targets {
        TargetData::Values(values) => reference::rows(values, outputs),
        TargetData::Classes(classes) => {
            let row = |&class: &u32| (0..outputs).map(|j| Number::from(f32::from(j == class as usize))).collect();
            classes.iter().map(row).collect()
        }
    }
}

/// A network with its data.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    inputs: usize,
    layers: Vec<Layer>,
    loss: Loss<'static>,
    batch: usize,
    params: Vec<f32>,
    x: Vec<f32>,
    targets: TargetData,
    weights: Option<Vec<f32>>,
    /// `[batch × outputs]`. Masked target values are NaN.
    mask: Option<Vec<f32>>,
    /// A delta of the caller's, `[batch × outputs]`.
    delta: Vec<f32>,
}

/// What the reference says of a case.
struct Expected {
    loss: Number,
    outputs: Vec<Number>,
    gradient: Backward,
    /// From the case's delta, taken as ∂loss/∂outputs and as ∂loss/∂pre-activations.
    from_outputs: Backward,
    from_pre_activations: Backward,
    nearest_kink: f64,
}

impl Case {
    /// Draws parameters and data, again and again until no ReLU could take the other branch in
    /// f32 and every layer has a gradient that tells something.
    fn draw(inputs: usize, widths: &[usize], hidden: Activation, top: Top, batch: usize) -> Self {
        for seed in 0..500 {
            let case = Self::draw_once(inputs, widths, hidden, top, batch, seed);
            let expected = case.expected(None);
            if expected.nearest_kink > DEVIATIONS && expected.check_telling().is_ok() {
                return case;
            }
        }
        panic!("{top:?} over {hidden:?} {inputs} {widths:?} batch {batch}: no case tells anything");
    }

    fn draw_once(inputs: usize, widths: &[usize], hidden: Activation, top: Top, batch: usize, seed: u64) -> Self {
        let draw = &mut Draw(seed);
        let (last, outputs) = (widths.len() - 1, widths[widths.len() - 1]);
        let (mut layers, mut params, mut width) = (Vec::new(), Vec::new(), inputs);
        for (l, &units) in widths.iter().enumerate() {
            // Glorot and Bengio 2010; more under a hinge, so that outputs are beyond its margin too. (A hard
            // sigmoid's end is on the margin.)
            let wide = l == last && top.loss == Loss::Hinge && top.activation != HardSigmoid;
            let gain = if wide { 3.0 } else { 1.0 };
            params.extend(draw.vec(width * units, gain * (6.0 / (width + units) as f32).sqrt()));
            params.extend(draw.vec(units, 0.3));
            layers.push(Layer::dense(units, if l == last { top.activation } else { hidden }));
            width = units;
        }
        let mut targets = draw_targets(draw, top, batch, outputs);
        let x = draw.vec(batch * inputs, 1.0);
        let delta = draw.vec(batch * outputs, 1.0 / batch as f32);
        let (weights, mask) = draw_weighing(draw, top.weighing, batch, outputs);
        hide_masked(&mut targets, mask.as_deref());
        Self {
            name: format!("{top:?} over {hidden:?}, {inputs} inputs, layers {widths:?}, batch {batch}, seed {seed}"),
            inputs,
            layers,
            loss: top.loss,
            batch,
            params,
            x,
            targets,
            weights,
            mask,
            delta,
        }
    }

    /// The same with penalties on the weights of its layers, over and over.
    fn penalized(mut self, penalties: &[Penalty]) -> Self {
        for (layer, &penalty) in self.layers.iter_mut().zip(penalties.iter().cycle()) {
            *layer = layer.with_penalty(penalty);
        }
        self.name = format!("{}, penalties {penalties:?}", self.name);
        self
    }

    fn layout(&self) -> Layout<'_> {
        Layout::new(self.inputs, &self.layers).unwrap()
    }

    fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].units().unwrap()
    }

    /// Targets with what weighs them.
    fn targets(&self) -> Targets<'_> {
        let mut targets = match &self.targets {
            TargetData::Values(values) => Targets::values(values),
            TargetData::Classes(classes) => Targets::classes(classes),
        };
        if let Some(weights) = &self.weights {
            targets = targets.with_sample_weights(weights);
        }
        match &self.mask {
            Some(mask) => targets.with_mask(mask),
            None => targets,
        }
    }

    /// The same for the reference.
    fn goal(&self) -> Goal {
        let outputs = self.outputs();
        let targets = target_rows(&self.targets, outputs);
        let mask = |mask: &Vec<f32>| mask.chunks(outputs).map(|row| row.iter().map(|&m| m > 0.0).collect()).collect();
        Goal { targets, weights: self.weights.as_deref().map(numbers), mask: self.mask.as_ref().map(mask) }
    }

    /// The reference's network.
    fn network(&self, params: &[Number]) -> Network {
        let specs: Vec<Spec> = self.layers.iter().map(Spec::of_dense).collect();
        Network::new(self.inputs, &specs, params)
    }

    /// What the reference says, with a wrong derivative if asked to.
    fn expected(&self, fault: Option<Fault>) -> Expected {
        let mut network = self.network(&numbers(&self.params));
        if let Some(fault) = fault {
            network = network.with_fault(fault);
        }
        let pass = network.forward(reference::rows(&self.x, self.inputs));
        let (loss, delta) = network.loss(&pass, self.loss, &self.goal());
        let own = reference::rows(&self.delta, self.outputs());
        let sloped = network.slopes(network.last(), &pass, own.clone());
        Expected {
            loss,
            outputs: pass.outputs().concat(),
            gradient: network.backward(&pass, delta),
            from_outputs: network.backward(&pass, sloped),
            from_pre_activations: network.backward(&pass, own),
            nearest_kink: nearest(&pass, &network, self),
        }
    }
}

impl Expected {
    /// That each part of it is far from zero.
    fn check_telling(&self) -> Result<(), String> {
        telling("loss", &[self.loss])?;
        telling("outputs", &self.outputs)?;
        for (l, rows) in self.gradient.layers.iter().enumerate() {
            let (bias, weights) = rows.split_last().unwrap();
            telling(&format!("weights of layer {l}"), &weights.concat())?;
            telling(&format!("bias of layer {l}"), bias)?;
        }
        telling("input delta", &self.gradient.inputs.concat())
    }
}

/// How near a branch of an activation or of the loss is, in standard deviations.
fn nearest(pass: &Forward, network: &Network, case: &Case) -> f64 {
    let kinks = network.loss_kinks(pass, case.loss, &case.goal());
    kinks.iter().map(|v| v.value.abs() / v.deviation()).fold(pass.nearest_kink(network), f64::min)
}

/// Which branches are taken.
fn sides(pass: &Forward, network: &Network, case: &Case) -> Vec<bool> {
    let kinks = network.loss_kinks(pass, case.loss, &case.goal());
    pass.sides().into_iter().chain(kinks.iter().map(|v| v.value > 0.0)).collect()
}

/// Runs everything that differentiates, on one instruction set in one schedule,
/// and compares it; returns the largest error in standard deviations.
fn check(case: &Case, expected: &Expected, isa: Isa, schedule: Schedule) -> Result<f64, String> {
    let layout = case.layout();
    let mlp = Mlp::new(layout, isa).with_schedule(schedule);
    let trainer = Trainer::new(mlp, case.loss, Sgd::new(0.1).into()).unwrap();
    // Nothing may depend on what was there before.
    let mut workspace = vec![f32::NAN; mlp.workspace_len(case.batch).unwrap()];
    let mut gradient = vec![f32::NAN; layout.trainable_len()];
    let mut input_delta = vec![f32::NAN; case.x.len()];
    let mut outputs = vec![f32::NAN; expected.outputs.len()];
    let targets = case.targets();
    let mut worst = 0.0;
    let mut compare = |what: &str, ours: &[f32], reference: &[Number]| -> Result<(), String> {
        worst = f64::max(worst, agree(what, ours, reference)?);
        Ok(())
    };

    mlp.predict(
        &case.params,
        &case.x,
        &mut outputs,
        &mut vec![f32::NAN; mlp.predict_workspace_len(case.batch).unwrap()],
    )
    .unwrap();
    compare("predict", &outputs, &expected.outputs)?;

    let loss = trainer.loss(&case.x, targets, &case.params, &mut workspace).unwrap();
    compare("loss", &[loss], &[expected.loss])?;

    workspace.fill(f32::NAN);
    let loss = trainer.gradient(0, &case.x, targets, &case.params, &mut gradient, &mut workspace).unwrap();
    compare("loss beside the gradient", &[loss], &[expected.loss])?;
    compare("gradient", &gradient, &expected.gradient.gradient())?;

    for (what, delta, expected_backward) in [
        ("outputs", Delta::Outputs(&case.delta), &expected.from_outputs),
        ("pre-activations", Delta::PreActivations(&case.delta), &expected.from_pre_activations),
    ] {
        workspace.fill(f32::NAN);
        gradient.fill(f32::NAN);
        input_delta.fill(f32::NAN);
        let pass = mlp.forward(&case.params, &case.x, &mut workspace).unwrap();
        compare("forward", pass.outputs(), &expected.outputs)?;
        pass.gradient(delta, &case.params, &mut gradient, Some(&mut input_delta)).unwrap();
        compare(&format!("gradient from a delta of {what}"), &gradient, &expected_backward.gradient())?;
        compare(&format!("input delta from a delta of {what}"), &input_delta, &expected_backward.inputs.concat())?;
    }
    Ok(worst)
}

/// Checks a case on every instruction set, in every schedule that takes its batch.
/// `software` is whether the slow software-FMA instance takes part.
fn check_everywhere(case: &Case, software: bool) -> f64 {
    let expected = case.expected(None);
    expected.check_telling().unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let mut worst = 0.0;
    for isa in Isa::available().filter(|isa| software || isa.name() != "scalar-fused") {
        for schedule in [Schedule::Batch, Schedule::Lean] {
            if schedule == Schedule::Lean && case.batch != 1 {
                continue;
            }
            match check(case, &expected, isa, schedule) {
                Ok(deviations) => worst = f64::max(worst, deviations),
                Err(error) => panic!("{} on {isa} in {schedule:?}: {error}", case.name),
            }
        }
    }
    worst
}

/// Crosses every top × every hidden activation, and every top × 1 to 4 layers × every batch; each hidden
/// activation also meets every depth and batch. Sizes rotate through inputs, hidden layers and outputs, so that
/// each meets every top, hidden activation, depth and batch at least once as a layer's inputs and once as its
/// outputs (all asserted; a single softmax output is always 1, so that there is nothing to compare: see
/// `one_softmax_output`).
#[test]
fn every_pair_depth_size_and_batch() {
    let (mut met, mut met_together) = (BTreeSet::new(), BTreeSet::new());
    let (mut worst, mut count) = (0.0, 0_usize);
    for (turn, top) in tops().into_iter().enumerate() {
        let alone = BATCHES.map(|batch| (Linear, 1, batch));
        let over = HIDDEN.into_iter().enumerate().map(|(index, hidden)| {
            let pair = (index + turn) % 9;
            (hidden, 2 + pair / 3, BATCHES[pair % 3])
        });
        for (hidden, depth, batch) in alone.into_iter().chain(over) {
            // Strides of 1 and 5 through the six sizes reach all of them from any start.
            let (start, stride) = (count + turn, if count / 6 % 2 == 0 { 1 } else { 5 });
            let size = |l: usize| SIZES[(start + l * stride) % 6];
            let mut widths: Vec<usize> = (1..=depth).map(size).collect();
            if top.activation == Softmax && widths[depth - 1] == 1 {
                widths[depth - 1] = SIZES[1 + count % 5];
            }
            let case = Case::draw(size(0), &widths, hidden, top, batch);
            let mut inputs = size(0);
            for &outputs in &widths {
                let with = |what: String| [(what.clone(), "in", inputs), (what, "out", outputs)];
                met.extend(with(format!("{top:?}")));
                met.extend(with(format!("{hidden:?}")));
                met.extend(with(format!("depth {depth}")));
                met.extend(with(format!("batch {batch}")));
                inputs = outputs;
            }
            met_together.insert((format!("{top:?}"), depth, batch));
            if depth > 1 {
                met_together.insert((format!("{hidden:?}"), depth, batch));
            }
            worst = f64::max(worst, check_everywhere(&case, count % 8 == 0));
            count += 1;
        }
    }
    let with = tops().len() + HIDDEN.len() + 4 + BATCHES.len();
    assert_eq!(met.len(), with * 2 * SIZES.len(), "a size has not met something");
    let together = tops().len() * 4 * BATCHES.len() + HIDDEN.len() * 3 * BATCHES.len();
    assert_eq!(met_together.len(), together, "a depth and a batch have not met something");
    println!("{count} cases, worst error {worst:.2} deviations of {DEVIATIONS}");
}

/// Every other loss, and all under weights and masks: sizes, depths, batches and hidden activations take turns.
#[test]
fn every_other_loss_with_weights_and_masks() {
    let (mut worst, mut count) = (0.0, 0_usize);
    for (turn, top) in other_tops().into_iter().enumerate() {
        // The batches take turns too where an activation is one of many.
        let by_turns = !matches!(top.activation, Linear | Sigmoid | Softmax);
        for batch in BATCHES.into_iter().enumerate().filter(|(b, _)| !by_turns || *b == turn % 3).map(|(_, b)| b) {
            let hidden = HIDDEN[count % HIDDEN.len()];
            let mut widths = vec![SIZES[(count + 2) % 6], SIZES[count / 2 % 6]];
            if top.activation == Softmax && widths[1] == 1 {
                widths[1] = SIZES[1 + count % 5];
            }
            let case = Case::draw(SIZES[count % 6], &widths, hidden, top, batch);
            worst = f64::max(worst, check_everywhere(&case, count % 8 == 0));
            count += 1;
        }
    }
    println!("{count} cases, worst error {worst:.2} deviations of {DEVIATIONS}");
}

/// With one softmax output y is 1, whatever z is: no gradient, and a loss of nothing but the targets.
#[test]
fn one_softmax_output() {
    for top in tops().into_iter().filter(|top| top.activation == Softmax) {
        let case = Case::draw_once(3, &[7, 1], Tanh, top, 2, 0);
        let expected = case.expected(None);
        for isa in Isa::available() {
            check(&case, &expected, isa, Schedule::Batch).unwrap_or_else(|error| panic!("{isa}: {error}"));
        }
    }
}

/// Sums of more than a block of 256 terms, in the forward pass, in the deltas and over the batch;
/// products that are packed (B of more than 32·1024 elements) and not; every narrow width, where a sum runs in
/// several chains, and the one above; batches up to the heights of a register tile.
#[test]
fn long_sums_and_packed_products() {
    let cross_entropy = Top {
        activation: Softmax,
        loss: Loss::CrossEntropy,
        targets: TargetKind::Classes,
        weighing: Weighing::Nothing,
    };
    let squared = Top {
        activation: Linear,
        loss: Loss::MeanSquaredError,
        targets: TargetKind::Values,
        weighing: Weighing::Nothing,
    };
    let mut worst = 0.0;
    for outputs in 1..=17 {
        let top = if outputs > 1 && outputs % 2 == 0 { cross_entropy } else { squared };
        // One block and more; 0, 1 and 3 terms after the last whole four of the chains.
        let inputs = [300, 513, 259][outputs % 3];
        let case = Case::draw(inputs, &[outputs], Linear, top, 1 + outputs % 9);
        worst = f64::max(worst, check_everywhere(&case, true));
    }
    for (inputs, widths, batch) in [
        // The sums over the batch.
        (5, &[9, 3][..], 300),
        (3, &[1], 513),
        // Packed forward: 513·65 elements of W, more than two blocks of them in each column.
        (513, &[65, 33, 7], 5),
        (300, &[129, 3], 31),
        // The same without packing: few rows, or fewer elements.
        (513, &[65, 33, 7], 3),
        (513, &[65, 7], 1),
        (300, &[33, 1], 6),
        // Deltas that are sums of more than two blocks.
        (7, &[17, 513], 5),
        (7, &[17, 513], 1),
        // One output over more than 32·1024 units.
        (1, &[33_000, 1], 4),
    ] {
        worst = f64::max(worst, check_everywhere(&Case::draw(inputs, widths, Tanh, squared, batch), false));
        if !widths.ends_with(&[1]) {
            worst = f64::max(worst, check_everywhere(&Case::draw(inputs, widths, Relu, cross_entropy, batch), false));
        }
    }
    println!("worst error {worst:.2} deviations of {DEVIATIONS}");
}

/// The cross-entropies with logits of ±1e4: finite, and right. Those of probabilities limit them.
#[test]
fn extreme_logits() {
    const LOGITS: [f32; 7] = [1e4, -1e4, 0.5, -90.0, 90.0, 30.0, -16.5];
    for (activation, loss, targets) in [
        (Sigmoid, Loss::BinaryCrossEntropy, TargetData::Values([0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0].repeat(7))),
        (Sigmoid, Loss::BinaryCrossEntropy, TargetData::Values([1.0, 0.0, 0.0, 0.3, 0.7, 0.5, 0.0].repeat(7))),
        (
            Sigmoid,
            Loss::SmoothedBinaryCrossEntropy { smoothing: 0.1 },
            TargetData::Values([0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0].repeat(7)),
        ),
        (
            Sigmoid,
            Loss::BinaryCrossEntropyOfProbabilities,
            TargetData::Values([0.1, 0.2, 0.6, 0.3, 0.7, 0.5, 0.9].repeat(7)),
        ),
        (Sigmoid, Loss::CrossEntropyOfProbabilities, TargetData::Values([0.1, 0.2, 0.6, 0.3, 0.7, 0.5, 0.9].repeat(7))),
        (Sigmoid, Loss::KullbackLeibler, TargetData::Values([0.1, 0.2, 0.6, 0.3, 0.7, 0.5, 0.9].repeat(7))),
        (Softmax, Loss::SmoothedCrossEntropy { smoothing: 0.1 }, TargetData::Classes(vec![6, 5, 4, 3, 2, 1, 3])),
        (Softmax, Loss::CrossEntropy, TargetData::Classes(vec![6, 5, 4, 3, 2, 1, 3])),
        (Softmax, Loss::CrossEntropy, TargetData::Values([0.1, 0.2, 0.0, 0.25, 0.15, 0.3, 0.0].repeat(7))),
    ] {
        for batch in [1, 7] {
            // Each sample switches on one row of weights: the logits, rotated.
            let (mut params, mut x) = (Vec::new(), vec![0.0; 7 * batch]);
            for i in 0..7 {
                params.extend((0..7).map(|j| LOGITS[(i + j) % 7]));
            }
            params.extend([0.0; 7]);
            for s in 0..batch {
                x[7 * s + s] = 1.0;
            }
            let targets = match &targets {
                TargetData::Values(values) => TargetData::Values(values[..7 * batch].to_vec()),
                TargetData::Classes(classes) => TargetData::Classes(classes[..batch].to_vec()),
            };
            let case = Case {
                name: format!("{loss} with logits of ±1e4, batch {batch}"),
                inputs: 7,
                layers: vec![Layer::dense(7, activation)],
                loss,
                batch,
                params,
                x,
                targets,
                weights: None,
                mask: None,
                delta: Draw(1).vec(7 * batch, 1.0),
            };
            let expected = case.expected(None);
            assert!(expected.loss.value > 1.0 && expected.loss.value < 2e4, "{}", case.name);
            check_everywhere(&case, true);
            if loss.check(Linear).is_ok() {
                let wrong = case.expected(Some(Fault::NotLimited));
                assert!(check(&case, &wrong, Isa::SCALAR, Schedule::Batch).is_err(), "{}", case.name);
            }
        }
    }
}

/// The check reports each wrong derivative, on a case that it passes with the right one.
#[test]
fn wrong_derivatives_are_caught() {
    let half = Loss::HalfMeanSquaredError;
    let values = |activation, loss| Top { activation, loss, targets: TargetKind::Values, weighing: Weighing::Nothing };
    let of = |activation, loss, targets, weighing| Top { activation, loss, targets, weighing };
    let one_hot = |activation, loss| of(activation, loss, TargetKind::OneHot, Weighing::Nothing);
    let (linear, classes) = (values(Linear, half), one_hot(Softmax, Loss::CrossEntropy));
    let soft = |activation, loss| of(activation, loss, TargetKind::Soft, Weighing::Nothing);
    let weighed = |weighing| of(Linear, half, TargetKind::Values, weighing);
    for (fault, hidden, top) in [
        (Fault::TanhSlope, Tanh, linear),
        (Fault::TanhSlope, Linear, values(Tanh, half)),
        (Fault::SigmoidSlope, Sigmoid, linear),
        (Fault::SigmoidSlope, Relu, values(Sigmoid, Loss::MeanSquaredError)),
        (Fault::ReluSlope, Relu, classes),
        (Fault::ReluSlope, Tanh, values(Relu, half)),
        (Fault::LeakySlope, LeakyRelu { slope: 0.1 }, classes),
        (Fault::LeakySlope, Tanh, values(LeakyRelu { slope: 0.1 }, half)),
        (Fault::EluSlope, Elu { alpha: 0.5 }, classes),
        (Fault::EluSlope, Tanh, values(Elu { alpha: 0.5 }, half)),
        (Fault::SeluSlope, Selu, classes),
        (Fault::SeluSlope, Tanh, values(Selu, half)),
        (Fault::GeluSlope, Gelu, classes),
        (Fault::GeluSlope, Tanh, values(Gelu, half)),
        (Fault::GeluTanhSlope, GeluTanh, classes),
        (Fault::GeluTanhSlope, Tanh, values(GeluTanh, half)),
        (Fault::SiluSlope, Silu, classes),
        (Fault::SiluSlope, Tanh, values(Silu, half)),
        (Fault::MishSlope, Mish, classes),
        (Fault::MishSlope, Tanh, values(Mish, half)),
        (Fault::HardSwishSlope, HardSwish, classes),
        (Fault::HardSwishSlope, Tanh, values(HardSwish, half)),
        (Fault::SoftplusSlope, Softplus, classes),
        (Fault::SoftplusSlope, Tanh, values(Softplus, half)),
        (Fault::SoftsignSlope, Softsign, classes),
        (Fault::SoftsignSlope, Tanh, values(Softsign, half)),
        (Fault::HardSigmoidSlope, HardSigmoid, classes),
        (Fault::HardSigmoidSlope, Tanh, values(HardSigmoid, half)),
        (Fault::SoftmaxDiagonal, Tanh, values(Softmax, half)),
        (Fault::SoftmaxDiagonal, Tanh, classes),
        (Fault::NoMean, Tanh, linear),
        (Fault::NoMean, Tanh, values(Tanh, Loss::MeanSquaredError)),
        (Fault::NoMean, Tanh, one_hot(Sigmoid, Loss::BinaryCrossEntropy)),
        (Fault::NoMean, Tanh, classes),
        (Fault::AbsoluteSlope, Tanh, values(Linear, Loss::MeanAbsoluteError)),
        (Fault::HuberUnlimited, Tanh, values(Linear, Loss::Huber { delta: 0.4 })),
        (Fault::LogCoshSlope, Tanh, values(Linear, Loss::LogCosh)),
        (Fault::QuantileExchanged, Tanh, values(Linear, Loss::Quantile { quantile: 0.8 })),
        (Fault::PoissonSlope, Tanh, of(Sigmoid, Loss::Poisson, TargetKind::Counts, Weighing::Nothing)),
        (Fault::HingeBeyondMargin, Tanh, of(Linear, Loss::Hinge, TargetKind::Signs, Weighing::Nothing)),
        (Fault::BinaryProbabilitySlope, Tanh, soft(Sigmoid, Loss::BinaryCrossEntropyOfProbabilities)),
        (Fault::ProbabilitySlope, Tanh, soft(Softmax, Loss::CrossEntropyOfProbabilities)),
        (Fault::ProbabilitySlope, Tanh, soft(Sigmoid, Loss::KullbackLeibler)),
        (Fault::NoSmoothing, Tanh, soft(Sigmoid, Loss::SmoothedBinaryCrossEntropy { smoothing: 0.2 })),
        (Fault::NoSmoothing, Tanh, soft(Softmax, Loss::SmoothedCrossEntropy { smoothing: 0.3 })),
        (Fault::NoWeights, Tanh, weighed(Weighing::SampleWeights)),
        (Fault::NoWeights, Tanh, of(Softmax, Loss::CrossEntropy, TargetKind::Classes, Weighing::Both)),
        (Fault::MaskDivisor, Tanh, weighed(Weighing::Mask)),
        (Fault::MaskDivisor, Tanh, of(Linear, Loss::LogCosh, TargetKind::Values, Weighing::Mask)),
        (Fault::NoMask, Tanh, weighed(Weighing::Mask)),
        (Fault::NoMeanOverOutputs, Tanh, values(Linear, Loss::MeanSquaredError)),
        (Fault::NoBias, Tanh, linear),
        (Fault::LastSample, Tanh, classes),
        (Fault::TransposedWeights, Tanh, linear),
    ] {
        // Square, so that W could stand for Wᵀ.
        let case = Case::draw(7, &[7, 7, 3], hidden, top, 31);
        let (right, wrong) = (case.expected(None), case.expected(Some(fault)));
        for isa in Isa::available() {
            check(&case, &right, isa, Schedule::Batch).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            let caught = check(&case, &wrong, isa, Schedule::Batch);
            assert!(caught.is_err(), "{fault:?} passes: {} on {isa}", case.name);
        }
    }
}

/// What layers are given in turn.
const PENALTIES: [Penalty; 4] = [Penalty::elastic_net(0.05, 0.1), Penalty::l1(0.1), Penalty::l2(0.2), Penalty::NONE];

/// Losses and gradients with penalties, for every loss, in both schedules; widths of whole vectors and parts, of
/// one output and of tiles.
#[test]
fn penalties_are_part_of_loss_and_gradient() {
    let mut worst = 0.0;
    for (turn, top) in tops().into_iter().enumerate() {
        for batch in BATCHES {
            let widths = [[33, 1, 7, 3], [7, 65, 17, 3], [16, 33, 1, 5]][turn % 3];
            let mut penalties = PENALTIES;
            penalties.rotate_left(turn % 4);
            let case = Case::draw(SIZES[turn % 6], &widths, Tanh, top, batch).penalized(&penalties);
            let data = case.clone().penalized(&[Penalty::NONE]).expected(None).loss.value;
            assert!(case.expected(None).loss.value > 1.1 * data, "{}", case.name);
            worst = f64::max(worst, check_everywhere(&case, true));
        }
    }
    println!("worst error {worst:.2} deviations of {DEVIATIONS}");
}

/// A penalty that is wrong is found, as a derivative is.
#[test]
fn wrong_penalties_are_caught() {
    for (top, batch) in tops().into_iter().zip([1, 31].into_iter().cycle()) {
        let case = Case::draw(7, &[7, 3], Tanh, top, batch).penalized(&PENALTIES[..1]);
        let right = case.expected(None);
        for isa in Isa::available() {
            for schedule in [Schedule::Batch, Schedule::Lean].into_iter().take(if batch == 1 { 2 } else { 1 }) {
                check(&case, &right, isa, schedule).unwrap_or_else(|error| panic!("{}: {error}", case.name));
                for fault in [Fault::UnsignedL1, Fault::DoubleL2, Fault::PenalizedBias, Fault::NoPenaltyInLoss] {
                    let caught = check(&case, &case.expected(Some(fault)), isa, schedule);
                    assert!(caught.is_err(), "{fault:?} passes: {} on {isa} in {schedule:?}", case.name);
                }
            }
        }
    }
}

/// Two sides that are zero agree, and so prove nothing: the check says so.
#[test]
fn zeros_prove_nothing() {
    let mut case = Case::draw(7, &[7, 3], Relu, tops()[0], 2);
    case.params.fill(0.0);
    let expected = case.expected(None);
    check(&case, &expected, Isa::SCALAR, Schedule::Batch).unwrap();
    assert!(expected.check_telling().is_err());
    // And one last bit too many is found in a sum that has no rounding to excuse it.
    assert!(agree("sum", &[1.0 + 2.0 * f32::EPSILON], &[Number::from(0.5) + Number::from(0.5)]).is_ok());
    assert!(agree("sum", &[1.0 + 8.0 * f32::EPSILON], &[Number::from(0.5) + Number::from(0.5)]).is_err());
    assert!(agree("NaN", &[f32::NAN], &[Number::from(0.5)]).is_err());
}

/// Each of our optimizers, and the rule of a paper that it follows.
fn optimizers() -> [(Optimizer, Rule); 6] {
    let (rate, mu, beta1, beta2) = (0.1, 0.9, 0.8, 0.95);
    // Large enough to matter, as it has to for a wrong placement to show.
    let (small, epsilon) = (1e-8, 1e-3);
    let adam = |epsilon, placement| Adam::new(0.01).betas(beta1, beta2).epsilon(epsilon, placement).into();
    [
        (Sgd::new(rate).into(), Rule::Sgd { rate }),
        (Sgd::new(rate).momentum(mu).into(), Rule::Momentum { rate, mu }),
        (Sgd::new(rate).nesterov(mu).into(), Rule::Nesterov { rate, mu }),
        (adam(small, EpsilonPlacement::Corrected), Rule::Adam { rate: 0.01, beta1, beta2, epsilon: small }),
        (adam(epsilon, EpsilonPlacement::Corrected), Rule::Adam { rate: 0.01, beta1, beta2, epsilon }),
        (adam(epsilon, EpsilonPlacement::Uncorrected), Rule::AdamUncorrected { rate: 0.01, beta1, beta2, epsilon }),
    ]
}

/// What a training run leaves: the loss of each step, and the parameters after the last.
struct Run<T> {
    losses: Vec<T>,
    params: Vec<T>,
}

const STEPS: usize = 8;

/// A run of the reference, and how near a ReLU came to its kink.
fn reference_run(case: &Case, rule: Rule) -> (Run<Number>, f64) {
    let mut params = numbers(&case.params);
    let mut state = State::new(params.len());
    let (mut losses, mut nearest) = (Vec::new(), f64::INFINITY);
    for step in 0..STEPS as i32 {
        let network = case.network(&params);
        let pass = network.forward(reference::rows(&case.x, case.inputs));
        nearest = nearest.min(self::nearest(&pass, &network, case));
        let (loss, delta) = network.loss(&pass, case.loss, &case.goal());
        losses.push(loss);
        rule.apply(step, &network.backward(&pass, delta).gradient(), &mut params, &mut state);
    }
    (Run { losses, params }, nearest)
}

/// The same run of ours.
fn our_run(case: &Case, optimizer: Optimizer, isa: Isa, schedule: Schedule) -> Run<f32> {
    let trainer = Trainer::new(Mlp::new(case.layout(), isa).with_schedule(schedule), case.loss, optimizer).unwrap();
    let mut params = case.params.clone();
    let mut state = vec![0.0; case.layout().optimizer_len(&optimizer)];
    let mut workspace = vec![f32::NAN; trainer.mlp().workspace_len(case.batch).unwrap()];
    let mut losses = Vec::new();
    for step in 0..STEPS as u64 {
        let targets = case.targets();
        losses.push(trainer.train_step(step, &case.x, targets, &mut params, &mut state, &mut workspace).unwrap());
    }
    Run { losses, params }
}

/// Compares two runs: losses and parameters, which must have come far enough to tell something.
fn agree_on_run(case: &Case, ours: &Run<f32>, reference: &Run<Number>) -> Result<f64, String> {
    telling("change", &change(case, reference))?;
    let losses = agree("losses", &ours.losses, &reference.losses)?;
    Ok(losses.max(agree("parameters", &ours.params, &reference.params)?))
}

/// What a run has changed in the parameters.
fn change(case: &Case, reference: &Run<Number>) -> Vec<Number> {
    reference.params.iter().zip(&case.params).map(|(&w, &start)| w - Number::from(start)).collect()
}

/// Training runs of each optimizer, in both schedules, against the papers' formulas in f64; and each
/// optimizer against the other rules and against Adam without its correction, which must not pass.
#[test]
fn training_steps_follow_the_papers() {
    let classes = Top {
        activation: Softmax,
        loss: Loss::CrossEntropy,
        targets: TargetKind::Classes,
        weighing: Weighing::Nothing,
    };
    let squared = Top {
        activation: Linear,
        loss: Loss::HalfMeanSquaredError,
        targets: TargetKind::Values,
        weighing: Weighing::Nothing,
    };
    let wrong = Rule::AdamWithoutCorrection { rate: 0.01, beta1: 0.8, beta2: 0.95, epsilon: 1e-8 };
    let mut worst = 0.0;
    for (optimizer, rule) in optimizers() {
        for (hidden, top, batch, penalties) in [
            (Tanh, classes, 1, &[Penalty::NONE][..]),
            (Tanh, squared, 7, &[Penalty::NONE]),
            (LeakyRelu { slope: 0.1 }, classes, 7, &[Penalty::NONE]),
            (Tanh, classes, 1, &[Penalty::l2(0.2), Penalty::elastic_net(0.02, 0.1)]),
            (Tanh, squared, 7, &[Penalty::elastic_net(0.02, 0.1), Penalty::NONE, Penalty::l1(0.05)]),
        ] {
            let case = Case::draw(5, &[33, 7, 3], hidden, top, batch).penalized(penalties);
            let (expected, nearest) = reference_run(&case, rule);
            assert!(nearest > DEVIATIONS, "{}: a step comes near a kink", case.name);
            for isa in Isa::available() {
                for schedule in [Schedule::Batch, Schedule::Lean] {
                    if schedule == Schedule::Lean && batch != 1 {
                        continue;
                    }
                    let ours = our_run(&case, optimizer, isa, schedule);
                    match agree_on_run(&case, &ours, &expected) {
                        Ok(deviations) => worst = f64::max(worst, deviations),
                        Err(error) => panic!("{rule:?}, {} on {isa} in {schedule:?}: {error}", case.name),
                    }
                    for other in optimizers().map(|(_, other)| other).into_iter().chain([wrong]) {
                        let caught = agree_on_run(&case, &ours, &reference_run(&case, other).0);
                        assert!(other == rule || caught.is_err(), "{rule:?} passes for {other:?}");
                    }
                }
            }
        }
    }
    println!("worst error {worst:.2} deviations of {DEVIATIONS}");
}

/// In the batch schedule a step is its gradient and its application, bit for bit.
#[test]
fn step_is_gradient_and_apply() {
    for (turn, top) in tops().into_iter().chain(other_tops()).enumerate() {
        let case = Case::draw(SIZES[turn % 6], &[33, 17, 3], Tanh, top, BATCHES[turn % 3]);
        let case = if turn % 2 == 0 { case } else { case.penalized(&PENALTIES) };
        for isa in Isa::available() {
            for (optimizer, _) in optimizers() {
                let trainer = Trainer::new(Mlp::new(case.layout(), isa), case.loss, optimizer).unwrap();
                let targets = case.targets();
                let mut workspace = vec![0.0; trainer.mlp().workspace_len(case.batch).unwrap()];
                let mut gradient = vec![0.0; case.params.len()];
                let mut fused = (case.params.clone(), vec![0.0; case.layout().optimizer_len(&optimizer)]);
                let mut apart = fused.clone();
                for step in 0..3 {
                    let loss =
                        trainer.train_step(step, &case.x, targets, &mut fused.0, &mut fused.1, &mut workspace).unwrap();
                    let same = trainer.gradient(0, &case.x, targets, &apart.0, &mut gradient, &mut workspace).unwrap();
                    trainer.apply(step, &gradient, &mut apart.0, &mut apart.1).unwrap();
                    assert_eq!(loss.to_bits(), same.to_bits(), "{} on {isa}", case.name);
                    assert_eq!(bits(&fused.0), bits(&apart.0), "{} on {isa}: {optimizer:?}", case.name);
                    assert_eq!(bits(&fused.1), bits(&apart.1), "{} on {isa}: {optimizer:?}", case.name);
                }
                assert_ne!(fused.0, case.params);
            }
        }
    }
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|x| x.to_bits()).collect()
}

/// `Pass::backward`, fed by hand with the delta that the loss has, takes the same step as `train_step`,
/// bit for bit: the squared errors' delta (y − t)·scale at the outputs, the cross-entropies'
/// (y − t)·scale before the activation, in both schedules. The input delta of `Pass::gradient` is that of `Pass::backward`.
#[test]
fn backward_by_hand_is_a_step() {
    for (turn, top) in tops().into_iter().enumerate() {
        let batch = if turn % 2 == 0 { 1 } else { 7 };
        let case = Case::draw(7, &[17, 3], Tanh, top, batch);
        let case = if turn / 2 % 2 == 0 { case } else { case.penalized(&PENALTIES) };
        let (n, outputs) = (case.batch as f32, case.outputs());
        let scale = match case.loss {
            Loss::MeanSquaredError => 2.0 / (n * outputs as f32),
            Loss::BinaryCrossEntropy => 1.0 / (n * outputs as f32),
            _ => 1.0 / n,
        };
        let delta = |y: &[f32]| -> Vec<f32> {
            match &case.targets {
                // The delta of cross-entropy multiplies y by the sum of the targets, here 1 or not; 16 partial sums
                // of 3 targets are these themselves, folded (0 + 2) + 1.
                TargetData::Values(t) if case.loss == Loss::CrossEntropy => {
                    let rows = y.chunks(3).zip(t.chunks(3));
                    rows.flat_map(|(y, t)| {
                        let all = (t[0] + t[2]) + t[1];
                        y.iter().zip(t).map(|(y, t)| (y * all - t) * scale).collect::<Vec<_>>()
                    })
                    .collect()
                }
                TargetData::Values(t) => y.iter().zip(t).map(|(y, t)| (y - t) * scale).collect(),
                TargetData::Classes(classes) => {
                    let right = |i: usize| classes[i / outputs] as usize == i % outputs;
                    (0..y.len()).map(|i| if right(i) { (y[i] - 1.0) * scale } else { y[i] * scale }).collect()
                }
            }
        };
        let squared = matches!(case.loss, Loss::HalfMeanSquaredError | Loss::MeanSquaredError);
        for isa in Isa::available() {
            for schedule in [Schedule::Batch, Schedule::Lean] {
                if schedule == Schedule::Lean && batch != 1 {
                    continue;
                }
                for (optimizer, _) in optimizers() {
                    let what = format!("{} on {isa} in {schedule:?} with {optimizer:?}", case.name);
                    let mlp = Mlp::new(case.layout(), isa).with_schedule(schedule);
                    let trainer = Trainer::new(mlp, case.loss, optimizer).unwrap();
                    let targets = case.targets();
                    let mut workspace = vec![0.0; mlp.workspace_len(batch).unwrap()];
                    let mut step = (case.params.clone(), vec![0.0; case.layout().optimizer_len(&optimizer)]);
                    let mut by_hand = step.clone();
                    trainer.train_step(0, &case.x, targets, &mut step.0, &mut step.1, &mut workspace).unwrap();

                    let mut input_deltas = [vec![f32::NAN; case.x.len()], vec![f32::NAN; case.x.len()]];
                    let pass = mlp.forward(&case.params, &case.x, &mut workspace).unwrap();
                    let delta = delta(pass.outputs());
                    let delta = if squared { Delta::Outputs(&delta) } else { Delta::PreActivations(&delta) };
                    let (params, state) = (&mut by_hand.0, &mut by_hand.1);
                    pass.backward(&optimizer, 0, delta, params, state, Some(&mut input_deltas[0])).unwrap();
                    assert_eq!(bits(&step.0), bits(&by_hand.0), "{what}");
                    assert_eq!(bits(&step.1), bits(&by_hand.1), "{what}");
                    assert_ne!(step.0, case.params, "{what}");

                    let mut gradient = vec![0.0; case.params.len()];
                    let pass = mlp.forward(&case.params, &case.x, &mut workspace).unwrap();
                    pass.gradient(delta, &case.params, &mut gradient, Some(&mut input_deltas[1])).unwrap();
                    assert_eq!(bits(&input_deltas[0]), bits(&input_deltas[1]), "{what}");
                }
            }
        }
    }
}

/// [`tops`] over every hidden activation, and [`other_tops`] each over one.
fn tops_over_hidden() -> Vec<(Top, Activation)> {
    let first = tops().into_iter().flat_map(|top| HIDDEN.map(|hidden| (top, hidden)));
    first.chain(other_tops().into_iter().zip(HIDDEN.into_iter().cycle())).collect()
}

/// Half the squared error of a sample, as a user would write it.
struct HalfSquare;

impl LossFunction for HalfSquare {
    fn value(&self, outputs: &[f32], targets: &[f32]) -> f32 {
        outputs.iter().zip(targets).map(|(y, t)| 0.5 * (y - t) * (y - t)).sum()
    }

    fn derivative(&self, outputs: &[f32], targets: &[f32], derivative: &mut [f32]) {
        assert!(derivative.iter().all(|d| d.to_bits() == 0));
        derivative.iter_mut().zip(outputs.iter().zip(targets)).for_each(|(d, (y, t))| *d = y - t);
    }
}

/// A custom loss that is half the squared error has its gradient, bit for bit, and its loss but for the order of
/// the additions: on every activation, in both schedules, in pieces, under weights and masks.
#[test]
fn a_custom_loss_is_as_good_as_a_built_in_one() {
    for activation in output_activations() {
        for weighing in [Weighing::Nothing, Weighing::SampleWeights, Weighing::Mask, Weighing::Both] {
            for batch in [1, 7] {
                let loss = Loss::HalfMeanSquaredError;
                let top = Top { activation, loss, targets: TargetKind::Values, weighing };
                let mut case = Case::draw(5, &[7, 17], Tanh, top, batch);
                // Samples are masked whole: of several the second.
                if let (Some(mask), TargetData::Values(values)) = (&mut case.mask, &mut case.targets) {
                    for (i, (m, t)) in mask.iter_mut().zip(values).enumerate() {
                        (*m, *t) = if i / 17 == 1 { (0.0, f32::NAN) } else { (1.0, 0.5) };
                    }
                }
                for isa in Isa::available() {
                    let mlp = Mlp::new(case.layout(), isa);
                    let lean = mlp.with_schedule(Schedule::Lean);
                    for mlp in [mlp, mlp.with_threads(3).with_grain(1), lean] {
                        if mlp.schedule() == Schedule::Lean && batch != 1 {
                            continue;
                        }
                        let [built_in, custom] = [loss, Loss::Custom(&HalfSquare)].map(|loss| {
                            let trainer = Trainer::new(mlp, loss, Sgd::new(0.1).into()).unwrap();
                            let mut gradient = vec![f32::NAN; case.params.len()];
                            let mut workspace = vec![f32::NAN; trainer.workspace_len(batch).unwrap()];
                            let targets = case.targets();
                            let loss = trainer
                                .gradient(0, &case.x, targets, &case.params, &mut gradient, &mut workspace)
                                .unwrap();
                            let alone = trainer.loss(&case.x, targets, &case.params, &mut workspace).unwrap();
                            assert_eq!(loss.to_bits(), alone.to_bits());
                            (loss, gradient)
                        });
                        let what = format!("{} on {isa} in {:?}", case.name, mlp.schedule());
                        assert_eq!(bits(&built_in.1), bits(&custom.1), "{what}");
                        assert!((built_in.0 - custom.0).abs() < 1e-5 * built_in.0, "{what}");
                    }
                }
            }
        }
    }
}

/// Class weights are sample weights by class; a weight of a single output's target goes by its side of ½.
#[test]
fn class_weights_are_sample_weights() {
    let (weights, of_samples) = ([0.5, 2.0, 0.25], [3.0, 1.0, 0.5, 2.0, 4.0]);
    let (classes, values) = ([2, 0, 1, 1, 2], [0.7, 0.1, 0.5, 0.9, 0.0]);
    for (outputs, activation, loss) in [(3, Softmax, Loss::CrossEntropy), (1, Sigmoid, Loss::BinaryCrossEntropy)] {
        let layers = [Layer::dense(7, Tanh), Layer::dense(outputs, activation)];
        let draw = &mut Draw(4);
        for isa in Isa::available() {
            for schedule in [Schedule::Batch, Schedule::Lean] {
                let batch = if schedule == Schedule::Lean { 1 } else { 5 };
                let mlp = Mlp::new(Layout::new(3, &layers).unwrap(), isa).with_schedule(schedule);
                let (x, params) = (draw.vec(3 * batch, 1.0), draw.vec(mlp.layout().params_len(), 1.0));
                let targets = match outputs {
                    1 => Targets::values(&values[..batch]),
                    _ => Targets::classes(&classes[..batch]),
                };
                let trainer = Trainer::new(mlp, loss, Sgd::new(0.1).into()).unwrap();
                let weighted = trainer.with_class_weights(&weights[..outputs.max(2)]).unwrap();
                let class = |s: usize| if outputs == 1 { usize::from(values[s] > 0.5) } else { classes[s] as usize };
                let by_class: Vec<f32> = (0..batch).map(|s| weights[class(s)]).collect();
                let both: Vec<f32> = (0..batch).map(|s| of_samples[s] * weights[class(s)]).collect();
                let run = |trainer: Trainer<'_>, targets: Targets<'_>| {
                    let mut gradient = vec![f32::NAN; params.len()];
                    let mut workspace = vec![f32::NAN; trainer.workspace_len(batch).unwrap()];
                    let loss = trainer.gradient(0, &x, targets, &params, &mut gradient, &mut workspace).unwrap();
                    gradient.push(loss);
                    bits(&gradient)
                };
                let plain = run(trainer, targets);
                let expected = run(trainer, targets.with_sample_weights(&by_class));
                assert_eq!(run(weighted, targets), expected);
                assert_ne!(plain, expected);
                let expected = run(trainer, targets.with_sample_weights(&both));
                assert_eq!(run(weighted, targets.with_sample_weights(&of_samples[..batch])), expected);
                // Weights of 1 and a mask of 1 change nothing.
                let ones = [1.0; 15];
                let targets = targets.with_sample_weights(&ones[..batch]).with_mask(&ones[..batch * outputs]);
                assert_eq!(run(trainer, targets), plain);
            }
        }
    }
}

/// Where a mask leaves nothing, loss and gradient are 0.
#[test]
fn a_mask_that_leaves_nothing_gives_zero() {
    for top in other_tops().into_iter().filter(|top| top.weighing == Weighing::Mask) {
        let case = Case::draw(5, &[7, 3], Tanh, top, 1);
        let targets = case.targets().with_mask(&[0.0; 3]);
        for isa in Isa::available() {
            for schedule in [Schedule::Batch, Schedule::Lean] {
                let mlp = Mlp::new(case.layout(), isa).with_schedule(schedule);
                let trainer = Trainer::new(mlp, case.loss, Sgd::new(0.1).into()).unwrap();
                let mut gradient = vec![f32::NAN; case.params.len()];
                let mut workspace = vec![f32::NAN; trainer.workspace_len(1).unwrap()];
                let loss = trainer.gradient(0, &case.x, targets, &case.params, &mut gradient, &mut workspace).unwrap();
                assert_eq!(loss, 0.0, "{}", case.name);
                assert!(gradient.iter().all(|&g| g == 0.0), "{}", case.name);
            }
        }
    }
}

/// The reference's gradient and input delta against central differences of the reference's loss in f64,
/// along random directions that cross no kink: for every top × hidden activation.
#[test]
fn reference_agrees_with_central_differences() {
    const H: f64 = 1e-5;
    let mut worst = 0.0;
    for (top, hidden) in tops_over_hidden() {
        let case = Case::draw(3, &[7, 5, 3], hidden, top, 2);
        let loss = |params: &[f64], x: &[f64]| {
            let network = case.network(&params.iter().map(|&p| Number::from(p)).collect::<Vec<_>>());
            let x: Vec<Number> = x.iter().map(|&x| Number::from(x)).collect();
            let pass = network.forward(x.chunks(case.inputs).map(<[Number]>::to_vec).collect());
            (network.loss(&pass, case.loss, &case.goal()).0.value, sides(&pass, &network, &case))
        };
        let expected = case.expected(None);
        let gradient = values_of(&expected.gradient.gradient());
        let input_delta = values_of(&expected.gradient.inputs.concat());
        let (params, x) = (moved(&case.params, &gradient, 0.0), moved(&case.x, &input_delta, 0.0));
        let here = loss(&params, &x).1;

        let draw = &mut Draw(9);
        let mut tested = 0;
        for _ in 0..100 {
            let (d, e) = (direction(draw, params.len()), direction(draw, x.len()));
            let by_params = |h: f64| loss(&moved(&case.params, &d, h), &x);
            let by_inputs = |h: f64| loss(&params, &moved(&case.x, &e, h));
            if [by_params(H), by_params(-H), by_inputs(H), by_inputs(-H)].iter().any(|(_, sides)| *sides != here) {
                continue;
            }
            for (exact, difference, norm) in [
                (dot(&gradient, &d), central(&|h| by_params(h).0, H), dot(&gradient, &gradient).sqrt()),
                (dot(&input_delta, &e), central(&|h| by_inputs(h).0, H), dot(&input_delta, &input_delta).sqrt()),
            ] {
                // Rounding: 2⁻⁵³·loss/H is about 1e−11; the third derivative's part is about H² = 1e−10.
                assert!(norm > 1e-5, "{}", case.name);
                let error = (exact - difference).abs() / norm.max(1e-3);
                assert!(error < 1e-8, "{}: {exact:e} and {difference:e}", case.name);
                worst = f64::max(worst, error);
            }
            tested += 1;
            if tested == 3 {
                break;
            }
        }
        assert_eq!(tested, 3, "{}: no direction without a kink", case.name);
    }
    println!("worst error {worst:.1e} of the gradient's norm");
}

/// Our own gradient against central differences of our own f32 loss, the reference used only to see
/// that no kink is crossed: Richardson's extrapolation from two steps, whose difference bounds what is
/// left of the higher derivatives.
#[test]
fn gradient_agrees_with_central_differences_of_the_loss() {
    // Rounding is about 1e−7 of the loss, over H; the part of the third derivative is about H².
    const H: f64 = 1.0 / 32.0;
    let mut worst = 0.0;
    for (top, hidden) in tops_over_hidden() {
        let case = Case::draw(3, &[7, 3], hidden, top, 2);
        let mlp = Mlp::new(case.layout(), Isa::detect());
        let trainer = Trainer::new(mlp, case.loss, Sgd::new(0.1).into()).unwrap();
        let mut workspace = vec![0.0; mlp.workspace_len(case.batch).unwrap()];
        let mut gradient = vec![0.0; case.params.len()];
        let targets = case.targets();
        trainer.gradient(0, &case.x, targets, &case.params, &mut gradient, &mut workspace).unwrap();
        let gradient: Vec<f64> = gradient.into_iter().map(f64::from).collect();
        let norm = dot(&gradient, &gradient).sqrt();
        let sides = |params: &[f32]| {
            let network = case.network(&numbers(params));
            sides(&network.forward(reference::rows(&case.x, case.inputs)), &network, &case)
        };
        // The slope along d between two points that are rounded to f32: d is what lies between them.
        let mut slopes = |d: &[f64], h: f64| {
            let ends = [h, -h].map(|h| moved(&case.params, d, h).iter().map(|&p| p as f32).collect::<Vec<f32>>());
            let kinked = ends.iter().any(|end| sides(end) != sides(&case.params));
            let rounded: Vec<f64> =
                ends[0].iter().zip(&ends[1]).map(|(a, b)| (f64::from(*a) - f64::from(*b)) / (2.0 * h)).collect();
            let [right, left] =
                ends.map(|end| f64::from(trainer.loss(&case.x, targets, &end, &mut workspace).unwrap()));
            (!kinked).then_some(((right - left) / (2.0 * h), dot(&gradient, &rounded)))
        };
        let draw = &mut Draw(5);
        let mut tested = 0;
        for _ in 0..1000 {
            let d = direction(draw, case.params.len());
            let (Some((far, _)), Some((near, exact))) = (slopes(&d, 2.0 * H), slopes(&d, H)) else { continue };
            let extrapolated = (4.0 * near - far) / 3.0;
            let error = (extrapolated - exact).abs() / norm;
            assert!(norm > 1e-3, "{}", case.name);
            assert!(error < 1e-3, "{}: {exact:e} and {extrapolated:e} of {norm:e}", case.name);
            worst = f64::max(worst, error);
            tested += 1;
            if tested == 3 {
                break;
            }
        }
        assert_eq!(tested, 3, "{}: no direction without a kink", case.name);
    }
    println!("worst error {worst:.1e} of the gradient's norm");
}
