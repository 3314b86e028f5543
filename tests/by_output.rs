//! A first layer that is stored by output: the same network, to the last bit, as one that is not.

use microprop::Activation::*;
use microprop::{
    Adam, Delta, Ensemble, EnsembleError, Isa, Layer, Layout, LayoutError, Loss, Member, MemberInputs, MemberTargets,
    Mlp, Optimizer, Penalty, Rng, Schedule, Sgd, StepError, Targets, Trainer, copy_params, init, layout,
};

/// One network in the two orders, with all that a step takes.
struct Pair<'a> {
    trainers: [Trainer<'a>; 2],
    params: [Vec<f32>; 2],
    state: [Vec<f32>; 2],
    workspace: [Vec<f32>; 2],
}

impl<'a> Pair<'a> {
    fn new(isa: Isa, layouts: [Layout<'a>; 2], optimizer: Optimizer, seed: u64) -> Self {
        let loss = Loss::HalfMeanSquaredError;
        let trainers = layouts
            .map(|layout| Trainer::new(Mlp::new(layout, isa).with_schedule(Schedule::Lean), loss, optimizer).unwrap());
        let zeros = |len: fn(&Trainer<'_>) -> usize| [0, 1].map(|i| vec![0.0; len(&trainers[i])]);
        let mut params = zeros(|trainer| trainer.mlp().layout().params_len());
        for (layout, params) in layouts.iter().zip(&mut params) {
            init(layout, seed, params).unwrap();
        }
        let state = zeros(|trainer| trainer.mlp().layout().optimizer_len(trainer.optimizer()));
        let workspace = zeros(|trainer| trainer.workspace_len(1).unwrap());
        Self { trainers, params, state, workspace }
    }

    fn layout(&self, i: usize) -> &Layout<'a> {
        self.trainers[i].mlp().layout()
    }

    /// What is stored by output, a vector as long as the parameters, in the order of the other.
    fn in_order(&self, vector: &[f32]) -> Vec<f32> {
        let mut copy = vec![f32::NAN; vector.len()];
        copy_params(self.layout(1), vector, self.layout(0), &mut copy).unwrap();
        copy
    }

    fn check(&self, what: &str) {
        assert_eq!(bits(&self.params[0]), bits(&self.in_order(&self.params[1])), "{what}: parameters");
        let len = self.params[0].len();
        for (state, by_output) in self.state[0].chunks(len).zip(self.state[1].chunks(len)) {
            assert_eq!(bits(state), bits(&self.in_order(by_output)), "{what}: state");
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Numbers of both signs, some of them zero.
fn some(len: usize, rng: &mut Rng) -> Vec<f32> {
    (0..len)
        .map(|_| match rng.below(6) {
            0 => 0.0,
            1 => -0.0,
            _ => 2.0 * rng.uniform() - 1.0,
        })
        .collect()
}

const OPTIMIZERS: [Optimizer; 4] = [
    Optimizer::Sgd(Sgd::new(0.1)),
    Optimizer::Adam(Adam::new(0.01)),
    Optimizer::Sgd(Sgd::new(0.05).momentum(0.9)),
    Optimizer::Sgd(Sgd::new(0.05).nesterov(0.9)),
];

/// Networks of one layer and of two, of all sorts of widths: `each(layouts, optimizer, seed)`.
fn all_networks(mut each: impl FnMut([Layout<'_>; 2], Optimizer, u64)) {
    let mut seed = 0;
    for inputs in [1, 2, 3, 4, 5, 7, 8, 16, 20, 33, 256, 257, 300] {
        for width in (1..=20).chain([23, 24, 31, 32, 40, 64, 67]).filter(|width| inputs < 100 || width % 4 == 3) {
            for activation in [Relu, Tanh, Linear] {
                seed += 1;
                let layer = Layer::dense(width, activation);
                let optimizer = OPTIMIZERS[seed as usize % OPTIMIZERS.len()];
                if seed % 3 == 0 {
                    let layouts = [[layer], [layer.by_output()]];
                    each([0, 1].map(|i| Layout::new(inputs, &layouts[i]).unwrap()), optimizer, seed);
                } else {
                    let above = Layer::dense(1 + width % 5, Linear);
                    let layouts = [[layer, above], [layer.by_output(), above]];
                    each([0, 1].map(|i| Layout::new(inputs, &layouts[i]).unwrap()), optimizer, seed);
                }
            }
        }
    }
}

#[test]
fn a_network_learns_the_same_in_either_order() {
    for isa in Isa::available() {
        all_networks(|layouts, optimizer, seed| {
            let what = format!("{isa}, {} inputs, {:?}, {optimizer:?}", layouts[0].inputs(), layouts[0].layers());
            let mut pair = Pair::new(isa, layouts, optimizer, seed);
            pair.check(&what);
            let mut rng = Rng::new(seed);
            for step in 0..3 {
                let x = some(layouts[0].inputs(), &mut rng);
                let target = some(layouts[0].outputs(), &mut rng);
                let mut loss = |i: usize| {
                    let Pair { trainers, params, state, workspace } = &mut pair;
                    let (params, state, workspace) = (&mut params[i], &mut state[i], &mut workspace[i]);
                    trainers[i].train_step(step, &x, Targets::values(&target), params, state, workspace).unwrap()
                };
                assert_eq!(loss(0).to_bits(), loss(1).to_bits(), "{what}");
                pair.check(&what);
            }
        });
    }
}

#[test]
fn slices_give_the_bits_of_the_whole() {
    for isa in Isa::available() {
        all_networks(|layouts, optimizer, seed| {
            let mut rng = Rng::new(seed);
            let (x, target) = (some(layouts[1].inputs(), &mut rng), some(layouts[1].outputs(), &mut rng));
            let whole = {
                let mut pair = Pair::new(isa, layouts, optimizer, seed);
                let Pair { trainers: [_, trainer], params: [_, params], state: [_, state], workspace: [_, workspace] } =
                    &mut pair;
                let loss = trainer.train_step(0, &x, Targets::values(&target), params, state, workspace).unwrap();
                (loss.to_bits(), bits(params), bits(state))
            };
            for weights in [0, 1 + rng.below(200) as usize, usize::MAX] {
                let mut pair = Pair::new(isa, layouts, optimizer, seed);
                let Pair { trainers: [_, trainer], params: [_, params], state: [_, state], workspace: [_, workspace] } =
                    &mut pair;
                let mut step = trainer.sliced_step(0, &x, Targets::values(&target), params, state, workspace).unwrap();
                let mut slices = 0;
                let loss = loop {
                    slices += 1;
                    if let Some(loss) = trainer.advance(&mut step, weights).unwrap() {
                        break loss;
                    }
                };
                let what =
                    format!("{isa}, {weights} weights, {} inputs, {:?}", layouts[1].inputs(), layouts[1].layers());
                assert!((loss.to_bits(), bits(params), bits(state)) == whole, "{what}");
                let layers = layouts[1].layers().len();
                if weights == usize::MAX {
                    assert!(slices <= 2 * layers + 3, "{what}: {slices} slices");
                } else if weights == 0 && layers == 1 {
                    let outputs = layouts[1].outputs();
                    assert_eq!(slices, 2 * outputs + 2, "{what}: forward, loss, backward, bias");
                }
            }
        });
    }
}

#[test]
fn gradients_and_deltas_of_inputs_are_the_same() {
    for isa in Isa::available() {
        all_networks(|layouts, optimizer, seed| {
            let mut pair = Pair::new(isa, layouts, optimizer, seed);
            let mut rng = Rng::new(seed);
            let x = some(layouts[0].inputs(), &mut rng);
            let delta = some(layouts[0].outputs(), &mut rng);
            let mut found = [0, 1].map(|i| {
                let (layout, mlp) = (*pair.layout(i), *pair.trainers[i].mlp());
                let (mut gradient, mut below) = (vec![f32::NAN; layout.params_len()], vec![f32::NAN; x.len()]);
                let (params, workspace) = (&pair.params[i], &mut pair.workspace[i]);
                let pass = mlp.forward(params, &x, workspace).unwrap();
                let outputs = bits(pass.outputs());
                pass.gradient(Delta::Outputs(&delta), params, &mut gradient, Some(&mut below)).unwrap();
                (outputs, gradient, bits(&below))
            });
            found[1].1 = pair.in_order(&found[1].1);
            let [(y, gradient, below), (y_by_output, gradient_by_output, below_by_output)] = found;
            let what = format!("{isa}, {} inputs, {:?}", layouts[0].inputs(), layouts[0].layers());
            assert_eq!(y, y_by_output, "{what}");
            // Sums that begin at +0 have no −0.
            assert_eq!(bits(&gradient), bits(&gradient_by_output), "{what}");
            assert_eq!(below, below_by_output, "{what}");
        });
    }
}

/// Rule 6.4 of docs/ARITHMETIC.md: a stored row is left where its factor is ±0, and −0 in others loses its sign.
#[test]
fn stored_rows_are_left() {
    const LAYERS: [Layer; 1] = [Layer::dense(2, Linear)];
    const BY_OUTPUT: [Layer; 1] = [Layer::dense(2, Linear).by_output()];
    for isa in Isa::available() {
        let layouts = [Layout::new(2, &LAYERS).unwrap(), Layout::new(2, &BY_OUTPUT).unwrap()];
        let mut pair = Pair::new(isa, layouts, Sgd::new(0.5).into(), 1);
        let minus = (-0.0_f32).to_bits();
        let found = [0, 1].map(|i| {
            let Pair { trainers, params, workspace, .. } = &mut pair;
            let (params, workspace) = (&mut params[i], &mut workspace[i]);
            params.fill(-0.0);
            // δ = (y − t) ÷ 2 = (0, 0.5) with y = 0: x·δ is 0 where either is.
            let targets = [0.0, -1.0];
            trainers[i].train_step(0, &[0.0, -1.0], Targets::values(&targets), params, &mut [], workspace).unwrap();
            bits(params)
        });
        // [inputs × outputs]: the row of input 0 is left; −0 + (−0.5·−1)·0 = +0.
        assert_eq!(found[0][..4], [minus, minus, 0.0_f32.to_bits(), found[0][3]], "{isa}");
        // [outputs × inputs]: the row of output 0 is left; −0 + (−0.5·0)·0.5 = −0.
        assert_eq!(found[1][..4], [minus, minus, minus, found[0][3]], "{isa}");
        assert_ne!(found[0][3], minus, "{isa}");
    }
}

#[test]
fn it_is_for_the_first_layer_alone_with_nothing_else_to_it() {
    let layer = Layer::dense(3, Relu).by_output();
    let refused = |layers: &[Layer], layer| assert_eq!(Layout::new(3, layers), Err(LayoutError::ByOutput { layer }));
    Layout::new(3, &[layer, Layer::dense(2, Linear)]).unwrap();
    refused(&[Layer::dense(3, Relu), layer], 1);
    refused(&[layer.without_bias()], 0);
    refused(&[layer.with_dropout(0.5), Layer::dense(1, Linear)], 0);
    refused(&[layer.with_penalty(Penalty::l2(0.1))], 0);
    refused(&[Layer::dense(3, Gelu).by_output()], 0);
    refused(&[layer.with_residual(1)], 0);
    refused(&[layer, Layer::dense(3, Relu).with_residual(1)], 0);
    refused(&[layer, Layer::batch_norm(Relu)], 0);
    // A layer that has no weights in two orders is what it was.
    assert_eq!(Layer::layer_norm(Relu).by_output(), Layer::layer_norm(Relu));
}

const IN_ORDER: Layout = layout!(3 => dense(4, Relu), dense(1, Linear));
const BY_OUTPUT: Layout = layout!(3 => dense(4, Relu).by_output(), dense(1, Linear));

#[test]
fn the_batch_schedule_refuses_it_and_changes_nothing() {
    const LEN: usize = BY_OUTPUT.params_len();
    let batch = Mlp::new(BY_OUTPUT, Isa::detect());
    let mut params = [0.5; LEN];
    let (mut y, mut workspace) = ([7.0], vec![0.0; 10_000]);
    let refused = Err(StepError::BatchByOutput);
    let x = [1.0, 2.0, 3.0];
    assert_eq!(batch.predict(&params, &x, &mut y, &mut workspace), refused);
    assert_eq!(batch.forward(&params, &x, &mut workspace).map(|_| ()), refused);
    let trainer = Trainer::new(batch, Loss::MeanSquaredError, Sgd::new(0.1).into()).unwrap();
    let target = Targets::values(&[1.0]);
    assert_eq!(trainer.train_step(0, &x, target, &mut params, &mut [], &mut workspace).map(|_| ()), refused);
    assert_eq!(trainer.loss(&x, target, &params, &mut workspace).map(|_| ()), refused);
    let members = [Member { seed: 1, learning_rate: 0.1 }; 2];
    let ensemble = Ensemble::new(trainer, &members).unwrap();
    let mut of_all = [0.5; 2 * LEN];
    let inputs = MemberInputs::Shared(&x);
    assert_eq!(ensemble.predict(inputs, &of_all, &mut [0.0; 2], &mut workspace), refused);
    let (targets, mut losses) = (MemberTargets::Shared(target), [7.0; 2]);
    let result = ensemble.train_step(0, inputs, targets, &mut of_all, &mut [], &mut losses, &mut workspace);
    assert_eq!(result.map(|_| ()), refused);
    assert_eq!(losses, [7.0; 2]);
    assert_eq!(ensemble.interleaved(), Err(EnsembleError::Interleaved { layer: 0 }));
    assert_eq!((params, of_all, y), ([0.5; LEN], [0.5; 2 * LEN], [7.0]));
}

#[cfg(feature = "alloc")]
#[test]
fn a_network_of_its_own_schedule_takes_it() {
    let net = microprop::Network::new(3).layer(Layer::dense(4, Relu).by_output()).dense(1, Linear);
    let x = [1.0, 2.0, 3.0];
    let batch = net.clone().build().unwrap().predict(&x);
    assert_eq!(batch, Err(StepError::BatchByOutput));
    let lean = net.schedule(Schedule::Lean).build().unwrap();
    let in_order = microprop::Network::new(3).dense(4, Relu).dense(1, Linear).build().unwrap();
    assert_eq!(lean.predict(&x), in_order.predict(&x));
}

#[test]
fn only_the_same_network_is_copied() {
    const LEN: usize = IN_ORDER.params_len();
    let mut params = [0.0; LEN];
    init(&IN_ORDER, 9, &mut params).unwrap();
    let (mut by_output, mut back) = ([0.0; LEN], [0.0; LEN]);
    copy_params(&IN_ORDER, &params, &BY_OUTPUT, &mut by_output).unwrap();
    assert_eq!(by_output[..3], [params[0], params[4], params[8]], "the weights of output 0");
    assert_eq!(by_output[12..], params[12..]);
    copy_params(&BY_OUTPUT, &by_output, &IN_ORDER, &mut back).unwrap();
    assert_eq!(back, params);
    copy_params(&BY_OUTPUT, &by_output, &BY_OUTPUT, &mut back).unwrap();
    assert_eq!(back, by_output);

    let before = back;
    let other = layout!(3 => dense(4, Tanh), dense(1, Linear));
    assert_eq!(copy_params(&BY_OUTPUT, &by_output, &other, &mut back), Err(StepError::LayoutsDiffer));
    let short = copy_params(&BY_OUTPUT, &by_output[1..], &IN_ORDER, &mut back);
    assert!(matches!(short, Err(StepError::Length { .. })), "{short:?}");
    let short = copy_params(&BY_OUTPUT, &by_output, &IN_ORDER, &mut back[1..]);
    assert!(matches!(short, Err(StepError::Length { .. })), "{short:?}");
    assert_eq!(back, before);
    assert_ne!(BY_OUTPUT.identity(), IN_ORDER.identity(), "a model in flash is of one order");
}
