//! Each member of an ensemble ends with the bits of its solo run: every layer, activation, loss and optimizer, shared
//! and own samples, instruction sets, threads, numbers of members.

use microprop::Activation::*;
use microprop::Loss::{
    BinaryCrossEntropy, BinaryCrossEntropyOfProbabilities, CrossEntropy, CrossEntropyOfProbabilities,
    HalfMeanSquaredError, Hinge, Huber, KullbackLeibler, LogCosh, MeanAbsoluteError, MeanSquaredError, Poisson,
    Quantile, SmoothedBinaryCrossEntropy, SmoothedCrossEntropy,
};
use microprop::{
    Activation, Adam, Buffer, Ensemble, EnsembleError, EpsilonPlacement, Isa, Layer, Layout, Loss, LossFunction,
    Member, MemberInputs, MemberTargets, Mlp, Optimizer, Penalty, Rng, Schedule, Sgd, StepError, Targets, Trainer,
};

const STEPS: u64 = 4;

/// A network and how it is trained.
struct Case {
    name: String,
    inputs: usize,
    layers: Vec<Layer>,
    loss: Loss<'static>,
    optimizer: Optimizer,
    batch: usize,
    weighted: bool,
    masked: bool,
}

impl Case {
    fn new(
        inputs: usize,
        layers: &[Layer],
        loss: Loss<'static>,
        optimizer: impl Into<Optimizer>,
        batch: usize,
    ) -> Self {
        let optimizer = optimizer.into();
        let name = layers.iter().fold(inputs.to_string(), |name, layer| format!("{name}, {layer}"));
        let name = format!("{name}; {loss}, {optimizer:?}, batch {batch}");
        Self { name, inputs, layers: layers.to_vec(), loss, optimizer, batch, weighted: false, masked: false }
    }

    fn layout(&self) -> Layout<'_> {
        Layout::new(self.inputs, &self.layers).unwrap()
    }

    fn has_batch_norm(&self) -> bool {
        self.layers.iter().any(|layer| layer.to_string().starts_with("batch norm"))
    }
}

/// (The sum of |y − t|)², which has one addend per sample.
struct Custom;

impl LossFunction for Custom {
    fn value(&self, outputs: &[f32], targets: &[f32]) -> f32 {
        outputs.iter().zip(targets).map(|(y, t)| (y - t).abs()).sum::<f32>().powi(2)
    }

    fn derivative(&self, outputs: &[f32], targets: &[f32], derivative: &mut [f32]) {
        let sum: f32 = outputs.iter().zip(targets).map(|(y, t)| (y - t).abs()).sum();
        derivative
            .iter_mut()
            .zip(outputs.iter().zip(targets))
            .for_each(|(d, (y, t))| *d = 2.0 * sum * (y - t).signum());
    }
}

/// The samples of all steps and members, `[steps × members × batch × …]`.
struct Data {
    x: Vec<f32>,
    values: Vec<f32>,
    classes: Vec<u32>,
    weights: Vec<f32>,
    mask: Vec<f32>,
}

impl Data {
    fn new(case: &Case, members: usize) -> Self {
        let (samples, outputs) = (STEPS as usize * members * case.batch, case.layout().outputs());
        let mut rng = Rng::with_stream(7, 1000);
        let mut x: Vec<f32> = (0..samples * case.inputs).map(|_| 2.0 * rng.uniform() - 1.0).collect();
        x.iter_mut().step_by(5).for_each(|x| *x = 0.0); // plain lean SGD leaves these rows out
        let sign = |t: f32| if t < 0.5 { -1.0 } else { 1.0 };
        let values = (0..samples * outputs).map(|_| rng.uniform());
        let values = values.map(|t| if case.loss == Hinge { sign(t) } else { t }).collect();
        let classes = (0..samples).map(|_| rng.below(outputs as u32)).collect();
        let weights = (0..samples).map(|_| 2.0 * rng.uniform()).collect();
        let partial = !matches!(case.loss, Loss::Custom(_));
        let mut mask: Vec<f32> = (0..samples * outputs).map(|_| f32::from(u8::from(rng.uniform() < 0.7))).collect();
        if !partial {
            mask.chunks_mut(outputs).for_each(|mask| mask.fill(mask[0]));
        }
        Self { x, values, classes, weights, mask }
    }

    /// Samples `from..to`, counted through all.
    fn targets(&self, case: &Case, from: usize, to: usize) -> Targets<'_> {
        let outputs = case.layout().outputs();
        let of_outputs = from * outputs..to * outputs;
        let takes_classes = matches!(case.loss, CrossEntropy | SmoothedCrossEntropy { .. });
        let mut targets = if takes_classes && case.batch % 2 == 1 {
            Targets::classes(&self.classes[from..to])
        } else {
            Targets::values(&self.values[of_outputs.clone()])
        };
        if case.weighted {
            targets = targets.with_sample_weights(&self.weights[from..to]);
        }
        if case.masked {
            targets = targets.with_mask(&self.mask[of_outputs]);
        }
        targets
    }

    fn inputs(&self, case: &Case, from: usize, to: usize) -> &[f32] {
        &self.x[from * case.inputs..to * case.inputs]
    }
}

/// How it is run. None of it may change a bit.
#[derive(Clone, Copy, Debug)]
struct How {
    isa: Isa,
    schedule: Schedule,
    members: usize,
    threads: usize,
    own: bool,
    interleaved: bool,
}

impl How {
    fn mlp<'a>(&self, layout: Layout<'a>) -> Mlp<'a> {
        Mlp::new(layout, self.isa).with_schedule(self.schedule).with_threads(self.threads).with_grain(1)
    }

    /// `None` where members of such layers can't be interleaved.
    fn ensemble<'a>(&self, case: &'a Case, all: &'a [Member]) -> Option<Ensemble<'a>> {
        let trainer = Trainer::new(self.mlp(case.layout()), case.loss, case.optimizer).unwrap();
        let ensemble = Ensemble::new(trainer, all).unwrap().with_grain(1);
        match ensemble.interleaved() {
            _ if !self.interleaved => Some(ensemble),
            Ok(interleaved) => Some(interleaved),
            Err(EnsembleError::Interleaved { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The samples of a member in a step, counted through all.
    fn samples(&self, batch: usize, step: u64, member: usize) -> (usize, usize) {
        let start = (step as usize * self.members + if self.own { member } else { 0 }) * batch;
        (start, start + batch)
    }
}

fn members(count: usize) -> Vec<Member> {
    (0..count).map(|m| Member { seed: 7 + m as u64 / 2, learning_rate: 0.01 * (1 + m % 5) as f32 }).collect()
}

/// What a member ends with: its losses, parameters, state and predictions.
#[derive(Debug, PartialEq)]
struct End([Vec<u32>; 4]);

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn solo(case: &Case, how: How, data: &Data, member: usize) -> End {
    let Member { seed, learning_rate } = members(how.members)[member];
    let layout = case.layout();
    let optimizer = case.optimizer.with_learning_rate(learning_rate);
    let mlp = how.mlp(layout).with_seed(seed);
    let trainer = Trainer::new(mlp, case.loss, optimizer).unwrap();
    let mut params = vec![0.0; layout.params_len()];
    microprop::init(&layout, seed, &mut params).unwrap();
    let mut state = vec![0.0; layout.optimizer_len(&optimizer)];
    let len = trainer.workspace_len(case.batch).unwrap().max(mlp.predict_workspace_len(case.batch).unwrap());
    let mut workspace = vec![f32::NAN; len];
    let mut losses = vec![];
    for step in 0..STEPS {
        let (from, to) = how.samples(case.batch, step, member);
        let (x, targets) = (data.inputs(case, from, to), data.targets(case, from, to));
        losses.push(trainer.train_step(step, x, targets, &mut params, &mut state, &mut workspace).unwrap());
    }
    let (from, to) = how.samples(case.batch, 0, member);
    let mut y = vec![0.0; case.batch * layout.outputs()];
    mlp.predict(&params, data.inputs(case, from, to), &mut y, &mut workspace).unwrap();
    End([losses, params, state, y].map(|x| bits(&x)))
}

fn together(case: &Case, how: How, ensemble: &Ensemble, data: &Data) -> Vec<End> {
    let layout = case.layout();
    let count = how.members;
    let mut params = vec![0.0; ensemble.params_len()];
    let mut state = vec![0.0; ensemble.state_len()];
    ensemble.init(&mut params).unwrap();
    let len = ensemble.workspace_len(case.batch).unwrap().max(ensemble.predict_workspace_len(case.batch).unwrap());
    let mut workspace = vec![f32::NAN; len];
    let mut losses = vec![vec![0.0; count]; STEPS as usize];
    let inputs = |step: u64| {
        let ((from, _), (_, to)) = (how.samples(case.batch, step, 0), how.samples(case.batch, step, count - 1));
        let x = data.inputs(case, from, to);
        (from, to, if how.own { MemberInputs::Own(x) } else { MemberInputs::Shared(x) })
    };
    for (step, losses) in (0..).zip(&mut losses) {
        let (from, to, inputs) = inputs(step);
        let targets = data.targets(case, from, to);
        let targets = if how.own { MemberTargets::Own(targets) } else { MemberTargets::Shared(targets) };
        let trained = ensemble.train_step(step, inputs, targets, &mut params, &mut state, &mut workspace, losses);
        assert_eq!(trained, Ok(count), "{}, {how:?}", case.name);
    }
    let mut y = vec![0.0; count * case.batch * layout.outputs()];
    ensemble.predict(inputs(0).2, &params, &mut y, &mut workspace).unwrap();
    let end = |member: usize| {
        let mut own = vec![0.0; layout.params_len()];
        ensemble.extract(member, &params, &mut own).unwrap();
        let mut own_state = vec![0.0; layout.optimizer_len(&case.optimizer)];
        ensemble.extract_state(member, &state, &mut own_state).unwrap();
        let losses: Vec<f32> = losses.iter().map(|losses| losses[member]).collect();
        let y = &y[member * case.batch * layout.outputs()..][..case.batch * layout.outputs()];
        End([bits(&losses), bits(&own), bits(&own_state), bits(y)])
    };
    (0..count).map(end).collect()
}

/// Runs a case in all ways of these.
fn check(case: &Case, counts: &[usize]) {
    for &count in counts {
        let all = members(count);
        let data = Data::new(case, count);
        for isa in Isa::available() {
            // Fused scalar is software.
            if isa.name() == "scalar-fused" && count * case.batch * case.layout().params_len() > 20_000 {
                continue;
            }
            for schedule in [Schedule::Batch, Schedule::Lean] {
                if schedule == Schedule::Lean && (case.batch > 1 || case.has_batch_norm()) {
                    continue;
                }
                for own in [false, true] {
                    let how = How { isa, schedule, members: count, threads: 1, own, interleaved: false };
                    let alone: Vec<End> = (0..count).map(|member| solo(case, how, &data, member)).collect();
                    for (threads, interleaved) in [(1, false), (3, false), (1, true), (3, true)] {
                        let how = How { threads, interleaved, ..how };
                        let Some(ensemble) = how.ensemble(case, &all) else { continue };
                        let ends = together(case, how, &ensemble, &data);
                        for (member, (end, alone)) in ends.iter().zip(&alone).enumerate() {
                            assert_eq!(end, alone, "member {member} of {}, {how:?}", case.name);
                        }
                    }
                }
            }
        }
    }
}

fn dense(units: usize, activation: Activation) -> Layer {
    Layer::dense(units, activation)
}

fn optimizers() -> [Optimizer; 5] {
    let keras = Adam::new(0.01).epsilon(1e-7, EpsilonPlacement::Uncorrected);
    [
        Sgd::new(0.1).into(),
        Sgd::new(0.1).momentum(0.9).into(),
        Sgd::new(0.1).nesterov(0.9).into(),
        Adam::new(0.01).into(),
        keras.into(),
    ]
}

/// Shapes of every kind of sum: 1 output, 2 to 16, more; over a block of 256 in inputs, outputs and samples.
#[test]
fn shapes_and_optimizers() {
    let mut cases = vec![
        Case::new(20, &[dense(64, Relu), dense(1, Sigmoid)], BinaryCrossEntropy, Sgd::new(0.1), 32),
        Case::new(1, &[dense(1, Linear)], MeanSquaredError, Sgd::new(0.1), 1),
        Case::new(3, &[dense(2, Tanh), dense(17, Tanh)], MeanSquaredError, Adam::new(0.1), 3),
        Case::new(19, &[dense(16, Relu), dense(33, Relu), dense(7, Softmax)], CrossEntropy, Sgd::new(0.1), 5),
        Case::new(259, &[dense(3, Tanh), dense(259, Tanh), dense(2, Linear)], MeanSquaredError, Sgd::new(0.1), 1),
        Case::new(5, &[dense(4, Tanh), dense(1, Linear)], MeanSquaredError, Sgd::new(0.1).momentum(0.9), 259),
    ];
    for optimizer in optimizers() {
        let layers = [dense(64, Relu), dense(8, Tanh), dense(4, Linear)];
        cases.push(Case::new(6, &layers, HalfMeanSquaredError, optimizer, 1));
        cases.push(Case::new(6, &layers, HalfMeanSquaredError, optimizer, 3));
        let penalties = [Penalty::l1(0.01), Penalty::l2(0.1), Penalty::elastic_net(0.01, 0.1)];
        let layers: Vec<Layer> = layers.iter().zip(penalties).map(|(layer, p)| layer.with_penalty(p)).collect();
        cases.push(Case::new(6, &layers, HalfMeanSquaredError, optimizer, 1));
        cases.push(Case::new(6, &layers, HalfMeanSquaredError, optimizer, 2));
    }
    cases.iter().for_each(|case| check(case, &[5, 16]));
    // Blocks of 16 that are whole and not, shares of several.
    check(&cases[0], &[1, 15, 17, 32, 33, 50]);
}

#[test]
fn activations() {
    let all = [
        Linear,
        Relu,
        LeakyRelu { slope: 0.3 },
        Elu { alpha: 0.7 },
        Selu,
        Gelu,
        GeluTanh,
        Silu,
        Mish,
        Softplus,
        Softsign,
        Sigmoid,
        HardSigmoid,
        HardSwish,
        Tanh,
    ];
    for activation in all {
        let layers = [
            dense(9, activation).with_dropout(0.25),
            Layer::dropout(0.1),
            Layer::elementwise(activation),
            dense(18, activation).without_bias(),
            dense(3, activation).without_bias(),
        ];
        for batch in [1, 2] {
            check(&Case::new(7, &layers, MeanSquaredError, Sgd::new(0.1).momentum(0.9), batch), &[3]);
            check(&Case::new(7, &layers, MeanAbsoluteError, Sgd::new(0.1), batch), &[18]);
        }
    }
}

/// Every loss on every kind of output that it goes with, and with weights and masks.
#[test]
fn losses() {
    let with_all = [
        HalfMeanSquaredError,
        MeanSquaredError,
        MeanAbsoluteError,
        Huber { delta: 0.3 },
        LogCosh,
        Quantile { quantile: 0.7 },
        Poisson,
        Hinge,
        BinaryCrossEntropyOfProbabilities,
        CrossEntropyOfProbabilities,
        KullbackLeibler,
        Loss::Custom(&Custom),
    ];
    let on_all = [Sigmoid, Softplus, Softmax, Gelu].into_iter();
    let mut pairs: Vec<(Loss, Activation)> = on_all.flat_map(|on| with_all.map(|loss| (loss, on))).collect();
    pairs.retain(|&pair| pair != (Poisson, Gelu)); // a mean below zero has no logarithm
    let smoothing = 0.1;
    pairs.extend([(BinaryCrossEntropy, Sigmoid), (SmoothedBinaryCrossEntropy { smoothing }, Sigmoid)]);
    pairs.extend([(CrossEntropy, Softmax), (SmoothedCrossEntropy { smoothing }, Softmax)]);
    for (loss, on) in pairs {
        for (outputs, batch) in [(1, 3), (5, 1), (18, 2)] {
            let case = Case::new(4, &[dense(6, Tanh), dense(outputs, on)], loss, Sgd::new(0.1), batch);
            for (weighted, masked) in [(false, false), (true, false), (false, true), (true, true)] {
                check(&Case { weighted, masked, ..Case::new(4, &case.layers, loss, case.optimizer, batch) }, &[3]);
            }
        }
    }
}

/// Layers of the other kinds.
#[test]
fn layers() {
    let residual = [
        Layer::normalization(),
        dense(9, Gelu).without_bias(),
        Layer::batch_norm(Relu),
        dense(9, Silu).with_residual(1),
        Layer::layer_norm(Mish).with_dropout(0.2),
        Layer::rms_norm(HardSwish).with_residual(3),
        dense(5, Softmax),
    ];
    check(&Case::new(6, &residual, CrossEntropy, Adam::new(0.01), 9), &[3]);
    let without_batch_norm = [&residual[3..4], &residual[4..]].concat();
    check(&Case::new(9, &without_batch_norm, CrossEntropy, Adam::new(0.01), 1), &[3]);
}

const MEMBERS: usize = 18;

/// An ensemble of [`MEMBERS`], by member or interleaved, with its buffers.
struct Setup<'a> {
    ensemble: Ensemble<'a>,
    params: Vec<f32>,
    state: Vec<f32>,
    workspace: Vec<f32>,
    losses: Vec<f32>,
}

impl<'a> Setup<'a> {
    fn new(case: &'a Case, schedule: Schedule, all: &'a [Member], interleaved: bool) -> Self {
        let mlp = Mlp::new(case.layout(), Isa::detect()).with_schedule(schedule);
        let ensemble = Ensemble::new(Trainer::new(mlp, case.loss, case.optimizer).unwrap(), all).unwrap();
        let ensemble = if interleaved { ensemble.interleaved().unwrap() } else { ensemble };
        let mut params = vec![0.0; ensemble.params_len()];
        ensemble.init(&mut params).unwrap();
        let (state, losses) = (vec![0.0; ensemble.state_len()], vec![0.5; all.len()]);
        let workspace = vec![f32::NAN; ensemble.workspace_len(case.batch).unwrap()];
        Self { ensemble, params, state, workspace, losses }
    }

    fn step(&mut self, step: u64, x: &[f32], targets: MemberTargets) -> Result<usize, StepError> {
        let Self { ensemble, params, state, workspace, losses } = self;
        ensemble.train_step(step, MemberInputs::Own(x), targets, params, state, workspace, losses)
    }

    /// Parameters and state of a member.
    fn member(&self, member: usize) -> [Vec<f32>; 2] {
        let trainer = self.ensemble.trainer();
        let layout = trainer.mlp().layout();
        let mut params = vec![0.0; layout.params_len()];
        self.ensemble.extract(member, &self.params, &mut params).unwrap();
        let mut state = vec![0.0; layout.optimizer_len(trainer.optimizer())];
        self.ensemble.extract_state(member, &self.state, &mut state).unwrap();
        [params, state]
    }

    fn bits(&self) -> [Vec<u32>; 3] {
        [&self.params, &self.state, &self.losses].map(|x| bits(x))
    }
}

/// A member whose loss is not finite keeps what it has and comes back when its samples do; the others train on.
#[test]
fn one_diverges_and_the_others_train_on() {
    let penalty = Penalty::l2(0.1);
    for (optimizer, schedule, batch) in optimizers().into_iter().flat_map(|optimizer| {
        [(optimizer, Schedule::Lean, 1), (optimizer, Schedule::Batch, 1), (optimizer, Schedule::Batch, 3)]
    }) {
        let layers = [dense(9, Tanh).with_penalty(penalty), dense(17, Relu), dense(3, Linear)];
        let case = Case::new(5, &layers, MeanSquaredError, optimizer, batch);
        let (all, data) = (members(MEMBERS), Data::new(&case, MEMBERS));
        for interleaved in [false, true] {
            let [mut sound, mut ill] = [(); 2].map(|()| Setup::new(&case, schedule, &all, interleaved));
            let samples = MEMBERS * batch;
            for step in 0..3 {
                let from = step as usize * samples;
                let x = data.inputs(&case, from, from + samples);
                let targets = MemberTargets::Own(data.targets(&case, from, from + samples));
                let before = ill.member(7);
                assert_eq!(sound.step(step, x, targets), Ok(MEMBERS));
                if step == 1 {
                    let mut values = data.values[from * 3..(from + samples) * 3].to_vec();
                    values[7 * batch * 3] = f32::INFINITY;
                    let targets = MemberTargets::Own(Targets::values(&values));
                    assert_eq!(ill.step(step, x, targets), Ok(MEMBERS - 1), "{}", case.name);
                    assert_eq!(ill.losses[7], f32::INFINITY);
                    assert_eq!(ill.member(7).map(|x| bits(&x)), before.map(|x| bits(&x)), "{}", case.name);
                } else {
                    assert_eq!(ill.step(step, x, targets), Ok(MEMBERS));
                }
            }
            assert!(ill.losses[7].is_finite() && ill.member(7) != sound.member(7));
            for member in (0..MEMBERS).filter(|&member| member != 7) {
                assert_eq!(ill.losses[member].to_bits(), sound.losses[member].to_bits());
                let [ill, sound] = [&ill, &sound].map(|setup| setup.member(member).map(|x| bits(&x)));
                assert_eq!(ill, sound, "member {member} of {}", case.name);
            }
        }
    }
}

/// Members go from one order of memory to the other and on, parameters and state.
#[test]
fn members_move() {
    let case = Case::new(5, &[dense(9, Tanh), dense(3, Linear)], MeanSquaredError, Adam::new(0.01), 2);
    let (all, data) = (members(MEMBERS), Data::new(&case, MEMBERS));
    let [mut stays, mut leaves] = [(); 2].map(|()| Setup::new(&case, Schedule::Batch, &all, false));
    let mut arrives = Setup::new(&case, Schedule::Batch, &all, true);
    let x = data.inputs(&case, 0, 2 * MEMBERS);
    let targets = MemberTargets::Own(data.targets(&case, 0, 2 * MEMBERS));
    stays.step(0, x, targets).unwrap();
    leaves.step(0, x, targets).unwrap();
    arrives.params.fill(f32::NAN);
    for member in 0..MEMBERS {
        let [params, state] = leaves.member(member);
        arrives.ensemble.insert(member, &params, &mut arrives.params).unwrap();
        arrives.ensemble.insert_state(member, &state, &mut arrives.state).unwrap();
        // Where the documentation says.
        let (block, lane) = (member / 16 * 16, member % 16);
        let place = |e: usize, len: usize| block * len + e * 16 + lane;
        assert!(params.iter().enumerate().all(|(e, &w)| arrives.params[place(e, params.len())] == w));
        assert!(state.iter().enumerate().all(|(e, &v)| arrives.state[place(e, state.len())] == v));
    }
    stays.step(1, x, targets).unwrap();
    assert_eq!(arrives.step(1, x, targets), Ok(MEMBERS));
    assert_eq!(bits(&arrives.losses), bits(&stays.losses));
    for member in 0..MEMBERS {
        assert_eq!(arrives.member(member), stays.member(member));
    }
}

#[test]
fn what_is_wrong_is_named_and_nothing_written() {
    let batch = 3;
    let case = Case::new(5, &[dense(9, Tanh), dense(4, Softmax)], CrossEntropy, Adam::new(0.01), batch);
    let (all, data) = (members(MEMBERS), Data::new(&case, MEMBERS));
    let samples = MEMBERS * batch;
    let x = data.inputs(&case, 0, samples);
    let classes = &data.classes[..samples];
    let mut wrong_class = classes.to_vec();
    wrong_class[20] = 4;
    for interleaved in [false, true] {
        let setup = || Setup::new(&case, Schedule::Batch, &all, interleaved);
        let Setup { ensemble, params, state, workspace, losses } = setup();
        let length = |buffer, expected, found| StepError::Length { buffer, expected, found };
        // (x, classes, and what is taken from the ends of parameters, state, workspace and losses), error
        let cut = |len: usize, by: usize| len - by;
        type Wrong<'a> = (&'a [f32], &'a [u32], [usize; 4], Result<usize, StepError>);
        let wrong: [Wrong; 9] = [
            (&x[1..], classes, [0; 4], Err(StepError::Batch { inputs: 5 * MEMBERS, found: x.len() - 1 })),
            (&[], classes, [0; 4], Err(StepError::Batch { inputs: 5 * MEMBERS, found: 0 })),
            (x, &classes[1..], [0; 4], Err(length(Buffer::Targets, samples, samples - 1))),
            (x, &wrong_class, [0; 4], Err(StepError::Class { sample: 20, found: 4, classes: 4 })),
            (x, classes, [1, 0, 0, 0], Err(length(Buffer::Parameters, params.len(), cut(params.len(), 1)))),
            (x, classes, [0, 1, 0, 0], Err(length(Buffer::OptimizerState, state.len(), cut(state.len(), 1)))),
            (x, classes, [0, 0, 1, 0], Err(length(Buffer::Workspace, workspace.len(), cut(workspace.len(), 1)))),
            (x, classes, [0, 0, 0, 1], Err(length(Buffer::Losses, losses.len(), cut(losses.len(), 1)))),
            (&x[..5 * MEMBERS], classes, [0; 4], Err(length(Buffer::Targets, MEMBERS, samples))),
        ];
        for (x, classes, [a, b, c, d], error) in wrong {
            let mut setup = setup();
            let before = setup.bits();
            let Setup { params, state, workspace, losses, .. } = &mut setup;
            let [params, state, workspace, losses] =
                [(params, a), (state, b), (workspace, c), (losses, d)].map(|(x, by)| &mut x[by..]);
            let (inputs, targets) = (MemberInputs::Own(x), MemberTargets::Own(Targets::classes(classes)));
            let result = ensemble.train_step(0, inputs, targets, params, state, workspace, losses);
            assert_eq!(result, error, "{interleaved}");
            assert_eq!(setup.bits(), before);
        }
        // Shared samples are counted once.
        let mut setup = setup();
        let before = setup.bits();
        let shared = MemberTargets::Shared(Targets::classes(classes));
        assert_eq!(setup.step(0, x, shared), Err(length(Buffer::Targets, batch, samples)));
        assert_eq!(setup.bits(), before);

        let solo = case.layout().params_len();
        let mut to = vec![0.25; solo];
        let no_member: Result<(), StepError> = Err(StepError::Member { found: MEMBERS, members: MEMBERS });
        let result = ensemble.extract(MEMBERS, &params, &mut to);
        assert_eq!(result, no_member);
        assert_eq!(result.unwrap_err().to_string(), "expected a member below 18, found 18");
        assert_eq!(ensemble.extract(0, &params, &mut to[1..]), Err(length(Buffer::Parameters, solo, solo - 1)));
        assert_eq!(
            ensemble.extract(0, &params[1..], &mut to),
            Err(length(Buffer::Parameters, params.len(), params.len() - 1))
        );
        assert_eq!(to, vec![0.25; solo]);
        let mut all_params = params.clone();
        assert_eq!(ensemble.insert(MEMBERS, &to, &mut all_params), no_member);
        assert_eq!(ensemble.insert(0, &to[1..], &mut all_params), Err(length(Buffer::Parameters, solo, solo - 1)));
        assert_eq!(
            ensemble.init(&mut all_params[1..]),
            Err(length(Buffer::Parameters, params.len(), params.len() - 1))
        );
        assert_eq!(bits(&all_params), bits(&params));
        let (mut y, mut workspace) =
            (vec![0.25; samples * 4], vec![0.0; ensemble.predict_workspace_len(batch).unwrap()]);
        let result = ensemble.predict(MemberInputs::Own(x), &params, &mut y[1..], &mut workspace);
        assert_eq!(result, Err(length(Buffer::Outputs, samples * 4, samples * 4 - 1)));
        let needed = workspace.len();
        let result = ensemble.predict(MemberInputs::Own(x), &params, &mut y, &mut workspace[1..]);
        assert_eq!(result, Err(length(Buffer::Workspace, needed, needed - 1)));
        assert_eq!(y, vec![0.25; samples * 4]);
    }
    let lean = Setup::new(&case, Schedule::Lean, &all, true).step(0, x, MemberTargets::Own(Targets::classes(classes)));
    assert_eq!(lean, Err(StepError::LeanBatch { found: 3 }));
}

#[test]
fn what_is_no_ensemble_is_refused() {
    let of = |layers: &[Layer], all: &[Member], interleaved: bool| {
        let layout = Layout::new(4, layers).unwrap();
        let trainer = Trainer::new(Mlp::new(layout, Isa::SCALAR), MeanSquaredError, Sgd::new(0.1).into()).unwrap();
        let ensemble = Ensemble::new(trainer, all)?;
        if interleaved { ensemble.interleaved().map(|_| ()) } else { Ok(()) }
    };
    let all = members(2);
    assert_eq!(of(&[dense(4, Tanh)], &[], false), Err(EnsembleError::NoMembers));
    for found in [-0.1, f32::INFINITY] {
        let wrong = [all[0], Member { seed: 1, learning_rate: found }];
        assert_eq!(of(&[dense(4, Tanh)], &wrong, false), Err(EnsembleError::LearningRate { member: 1, found }));
    }
    let nan = [Member { seed: 1, learning_rate: f32::NAN }];
    assert!(matches!(of(&[dense(4, Tanh)], &nan, false), Err(EnsembleError::LearningRate { member: 0, .. })));
    // Beyond the address space only together.
    let huge = [dense(usize::MAX / 200, Tanh)];
    assert_eq!(of(&huge, &members(40), false), Err(EnsembleError::TooLarge));
    for layer in [
        Layer::layer_norm(Relu),
        Layer::rms_norm(Relu),
        Layer::batch_norm(Relu),
        Layer::normalization(),
        Layer::embedding(0, 3, 1),
        dense(4, Tanh).with_residual(1),
    ] {
        assert_eq!(of(&[layer, dense(1, Linear)], &all, false), Ok(()));
        let refused = of(&[layer, dense(1, Linear)], &all, true);
        assert_eq!(refused, Err(EnsembleError::Interleaved { layer: 0 }), "{layer}");
    }
    let message = EnsembleError::Interleaved { layer: 3 }.to_string();
    assert_eq!(message, "layer 3: interleaved members have dense layers (not by output), activations and dropout only");
}
