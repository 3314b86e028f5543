//! Every kind of layer, residual connections and dropout against the f64 network: see [`super`].

mod covering;

use super::reference::compare::{
    DEVIATIONS, Draw, agree_within, central, direction, dot, moved, numbers, telling, values_of,
};
use super::reference::{self, Backward, Fault, Goal, Kind, Network, Number, Spec, State};
use super::{TargetData, TargetKind, Top, Weighing, draw_targets, draw_weighing, hide_masked, target_rows, tops};
use microprop::Activation::{self, *};
use microprop::{Delta, Isa, Layer, Layout, Loss, Mlp, Schedule, Sgd, Targets, Trainer};

/// A network with its data.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    inputs: usize,
    specs: Vec<Spec>,
    layers: Vec<Layer>,
    loss: Loss<'static>,
    batch: usize,
    params: Vec<f32>,
    x: Vec<f32>,
    targets: TargetData,
    weights: Option<Vec<f32>>,
    /// `[batch × outputs]`. Masked target values are NaN.
    mask: Option<Vec<f32>>,
    /// A weight for each class, beside those of the samples.
    class_weights: Option<Vec<f32>>,
    /// A delta of the caller's, `[batch × outputs]`.
    delta: Vec<f32>,
    /// The step of dropout's masks.
    step: u64,
}

/// Seed and first step of dropout's masks.
const SEED: u64 = 0x1234_5678_9abc_def0;
const STEP: u64 = 0x7_0000_0003;

/// What the reference says of a case: in inference, or in training.
struct Expected {
    loss: Number,
    outputs: Vec<Number>,
    gradient: Backward,
    from_outputs: Backward,
    from_pre_activations: Backward,
    nearest_kink: f64,
}

fn dense(units: usize, activation: Activation) -> Spec {
    Spec::new(Kind::Dense { units, bias: true }, activation)
}

fn without_bias(units: usize, activation: Activation) -> Spec {
    Spec::new(Kind::Dense { units, bias: false }, activation)
}

fn of(kind: Kind, activation: Activation) -> Spec {
    Spec::new(kind, activation)
}

fn residual(spec: Spec, span: usize) -> Spec {
    Spec { residual: span, ..spec }
}

fn dropout(spec: Spec, rate: f32) -> Spec {
    Spec { dropout: rate, ..spec }
}

fn embedding(column: usize, categories: usize, dimensions: usize) -> Spec {
    of(Kind::Embedding { column, categories, dimensions }, Linear)
}

const SQUARED: Top = Top {
    activation: Linear,
    loss: Loss::HalfMeanSquaredError,
    targets: TargetKind::Values,
    weighing: Weighing::Nothing,
};

impl Case {
    /// Draws parameters and data until no activation could take another branch in f32 and every layer has a
    /// gradient that tells something. The last layer is a dense one under `top`.
    fn draw(inputs: usize, below: &[Spec], outputs: usize, top: Top, batch: usize) -> Self {
        for seed in 0..500 {
            let case = Self::draw_once(inputs, below, outputs, top, batch, seed);
            let ok = [false, true].into_iter().all(|training| {
                let expected = case.expected(training, None);
                expected.nearest_kink > DEVIATIONS && case.check_telling(&expected).is_ok()
            });
            if ok {
                return case;
            }
        }
        panic!("{top:?} over {below:?}, batch {batch}: no case tells anything");
    }

    fn draw_once(inputs: usize, below: &[Spec], outputs: usize, top: Top, batch: usize, seed: u64) -> Self {
        let draw = &mut Draw(seed);
        let mut specs = below.to_vec();
        specs.push(dense(outputs, top.activation));
        let (mut params, mut statistics, mut width) = (Vec::new(), Vec::new(), inputs);
        let mut x = draw.vec(batch * inputs, 1.0);
        for spec in &specs {
            let (rows, len) = spec.rows(width);
            match spec.kind {
                Kind::Dense { .. } => {
                    params.extend(draw.vec(width * len, (6.0 / (width + len) as f32).sqrt()));
                    params.extend(draw.vec((rows - width) * len, 0.3));
                }
                Kind::LayerNorm | Kind::RmsNorm | Kind::BatchNorm => {
                    params.extend(draw.vec(width, 0.3).iter().map(|g| 1.0 + g));
                    params.extend(draw.vec((rows - 1) * width, 0.3));
                }
                _ => params.extend(draw.vec(rows * len, 1.0)),
            }
            if spec.statistics() > 0 {
                statistics.extend(draw.vec(width, 0.5));
                statistics.extend(draw.vec(width, 0.5).iter().map(|s| 1.0 + s));
            }
            width = spec.outputs(width);
        }
        // Embedded columns hold categories; a normalisation below leaves them alone.
        let mut made = 0;
        for spec in &specs {
            if let Kind::Embedding { column, categories, dimensions } = spec.kind {
                let input = column - made;
                for x in x.chunks_mut(inputs) {
                    x[input] = (draw.bits() % categories as u64) as f32;
                }
                if specs[0].kind == Kind::Normalization {
                    statistics[input] = 0.0;
                    statistics[inputs + input] = 1.0;
                }
                made += dimensions - 1;
            }
        }
        params.extend(statistics);
        let mut targets = draw_targets(draw, top, batch, outputs);
        let delta = draw.vec(batch * outputs, 1.0 / batch as f32);
        let (weights, mask) = draw_weighing(draw, top.weighing, batch, outputs);
        hide_masked(&mut targets, mask.as_deref());
        Self {
            name: format!("{top:?} over {inputs} inputs and {below:?}, batch {batch}, seed {seed}"),
            inputs,
            layers: specs.iter().map(|spec| spec.layer()).collect(),
            specs,
            loss: top.loss,
            batch,
            params,
            x,
            targets,
            weights,
            mask,
            class_weights: None,
            delta,
            step: STEP + seed,
        }
    }

    fn layout(&self) -> Layout<'_> {
        Layout::new(self.inputs, &self.layers).unwrap_or_else(|error| panic!("{}: {error}", self.name))
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
        let outputs = self.layout().outputs();
        let targets = target_rows(&self.targets, outputs);
        let weights = match (&self.weights, &self.class_weights, &self.targets) {
            (None, Some(of_classes), TargetData::Classes(classes)) => {
                Some(classes.iter().map(|&class| Number::from(of_classes[class as usize])).collect())
            }
            (weights, None, _) => weights.as_deref().map(numbers),
            other => panic!("no case has {other:?}"),
        };
        let mask = |mask: &Vec<f32>| mask.chunks(outputs).map(|row| row.iter().map(|&m| m > 0.0).collect()).collect();
        Goal { targets, weights, mask: self.mask.as_ref().map(mask) }
    }

    /// That each part of what is expected is far from zero.
    fn check_telling(&self, expected: &Expected) -> Result<(), String> {
        telling("loss", &[expected.loss])?;
        telling("outputs", &expected.outputs)?;
        for (l, rows) in expected.gradient.layers.iter().enumerate() {
            if !rows.is_empty() && !self.is_undone(l) {
                telling(&format!("gradient of layer {l}"), &rows.concat())?;
            }
        }
        telling("input delta", &expected.gradient.inputs.concat())
    }

    /// Whether a batch norm takes out again what layer `l` does with its parameters: a scale and a shift of each feature.
    fn is_undone(&self, l: usize) -> bool {
        let (this, next) = (&self.specs[l], self.specs.get(l + 1));
        let is_affine = matches!(this.kind, Kind::LayerNorm | Kind::RmsNorm | Kind::BatchNorm);
        let bare = this.activation == Linear && this.dropout == 0.0;
        is_affine && bare && next.is_some_and(|next| next.kind == Kind::BatchNorm && next.residual != 1)
    }

    fn has(&self, kind: Kind) -> bool {
        self.specs.iter().any(|spec| spec.kind == kind)
    }

    /// The reference's network.
    fn network(&self, params: &[Number], training: bool, step: u64) -> Network {
        let network = Network::new(self.inputs, &self.specs, params);
        if !training {
            return network;
        }
        let (mut masks, mut width) = (Vec::new(), self.inputs);
        for (l, spec) in (0..).zip(&self.specs) {
            width = spec.outputs(width);
            let mask = || reference::dropout::mask(spec.dropout, l, SEED, step, self.batch, width);
            masks.push((spec.dropout > 0.0).then(mask));
        }
        network.in_training(masks)
    }

    /// What the reference says, with a wrong derivative if asked to.
    fn expected(&self, training: bool, fault: Option<Fault>) -> Expected {
        let mut network = self.network(&numbers(&self.params), training, self.step);
        if let Some(fault) = fault {
            network = network.with_fault(fault);
        }
        let pass = network.forward(reference::rows(&self.x, self.inputs));
        let (loss, delta) = network.loss(&pass, self.loss, &self.goal());
        let own = reference::rows(&self.delta, self.delta.len() / self.batch);
        let sloped = network.slopes(network.last(), &pass, own.clone());
        let kinks = network.loss_kinks(&pass, self.loss, &self.goal());
        let nearest = kinks.iter().map(|v| v.value.abs() / v.deviation());
        Expected {
            loss,
            outputs: pass.outputs().concat(),
            gradient: network.backward(&pass, delta),
            from_outputs: network.backward(&pass, sloped),
            from_pre_activations: network.backward(&pass, own),
            nearest_kink: nearest.fold(pass.nearest_kink(&network), f64::min),
        }
    }
}

/// Runs everything that differentiates, on one instruction set in one schedule,
/// and compares it; returns the largest error in standard deviations.
fn check(case: &Case, expected: [&Expected; 2], isa: Isa, schedule: Schedule, threads: usize) -> Result<f64, String> {
    let layout = case.layout();
    let mlp = Mlp::new(layout, isa).with_schedule(schedule).with_seed(SEED).with_threads(threads).with_grain(1);
    let mut trainer = Trainer::new(mlp, case.loss, Sgd::new(0.1).into()).unwrap();
    if let Some(weights) = &case.class_weights {
        trainer = trainer.with_class_weights(weights).unwrap();
    }
    // Nothing may depend on what was there before.
    let mut workspace = vec![f32::NAN; mlp.workspace_len(case.batch).unwrap()];
    let mut gradient = vec![f32::NAN; layout.trainable_len()];
    let mut input_delta = vec![f32::NAN; case.x.len()];
    let mut outputs = vec![f32::NAN; expected[0].outputs.len()];
    let targets = case.targets();
    // The mean and the variance of a batch have the same error in all its samples; the reference takes errors for
    // independent.
    let most = if case.has(Kind::BatchNorm) { 2.0 * DEVIATIONS } else { DEVIATIONS };
    let mut worst = 0.0;
    let mut compare = |what: &str, ours: &[f32], reference: &[Number]| -> Result<(), String> {
        worst = f64::max(worst, agree_within(most, what, ours, reference)?);
        Ok(())
    };
    let mut scratch = vec![f32::NAN; mlp.predict_workspace_len(case.batch).unwrap()];
    mlp.predict(&case.params, &case.x, &mut outputs, &mut scratch).unwrap();
    compare("predict", &outputs, &expected[0].outputs)?;
    if !(schedule == Schedule::Lean && case.has(Kind::BatchNorm)) {
        let loss = trainer.loss(&case.x, targets, &case.params, &mut workspace).unwrap();
        compare("loss", &[loss], &[expected[0].loss])?;
        workspace.fill(f32::NAN);
        let loss = trainer.gradient(case.step, &case.x, targets, &case.params, &mut gradient, &mut workspace).unwrap();
        compare("loss beside the gradient", &[loss], &[expected[1].loss])?;
        compare("gradient", &gradient, &expected[1].gradient.gradient())?;
        for (training, expected) in [false, true].into_iter().zip(expected) {
            for (what, delta, backward) in [
                ("outputs", Delta::Outputs(&case.delta), &expected.from_outputs),
                ("pre-activations", Delta::PreActivations(&case.delta), &expected.from_pre_activations),
            ] {
                let what = format!("from a delta of {what}, training {training}");
                workspace.fill(f32::NAN);
                gradient.fill(f32::NAN);
                input_delta.fill(f32::NAN);
                let pass = match training {
                    true => mlp.forward_training(case.step, &case.params, &case.x, &mut workspace).unwrap(),
                    false => mlp.forward(&case.params, &case.x, &mut workspace).unwrap(),
                };
                compare("forward", pass.outputs(), &expected.outputs)?;
                pass.gradient(delta, &case.params, &mut gradient, Some(&mut input_delta)).unwrap();
                compare(&format!("gradient {what}"), &gradient, &backward.gradient())?;
                compare(&format!("input delta {what}"), &input_delta, &backward.inputs.concat())?;
            }
        }
    }
    Ok(worst)
}

/// Checks a case on every instruction set, in every schedule that takes its batch.
fn check_everywhere(case: &Case, software: bool) -> f64 {
    let expected = [case.expected(false, None), case.expected(true, None)];
    let mut worst = 0.0;
    for isa in Isa::available().filter(|isa| software || isa.name() != "scalar-fused") {
        for (schedule, threads) in [(Schedule::Batch, 1), (Schedule::Batch, 3), (Schedule::Lean, 1)] {
            if schedule == Schedule::Lean && case.batch != 1 {
                continue;
            }
            match check(case, expected.each_ref(), isa, schedule, threads) {
                Ok(deviations) => worst = f64::max(worst, deviations),
                Err(error) => panic!("{} on {isa} in {schedule:?}, {threads} threads: {error}", case.name),
            }
        }
    }
    worst
}

/// The kinds that can stand anywhere; those in the middle have `width` inputs and as many outputs.
fn kinds(width: usize) -> [Kind; 6] {
    let dense = |bias| Kind::Dense { units: width, bias };
    [dense(true), dense(false), Kind::Elementwise, Kind::LayerNorm, Kind::RmsNorm, Kind::BatchNorm]
}

/// Every kind × every hidden activation, in the middle of a network, with and without
/// dropout, a residual connection around it.
#[test]
fn every_kind_with_every_activation() {
    let (mut worst, mut count) = (0.0, 0);
    for (turn, activation) in super::HIDDEN.into_iter().enumerate() {
        for (index, kind) in kinds(7).into_iter().enumerate() {
            for follows in 0..4 {
                let spec = Spec { residual: follows & 1, ..of(kind, activation) };
                let spec = dropout(spec, if follows & 2 == 0 { 0.0 } else { 0.4 });
                let batch = [1, 2, 31][(turn + index + follows) % 3];
                // A batch of one is no batch: its own mean takes everything away.
                let batch = if kind == Kind::BatchNorm { batch.max(5) } else { batch };
                let case = Case::draw(5, &[dense(7, Tanh), spec], 3, SQUARED, batch);
                worst = f64::max(worst, check_everywhere(&case, count % 8 == 0));
                count += 1;
            }
        }
    }
    println!("{count} cases, worst error {worst:.2} deviations of {DEVIATIONS}");
}

/// Networks in which layers meet: at the inputs, at the outputs, above one another, with connections that cross.
fn networks() -> Vec<(usize, Vec<Spec>)> {
    let norm = |activation| of(Kind::LayerNorm, activation);
    let rms = |activation| of(Kind::RmsNorm, activation);
    let batch = |activation| of(Kind::BatchNorm, activation);
    let normalization = of(Kind::Normalization, Linear);
    let plain = |activation| of(Kind::Elementwise, activation);
    vec![
        (4, vec![normalization, dense(5, Tanh)]),
        (4, vec![normalization, embedding(1, 3, 2), dense(5, Tanh)]),
        (4, vec![embedding(0, 4, 3), embedding(3, 5, 2), dense(9, Relu)]),
        (3, vec![embedding(2, 7, 18), dense(17, Sigmoid)]),
        (5, vec![norm(Tanh)]),
        (5, vec![rms(Sigmoid)]),
        (17, vec![batch(Linear)]),
        (6, vec![dropout(plain(Linear), 0.3), dense(18, Relu)]),
        (5, vec![without_bias(33, Linear), batch(Relu), without_bias(9, Linear), batch(Tanh)]),
        (5, vec![batch(Tanh), batch(Linear), norm(Tanh), rms(Linear)]),
        (6, vec![residual(dense(6, Tanh), 1), residual(dense(6, Tanh), 2), residual(dense(6, Relu), 3)]),
        (6, vec![dense(8, Tanh), residual(dense(8, Tanh), 1), dense(8, Relu), residual(dense(8, Tanh), 3)]),
        (6, vec![dense(8, Tanh), dropout(residual(norm(Relu), 1), 0.2), dropout(residual(dense(8, Tanh), 2), 0.5)]),
        (33, vec![norm(Linear), dropout(dense(40, Relu), 0.5), residual(dense(33, Linear), 3), rms(Linear)]),
        (70, vec![dropout(dense(130, Sigmoid), 0.25), dropout(dense(70, Tanh), 0.1), norm(Tanh)]),
        (5, vec![dense(6, Tanh), batch(Relu), residual(dense(6, Linear), 2), batch(Tanh), residual(plain(Sigmoid), 3)]),
        (1, vec![dense(1, Tanh), without_bias(1, Linear), dense(2, Tanh)]),
    ]
}

#[test]
fn layers_that_meet() {
    let mut worst = 0.0;
    for (turn, (inputs, below)) in networks().into_iter().enumerate() {
        let batch_norm = below.iter().any(|spec| spec.kind == Kind::BatchNorm);
        for batch in if batch_norm { [3, 70, 300] } else { [1, 3, 70] } {
            let case = Case::draw(inputs, &below, [1, 3, 20][turn % 3], SQUARED, batch);
            worst = f64::max(worst, check_everywhere(&case, batch == 3));
        }
    }
    println!("worst error {worst:.2} deviations of {DEVIATIONS}");
}

/// The last layer adds what a connection brings, whatever loss and activation stand above it.
#[test]
fn every_loss_over_a_residual_connection() {
    for (turn, top) in tops().into_iter().enumerate() {
        let batch = [1, 7][turn % 2];
        let mut case = Case::draw(4, &[of(Kind::RmsNorm, Tanh), dense(3, Tanh)], 3, top, batch);
        case.specs[2].residual = 1;
        case.layers[2] = case.specs[2].layer();
        if case.expected(true, None).nearest_kink > DEVIATIONS {
            check_everywhere(&case, false);
        }
    }
}

/// The check reports each wrong derivative, on a case that it passes with the right one.
#[test]
fn wrong_derivatives_of_layers_are_caught() {
    let norm = of(Kind::LayerNorm, Linear);
    let batch = of(Kind::BatchNorm, Tanh);
    for (fault, inputs, below) in [
        (Fault::DropoutOnlyForward, 5, vec![dropout(dense(7, Tanh), 0.4)]),
        (Fault::ResidualOnlyForward, 5, vec![dense(7, Tanh), residual(dense(7, Tanh), 1)]),
        (Fault::ResidualOnlyForward, 5, vec![dense(6, Tanh), dense(6, Relu), residual(norm, 2)]),
        (Fault::NormMeanConstant, 5, vec![dense(7, Tanh), norm]),
        (Fault::NormMeanConstant, 5, vec![dense(7, Tanh), batch]),
        (Fault::NormVarianceConstant, 5, vec![dense(7, Tanh), norm]),
        (Fault::NormVarianceConstant, 5, vec![dense(7, Tanh), of(Kind::RmsNorm, Linear)]),
        (Fault::NormVarianceConstant, 5, vec![dense(7, Tanh), batch]),
        (Fault::NormScale, 5, vec![dense(7, Tanh), norm]),
        (Fault::NormScale, 5, vec![dense(7, Tanh), batch]),
        (Fault::NormUnscaled, 5, vec![dense(7, Tanh), of(Kind::RmsNorm, Linear)]),
        (Fault::NormUnscaled, 5, vec![dense(7, Tanh), batch]),
        (Fault::LastCategory, 3, vec![embedding(1, 3, 2), dense(5, Tanh)]),
        (Fault::Standardized, 3, vec![of(Kind::Normalization, Linear), dense(5, Tanh)]),
        (Fault::NoBias, 3, vec![embedding(1, 3, 2), dense(5, Tanh)]),
    ] {
        let case = Case::draw(inputs, &below, 3, SQUARED, 31);
        let right = [case.expected(false, None), case.expected(true, None)];
        let wrong = [case.expected(false, Some(fault)), case.expected(true, Some(fault))];
        for isa in Isa::available() {
            let error = |error| panic!("{}: {error}", case.name);
            check(&case, right.each_ref(), isa, Schedule::Batch, 1).unwrap_or_else(error);
            assert!(
                check(&case, wrong.each_ref(), isa, Schedule::Batch, 1).is_err(),
                "{fault:?} passes: {} on {isa}",
                case.name
            );
        }
    }
}

/// The reference's gradient in training against central differences of its own loss in f64.
#[test]
fn reference_layers_agree_with_central_differences() {
    const H: f64 = 1e-5;
    for (inputs, below) in networks() {
        if inputs > 20 {
            continue;
        }
        let case = Case::draw(inputs, &below, 2, SQUARED, 5);
        let trainable = case.layout().trainable_len();
        let loss = |params: &[f64], x: &[f64]| {
            let params: Vec<Number> = params.iter().map(|&p| Number::from(p)).collect();
            let network = case.network(&params, true, case.step);
            let x: Vec<Number> = x.iter().map(|&x| Number::from(x)).collect();
            let pass = network.forward(x.chunks(case.inputs).map(<[Number]>::to_vec).collect());
            (network.loss(&pass, case.loss, &case.goal()).0.value, pass.sides())
        };
        let expected = case.expected(true, None);
        let gradient = values_of(&expected.gradient.gradient());
        let input_delta = values_of(&expected.gradient.inputs.concat());
        let (params, x) = (moved(&case.params, &vec![0.0; case.params.len()], 0.0), moved(&case.x, &input_delta, 0.0));
        let here = loss(&params, &x).1;
        let draw = &mut Draw(9);
        let mut tested = 0;
        for _ in 0..100 {
            let mut d = direction(draw, trainable);
            let exact = dot(&gradient, &d);
            d.resize(params.len(), 0.0);
            // Categories stay what they are.
            let mut e = direction(draw, x.len());
            for (e, &x) in e.iter_mut().zip(&x) {
                *e *= f64::from(u8::from(x.fract() != 0.0));
            }
            let by_params = |h: f64| loss(&moved(&case.params, &d, h), &x);
            let by_inputs = |h: f64| loss(&params, &moved(&case.x, &e, h));
            if [by_params(H), by_params(-H), by_inputs(H), by_inputs(-H)].iter().any(|(_, sides)| *sides != here) {
                continue;
            }
            for (exact, difference, norm) in [
                (exact, central(&|h| by_params(h).0, H), dot(&gradient, &gradient).sqrt()),
                (dot(&input_delta, &e), central(&|h| by_inputs(h).0, H), dot(&input_delta, &input_delta).sqrt()),
            ] {
                assert!(norm > 1e-3, "{}", case.name);
                let error = (exact - difference).abs() / norm;
                assert!(error < 1e-7, "{}: {exact:e} and {difference:e}", case.name);
            }
            tested += 1;
            if tested == 3 {
                break;
            }
        }
        assert_eq!(tested, 3, "{}: no direction without a kink", case.name);
    }
}

/// Whole training runs of every network, running statistics included, with an optimizer that
/// has state; in both schedules.
#[test]
fn runs_of_layers_follow_the_reference() {
    // From step to step errors are no longer independent, as the reference takes them to be: that of a delta is in all
    // weights of its unit, and comes back as their sum. The more inputs, the more it shows.
    const MOST: f64 = 2.0 * DEVIATIONS;
    for (turn, (inputs, below)) in networks().into_iter().enumerate().filter(|(_, (inputs, _))| *inputs < 20) {
        let batch_norm = below.iter().any(|spec| spec.kind == Kind::BatchNorm);
        for batch in if batch_norm { [7, 31] } else { [1, 7] } {
            let (optimizer, rule) = super::optimizers()[turn % 4];
            let mut case = Case::draw(inputs, &below, 2, SQUARED, batch);
            let mut params = numbers(&case.params);
            let trainable = case.layout().trainable_len();
            let mut state = State::new(trainable);
            let (mut losses, mut nearest) = (Vec::new(), f64::INFINITY);
            const STEPS: u64 = 4;
            for step in 0..STEPS {
                let network = case.network(&params, true, step);
                let pass = network.forward(reference::rows(&case.x, case.inputs));
                nearest = nearest.min(pass.nearest_kink(&network));
                let (loss, delta) = network.loss(&pass, case.loss, &case.goal());
                losses.push(loss);
                let gradient = network.backward(&pass, delta).gradient();
                let statistics = network.moved_statistics(&pass);
                rule.apply(step as i32, &gradient, &mut params[..trainable], &mut state);
                params.truncate(trainable);
                params.extend(statistics);
            }
            if nearest < DEVIATIONS {
                continue;
            }
            case.name += &format!(", {rule:?}");
            for isa in Isa::available() {
                for schedule in [Schedule::Batch, Schedule::Lean] {
                    if schedule == Schedule::Lean && batch != 1 {
                        continue;
                    }
                    let mlp = Mlp::new(case.layout(), isa).with_schedule(schedule).with_seed(SEED);
                    let trainer = Trainer::new(mlp, case.loss, optimizer).unwrap();
                    let mut ours = case.params.clone();
                    let mut state = vec![0.0; case.layout().optimizer_len(&optimizer)];
                    let mut workspace = vec![f32::NAN; mlp.workspace_len(batch).unwrap()];
                    let targets = case.targets();
                    let mut step = |step| {
                        trainer.train_step(step, &case.x, targets, &mut ours, &mut state, &mut workspace).unwrap()
                    };
                    let found: Vec<f32> = (0..STEPS).map(&mut step).collect();
                    let what = format!("{} on {isa} in {schedule:?}", case.name);
                    agree_within(MOST, "losses", &found, &losses).unwrap_or_else(|error| panic!("{what}: {error}"));
                    agree_within(MOST, "parameters", &ours, &params).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
            }
        }
    }
}
