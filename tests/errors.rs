//! Whatever a caller gets wrong is a typed error, found before the first write.
//!
//! Every public function that takes slices is called with each of them empty, one
//! too short, one too long and far too long; what it may write must keep its bits.
//! Then at random, thousands of times, between canaries.
//!
//! Under AddressSanitizer (nightly), which also sees reads:
//! `RUSTFLAGS=-Zsanitizer=address cargo +nightly test --target x86_64-unknown-linux-gnu --test errors`

#[path = "errors/layers.rs"]
mod layers;

use microprop::Activation::{Elu, Gelu, LeakyRelu, Linear, Relu, Sigmoid, Softmax, Tanh};
use microprop::{
    Activation, Adam, Buffer, Delta, EpsilonPlacement, Initializer, Isa, IsaError, Layer, Layout, LayoutError, Loss,
    LossFunction, Mlp, Optimizer, Penalty, Rng, Schedule, Sgd, StepError, Targets, Trainer, TrainerError, hash, init,
    kernels, layout,
};
use std::fmt::Display;

/// Values between 0.1 and 0.9: probabilities, and nothing that overflows.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..len).map(|_| 0.1 + 0.8 * rng.uniform()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn length(buffer: Buffer, expected: usize, found: usize) -> Option<StepError> {
    Some(StepError::Length { buffer, expected, found })
}

/// What a function makes of one slice whose length is `found`: an error, or `None` if it is fine.
type Verdict<'a> = Box<dyn Fn(usize) -> Option<StepError> + 'a>;

/// One slice argument: its right length, whether it is an output, and the verdict on other lengths.
struct Argument<'a> {
    len: usize,
    written: bool,
    verdict: Verdict<'a>,
}

/// A slice that is read and has one right length.
fn read<'a>(buffer: Buffer, len: usize) -> Argument<'a> {
    Argument { len, written: false, verdict: Box::new(move |found| length(buffer, len, found)) }
}

/// A slice that is written and has one right length.
fn write<'a>(buffer: Buffer, len: usize) -> Argument<'a> {
    Argument { written: true, ..read(buffer, len) }
}

/// A workspace: it may be longer, and what it holds after an error is unspecified.
fn scratch<'a>(len: usize) -> Argument<'a> {
    Argument {
        len,
        written: false,
        verdict: Box::new(move |found| if found < len { length(Buffer::Workspace, len, found) } else { None }),
    }
}

/// Inputs, `batch` samples of `inputs`.
fn samples<'a>(batch: usize, inputs: usize) -> Argument<'a> {
    let verdict = move |found| Some(StepError::Batch { inputs, found });
    Argument { len: batch * inputs, written: false, verdict: Box::new(verdict) }
}

/// A matrix of whole rows, `width` wide, that says how many rows there are.
fn rows<'a>(buffer: Buffer, count: usize, width: usize, least: usize) -> Argument<'a> {
    let verdict = move |found: usize| length(buffer, (found / width).max(least) * width, found);
    Argument { len: count * width, written: false, verdict: Box::new(verdict) }
}

/// A function under test, on its slices in the order of their [`Argument`]s.
type Call<'a> = &'a dyn Fn(&mut [Vec<f32>]) -> Result<(), StepError>;

/// Calls `call` with the right lengths, then with each slice at each wrong length.
fn sweep(name: &str, arguments: &[Argument<'_>], call: Call<'_>) {
    let slices = |wrong: usize, found: usize| -> Vec<Vec<f32>> {
        let lengths = arguments.iter().enumerate();
        lengths.map(|(i, a)| numbers(if i == wrong { found } else { a.len }, i as u64)).collect()
    };
    assert_eq!(call(&mut slices(usize::MAX, 0)), Ok(()), "{name} with the right lengths");
    for (wrong, argument) in arguments.iter().enumerate() {
        let n = argument.len;
        // 50,021 is prime: no multiple of a sample or a row here.
        for found in [0, n.wrapping_sub(1), n + 1, n + 50_021] {
            if found == n || found == usize::MAX {
                continue;
            }
            let mut given = slices(wrong, found);
            let before: Vec<_> = given.iter().map(|slice| bits(slice)).collect();
            let result = call(&mut given);
            assert_eq!(result.err(), (argument.verdict)(found), "{name}: argument {wrong} of length {found}, not {n}");
            if result.is_ok() {
                continue;
            }
            for (i, (slice, before)) in given.iter().zip(&before).enumerate() {
                if arguments[i].written {
                    assert_eq!(&bits(slice), before, "{name}: argument {wrong} of length {found} changed argument {i}");
                }
            }
            // The message holds both numbers.
            if let Err(StepError::Length { expected, found, .. }) = result {
                let message = result.unwrap_err().to_string();
                assert!(message.contains(&expected.to_string()) && message.contains(&found.to_string()), "{message}");
            }
        }
    }
}

const OPTIMIZERS: [Optimizer; 4] = [
    Optimizer::Sgd(Sgd::new(0.1)),
    Optimizer::Sgd(Sgd::new(0.1).momentum(0.9)),
    Optimizer::Sgd(Sgd::new(0.1).nesterov(0.9)),
    Optimizer::Adam(Adam::new(0.1)),
];

const LAYOUT: Layout = layout!(3 => dense(7, Tanh), dense(5, Sigmoid));

fn delta(before_activation: bool, values: &[f32]) -> Delta<'_> {
    if before_activation { Delta::PreActivations(values) } else { Delta::Outputs(values) }
}

/// Both schedules with their batches; the batch schedule in one piece and in three.
fn mlps() -> [(Mlp<'static>, usize); 3] {
    let mlp = Mlp::new(LAYOUT, Isa::detect());
    [(mlp, 4), (mlp.with_threads(3).with_grain(1), 4), (mlp.with_schedule(Schedule::Lean), 1)]
}

#[test]
fn kernels_check_every_length() {
    let (batch, inputs, outputs) = (4, 3, 5);
    for isa in Isa::available() {
        for activation in [Linear, Relu, LeakyRelu { slope: 0.1 }, Sigmoid, Tanh, Softmax] {
            let bias = Argument {
                len: outputs,
                written: false,
                verdict: Box::new(|found| match found {
                    0 => Some(StepError::NoOutputs),
                    _ => length(Buffer::Weights, (15 / found).max(1) * found, 15),
                }),
            };
            sweep(
                "dense_forward",
                &[
                    samples(batch, inputs),
                    rows(Buffer::Weights, inputs, outputs, 1),
                    bias,
                    write(Buffer::Outputs, batch * outputs),
                    scratch(kernels::forward_scratch_len(inputs)),
                ],
                &|s| {
                    let [x, weights, bias, y, scratch] = s else { unreachable!() };
                    kernels::dense_forward(isa, x, weights, bias, activation, y, scratch)
                },
            );
            // y is not read where the activation is linear.
            let y = match activation {
                Linear => Argument { verdict: Box::new(|_| None), ..read(Buffer::Inputs, batch * inputs) },
                _ => read(Buffer::Inputs, batch * inputs),
            };
            sweep(
                "dense_delta",
                &[
                    rows(Buffer::OutputDelta, batch, outputs, 1),
                    rows(Buffer::Weights, inputs, outputs, 1),
                    y,
                    write(Buffer::InputDelta, batch * inputs),
                    scratch(kernels::forward_scratch_len(outputs)),
                ],
                &|s| {
                    let [delta, weights, y, below, scratch] = s else { unreachable!() };
                    kernels::dense_delta(isa, delta, outputs, weights, y, activation, below, scratch)
                },
            );
        }
        for optimizer in OPTIMIZERS {
            let params = (inputs + 1) * outputs;
            sweep(
                "dense_update",
                &[
                    read(Buffer::Inputs, batch * inputs),
                    rows(Buffer::OutputDelta, batch, outputs, 1),
                    Argument { written: true, ..rows(Buffer::Parameters, inputs + 1, outputs, 2) },
                    write(Buffer::OptimizerState, params * optimizer.state_per_parameter()),
                    scratch(batch),
                ],
                &|s| {
                    let [x, delta, params, state, scratch] = s else { unreachable!() };
                    kernels::dense_update(isa, x, delta, outputs, &optimizer, 0, params, state, scratch)
                },
            );
        }
        sweep("dot", &[read(Buffer::Inputs, 37), read(Buffer::Inputs, 37)], &|s| {
            // Either one tells the length of the other; the error is about the second.
            match kernels::dot(isa, &s[0], &s[1]) {
                Err(StepError::Length { buffer, expected, found }) if expected != 37 => {
                    Err(StepError::Length { buffer, expected: found, found: expected })
                }
                result => result.map(drop),
            }
        });
    }
}

#[test]
fn kernels_refuse_layers_without_inputs_or_outputs() {
    let isa = Isa::detect();
    let one = [1.0];
    let mut out = [7.0; 4];
    let mut scratch = [0.0; 64];
    let sgd = &OPTIMIZERS[0];
    assert_eq!(kernels::dense_forward(isa, &one, &[], &[], Relu, &mut out, &mut scratch), Err(StepError::NoOutputs),);
    assert_eq!(
        kernels::dense_forward(isa, &[], &[], &one, Relu, &mut out, &mut scratch).err(),
        length(Buffer::Weights, 1, 0),
    );
    assert_eq!(kernels::dense_delta(isa, &one, 0, &one, &one, Relu, &mut out, &mut scratch), Err(StepError::NoOutputs),);
    assert_eq!(
        kernels::dense_update(isa, &one, &one, 0, sgd, 0, &mut out, &mut [], &mut scratch),
        Err(StepError::NoOutputs),
    );
    // A bias alone, without a row of weights.
    assert_eq!(
        kernels::dense_update(isa, &[], &[1.0; 4], 4, sgd, 0, &mut out, &mut [], &mut scratch).err(),
        length(Buffer::Parameters, 8, 4),
    );
    // Sizes that no slice has.
    assert_eq!(
        kernels::dense_delta(isa, &one, usize::MAX, &one, &one, Relu, &mut out, &mut scratch).err(),
        length(Buffer::Weights, usize::MAX, 1),
    );
    assert_eq!(
        kernels::dense_update(isa, &one, &one, usize::MAX, sgd, 0, &mut out, &mut [], &mut scratch),
        Err(StepError::TooLarge),
    );
    assert_eq!(out, [7.0; 4]);
    assert_eq!(kernels::forward_scratch_len(0), 0);
    assert_eq!(kernels::forward_scratch_len(usize::MAX), 256 * 48);
}

#[test]
fn nothing_is_fine_where_nothing_has_a_meaning() {
    for isa in Isa::available() {
        assert_eq!(kernels::sum(isa, &[]).to_bits(), 0);
        assert_eq!(kernels::dot(isa, &[], &[]), Ok(0.0));
        for kernel in [kernels::exp, kernels::ln, kernels::sigmoid, kernels::tanh] {
            kernel(isa, &mut []);
        }
    }
    let mut rng = Rng::with_stream(u64::MAX, u64::MAX);
    rng.shuffle::<u8>(&mut []);
    rng.shuffle(&mut [1]);
    assert_eq!(rng.below(0), 0);
    assert!(rng.below(u32::MAX) < u32::MAX);
    assert_eq!(hash(&[]), hash(&[]));
}

#[test]
fn networks_check_every_length() {
    check_every_length(LAYOUT, &mlps(), &[]);
}

/// Sweeps over every function of these networks of one layout, which takes the inputs `categories` for categories.
fn check_every_length(layout: Layout<'_>, mlps: &[(Mlp<'_>, usize)], categories: &[usize]) {
    let (inputs, outputs, params) = (layout.inputs(), layout.outputs(), layout.params_len());
    let categorized = |x: &mut [f32]| {
        for x in x.chunks_mut(inputs) {
            x.iter_mut().enumerate().filter(|(i, _)| categories.contains(i)).for_each(|(_, x)| *x = 1.0);
        }
    };
    sweep("init", &[write(Buffer::Parameters, params)], &|s| init(&layout, 1, &mut s[0]));
    for &(mlp, batch) in mlps {
        let workspace = mlp.workspace_len(batch).unwrap();
        let lean = workspace == layout.lean_workspace_len();
        sweep(
            "predict",
            &[
                read(Buffer::Parameters, params),
                samples(batch, inputs),
                write(Buffer::Outputs, batch * outputs),
                scratch(mlp.predict_workspace_len(batch).unwrap()),
            ],
            &|s| {
                let [params, x, y, workspace] = s else { unreachable!() };
                categorized(x);
                mlp.predict(params, x, y, workspace)
            },
        );
        for training in [false, true] {
            sweep("forward", &[read(Buffer::Parameters, params), samples(batch, inputs), scratch(workspace)], &|s| {
                let [params, x, workspace] = s else { unreachable!() };
                categorized(x);
                let pass = match training {
                    false => mlp.forward(params, x, workspace)?,
                    true => mlp.forward_training(3, params, x, workspace)?,
                };
                assert_eq!(pass.outputs().len(), batch * outputs);
                assert!(pass.outputs().iter().all(|y| (0.0..=1.0).contains(y)));
                Ok(())
            });
        }
        for optimizer in OPTIMIZERS {
            let state = layout.optimizer_len(&optimizer);
            for before_activation in [false, true] {
                let mut good = (numbers(params, 8), numbers(batch * inputs, 9));
                categorized(&mut good.1);
                sweep(
                    "backward",
                    &[
                        read(Buffer::OutputDelta, batch * outputs),
                        write(Buffer::Parameters, params),
                        write(Buffer::OptimizerState, state),
                        write(Buffer::InputDelta, batch * inputs),
                    ],
                    &|s| {
                        let [d, params, state, below] = s else { unreachable!() };
                        let mut workspace = vec![0.0; workspace];
                        let pass = mlp.forward(&good.0, &good.1, &mut workspace).unwrap();
                        pass.backward(&optimizer, 0, delta(before_activation, d), params, state, Some(below))
                    },
                );
                sweep(
                    "Pass::gradient",
                    &[
                        read(Buffer::OutputDelta, batch * outputs),
                        read(Buffer::Parameters, params),
                        write(Buffer::Gradient, layout.trainable_len()),
                        write(Buffer::InputDelta, batch * inputs),
                    ],
                    &|s| {
                        let [d, params, gradient, below] = s else { unreachable!() };
                        let mut workspace = vec![0.0; workspace];
                        let pass = mlp.forward(&good.0, &good.1, &mut workspace).unwrap();
                        pass.gradient(delta(before_activation, d), params, gradient, Some(below))
                    },
                );
            }
            for loss in [Loss::BinaryCrossEntropy, Loss::MeanSquaredError, Loss::HalfMeanSquaredError] {
                let trainer = Trainer::new(mlp, loss, optimizer).unwrap();
                sweep(
                    "train_step",
                    &[
                        samples(batch, inputs),
                        read(Buffer::Targets, batch * outputs),
                        write(Buffer::Parameters, params),
                        write(Buffer::OptimizerState, state),
                        scratch(workspace),
                    ],
                    &|s| {
                        let [x, targets, params, state, workspace] = s else { unreachable!() };
                        categorized(x);
                        trainer.train_step(0, x, Targets::values(targets), params, state, workspace).map(drop)
                    },
                );
                sweep(
                    "Trainer::gradient",
                    &[
                        samples(batch, inputs),
                        read(Buffer::Targets, batch * outputs),
                        read(Buffer::Parameters, params),
                        write(Buffer::Gradient, layout.trainable_len()),
                        scratch(workspace),
                    ],
                    &|s| {
                        let [x, targets, params, gradient, workspace] = s else { unreachable!() };
                        categorized(x);
                        trainer.gradient(0, x, Targets::values(targets), params, gradient, workspace).map(drop)
                    },
                );
                sweep(
                    "loss",
                    &[
                        samples(batch, inputs),
                        read(Buffer::Targets, batch * outputs),
                        read(Buffer::Parameters, params),
                        scratch(workspace),
                    ],
                    &|s| {
                        let [x, targets, params, workspace] = s else { unreachable!() };
                        categorized(x);
                        trainer.loss(x, Targets::values(targets), params, workspace).map(drop)
                    },
                );
                sweep("Trainer::penalty", &[read(Buffer::Parameters, params)], &|s| trainer.penalty(&s[0]).map(drop));
                sweep(
                    "apply",
                    &[
                        read(Buffer::Gradient, layout.trainable_len()),
                        write(Buffer::Parameters, params),
                        write(Buffer::OptimizerState, state),
                    ],
                    &|s| {
                        let [gradient, params, state] = s else { unreachable!() };
                        trainer.apply(0, gradient, params, state)
                    },
                );
            }
        }
        // Several samples are the batch schedule's.
        if lean {
            let (mut x, params, mut workspace) = (numbers(2 * inputs, 1), numbers(params, 2), vec![0.0; workspace]);
            categorized(&mut x);
            assert_eq!(mlp.forward(&params, &x, &mut workspace).err(), Some(StepError::LeanBatch { found: 2 }));
        }
    }
}

/// Trains one step on what `prepare` has spoilt; returns the error, and checks that nothing was written.
fn spoilt(
    trainer: &Trainer<'_>,
    batch: usize,
    targets: Targets<'_>,
    prepare: &dyn Fn(&mut [f32], &mut [f32]),
) -> Result<f32, StepError> {
    let layout = trainer.mlp().layout();
    let mut x = numbers(batch * layout.inputs(), 1);
    let mut params = numbers(layout.params_len(), 2);
    let mut state = numbers(layout.optimizer_len(trainer.optimizer()), 3);
    let mut gradient = numbers(layout.trainable_len(), 4);
    let mut workspace = vec![0.0; trainer.workspace_len(batch).unwrap()];
    prepare(&mut x, &mut params);
    let before = [bits(&params), bits(&state), bits(&gradient)];
    let results = [
        trainer.gradient(0, &x, targets, &params, &mut gradient, &mut workspace),
        trainer.loss(&x, targets, &params, &mut workspace),
        trainer.train_step(5, &x, targets, &mut params, &mut state, &mut workspace),
    ];
    if results[2].is_err() {
        assert_eq!([bits(&params), bits(&state), bits(&gradient)], before, "{trainer:?}");
    }
    // NaN is no number, and so no error equals itself: compare what is printed.
    let [gradient, loss, step] = results.map(|result| format!("{result:?}"));
    assert!(step == gradient && gradient == loss, "{trainer:?}: {step}, {gradient}, {loss}");
    results[0]
}

fn takes_classes(loss: Loss<'_>) -> bool {
    matches!(loss, Loss::CrossEntropy | Loss::SmoothedCrossEntropy { .. })
}

#[test]
fn a_loss_that_is_not_finite_changes_nothing() {
    const TOPS: [(Activation, Loss); 17] = [
        (Linear, Loss::HalfMeanSquaredError),
        (Linear, Loss::MeanSquaredError),
        (Relu, Loss::MeanSquaredError),
        (LeakyRelu { slope: 0.1 }, Loss::HalfMeanSquaredError),
        (Sigmoid, Loss::BinaryCrossEntropy),
        (Softmax, Loss::CrossEntropy),
        (Tanh, Loss::MeanSquaredError),
        (Sigmoid, Loss::MeanSquaredError),
        (Softmax, Loss::MeanSquaredError),
        (Linear, Loss::MeanAbsoluteError),
        (Linear, Loss::Huber { delta: 0.1 }),
        (Linear, Loss::LogCosh),
        (Relu, Loss::Quantile { quantile: 0.9 }),
        (Softmax, Loss::SmoothedCrossEntropy { smoothing: 0.1 }),
        (Sigmoid, Loss::SmoothedBinaryCrossEntropy { smoothing: 0.1 }),
        (Sigmoid, Loss::BinaryCrossEntropyOfProbabilities),
        (Softmax, Loss::KullbackLeibler),
    ];
    let mut seen = 0;
    for isa in Isa::available() {
        for (top, loss) in TOPS {
            for outputs in [1, 3, 33] {
                for hidden in [Relu, Tanh] {
                    let layers = [Layer::dense(6, hidden), Layer::dense(outputs, top)];
                    let layout = Layout::new(5, &layers).unwrap();
                    let mlp = Mlp::new(layout, isa);
                    let lean = mlp.with_schedule(Schedule::Lean);
                    for (mlp, batch) in [(mlp, 7), (mlp, 1), (mlp.with_threads(3).with_grain(1), 7), (lean, 1)] {
                        for optimizer in OPTIMIZERS {
                            let trainer = Trainer::new(mlp, loss, optimizer).unwrap();
                            let values = numbers(batch * outputs, 6);
                            let classes = vec![outputs as u32 - 1; batch];
                            let mut targets = vec![Targets::values(&values)];
                            if takes_classes(loss) {
                                targets.push(Targets::classes(&classes));
                            }
                            let mut check = |result: Result<f32, StepError>, what: &str| {
                                let what = format!("{what}, {outputs} outputs, {trainer:?}");
                                let Err(error @ StepError::NonFiniteLoss { found }) = result else {
                                    panic!("{what}: {result:?}");
                                };
                                assert!(!found.is_finite());
                                assert!(error.to_string().starts_with(&format!("the loss is {found}; ")), "{error}");
                                seen += 1;
                            };
                            for &targets in &targets {
                                assert!(spoilt(&trainer, batch, targets, &|_, _| ()).is_ok());
                                // Of several samples only the last is bad.
                                let input = |bad: f32| {
                                    move |x: &mut [f32], _: &mut [f32]| {
                                        x[x.len() - 2] = bad;
                                    }
                                };
                                check(spoilt(&trainer, batch, targets, &input(f32::NAN)), "NaN among the inputs");
                                check(spoilt(&trainer, batch, targets, &input(-f32::NAN)), "-NaN among the inputs");
                                let parameter = |_: &mut [f32], params: &mut [f32]| params[4] = f32::NAN;
                                check(spoilt(&trainer, batch, targets, &parameter), "NaN among the parameters");
                                let bias = |_: &mut [f32], params: &mut [f32]| *params.last_mut().unwrap() = f32::NAN;
                                check(spoilt(&trainer, batch, targets, &bias), "NaN in the last bias");
                                // What saturates (tanh, sigmoid under a squared error) makes a
                                // finite loss of an infinite pre-activation.
                                let grows = matches!(top, Linear | Relu | LeakyRelu { .. });
                                let fused = match loss {
                                    Loss::BinaryCrossEntropy | Loss::SmoothedBinaryCrossEntropy { .. } => true,
                                    loss => takes_classes(loss),
                                };
                                if hidden == Relu && (grows || fused) {
                                    check(spoilt(&trainer, batch, targets, &input(f32::INFINITY)), "an infinite input");
                                    let large = |x: &mut [f32], params: &mut [f32]| {
                                        x.fill(1e20);
                                        params.fill(1e20);
                                    };
                                    check(spoilt(&trainer, batch, targets, &large), "overflow");
                                }
                            }
                            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                                let mut values = values.clone();
                                let index = values.len() - 1;
                                values[index] = bad;
                                let result = spoilt(&trainer, batch, Targets::values(&values), &|_, _| ());
                                if top == Sigmoid && loss != Loss::MeanSquaredError || loss == Loss::KullbackLeibler {
                                    let Err(StepError::Probability { index: at, found }) = result else {
                                        panic!("{bad} as a target: {result:?}");
                                    };
                                    assert_eq!((at, found.to_bits()), (index, bad.to_bits()));
                                } else {
                                    check(result, "a target that is not finite");
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(seen > 1000);
}

/// Whether it is the data's part that is not finite or the penalty's.
#[test]
fn a_penalty_that_is_not_finite_changes_nothing() {
    for penalty in [Penalty::l1(1.0), Penalty::l2(1e-3), Penalty::elastic_net(0.1, 0.1), Penalty::l2(f32::MAX)] {
        let layers = [Layer::dense(6, Tanh).with_penalty(penalty), Layer::dense(3, Linear)];
        let layout = Layout::new(5, &layers).unwrap();
        for isa in Isa::available() {
            let (mlp, lean) = (Mlp::new(layout, isa), Mlp::new(layout, isa).with_schedule(Schedule::Lean));
            for (mlp, batch) in [(mlp, 7), (mlp, 1), (mlp.with_threads(3).with_grain(1), 7), (lean, 1)] {
                for optimizer in OPTIMIZERS {
                    let trainer = Trainer::new(mlp, Loss::MeanSquaredError, optimizer).unwrap();
                    let targets = numbers(batch * 3, 6);
                    let spoilt = |w: f32| {
                        let weight = move |_: &mut [f32], params: &mut [f32]| params[7] = w;
                        spoilt(&trainer, batch, Targets::values(&targets), &weight)
                    };
                    assert_eq!(spoilt(0.5).is_ok(), penalty.l2 < 1e38);
                    for bad in [3e38, -3e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
                        // tanh makes a finite loss of the data, and 3e38 a finite sum of absolute values.
                        let fine = bad.is_finite() && penalty.l2 == 0.0;
                        let result = spoilt(bad);
                        assert_eq!(result.is_ok(), fine, "{bad}, {trainer:?}");
                        let not_finite =
                            matches!(result, Err(StepError::NonFiniteLoss { found }) if !found.is_finite());
                        assert!(fine || not_finite, "{result:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn targets_are_checked() {
    for schedule in [Schedule::Batch, Schedule::Lean] {
        let batch = if schedule == Schedule::Lean { 1 } else { 3 };
        let last = batch - 1;
        let train = |top: Activation, loss: Loss, targets: Targets<'_>| {
            let layers = [Layer::dense(4, top)];
            let mlp = Mlp::new(Layout::new(2, &layers).unwrap(), Isa::detect()).with_schedule(schedule);
            spoilt(&Trainer::new(mlp, loss, OPTIMIZERS[3]).unwrap(), batch, targets, &|_, _| ())
        };
        // Classes.
        for bad in [4, 5, u32::MAX] {
            let mut classes = vec![3; batch];
            assert!(train(Softmax, Loss::CrossEntropy, Targets::classes(&classes)).is_ok());
            classes[last] = bad;
            assert_eq!(
                train(Softmax, Loss::CrossEntropy, Targets::classes(&classes)),
                Err(StepError::Class { sample: last, found: bad, classes: 4 })
            );
        }
        for found in [0, batch - 1, batch + 1, 50_021] {
            if found != batch {
                let classes = vec![0; found];
                let result = train(Softmax, Loss::CrossEntropy, Targets::classes(&classes));
                assert_eq!(result.err(), length(Buffer::Targets, batch, found));
            }
        }
        for (top, loss, name) in [
            (Sigmoid, Loss::BinaryCrossEntropy, "binary cross-entropy"),
            (Linear, Loss::MeanSquaredError, "mean squared error"),
            (Softmax, Loss::HalfMeanSquaredError, "half mean squared error"),
            (Softmax, Loss::CrossEntropyOfProbabilities, "cross-entropy of probabilities"),
            (Linear, Loss::Custom(&Sum), "sum of outputs"),
        ] {
            let classes = vec![0; batch];
            assert_eq!(train(top, loss, Targets::classes(&classes)), Err(StepError::ClassTargets { loss: name }));
        }
        // Probabilities.
        for (value, fine) in
            [(0.0, true), (-0.0, true), (0.3, true), (1.0, true), (1.000_000_1, false), (-1e-45, false)]
        {
            let mut values = vec![0.5; 4 * batch];
            values[4 * last + 1] = value;
            let expected = StepError::Probability { index: 4 * last + 1, found: value };
            for loss in [
                Loss::BinaryCrossEntropy,
                Loss::SmoothedBinaryCrossEntropy { smoothing: 0.1 },
                Loss::BinaryCrossEntropyOfProbabilities,
                Loss::CrossEntropyOfProbabilities,
                Loss::KullbackLeibler,
            ] {
                let result = train(Sigmoid, loss, Targets::values(&values));
                assert_eq!(result.err(), if fine { None } else { Some(expected) });
                // What is masked is not looked at.
                let mut mask = vec![1.0; 4 * batch];
                mask[4 * last + 1] = 0.0;
                assert!(train(Sigmoid, loss, Targets::values(&values).with_mask(&mask)).is_ok());
            }
        }
        // Signs and counts.
        for (value, is_sign, is_count) in
            [(1.0, true, true), (-1.0, true, false), (0.0, false, true), (-0.0, false, true), (1.5, false, true)]
        {
            let mut values = vec![1.0; 4 * batch];
            let index = 4 * last + 2;
            values[index] = value;
            let result = train(Linear, Loss::Hinge, Targets::values(&values));
            assert_eq!(result.err(), if is_sign { None } else { Some(StepError::Sign { index, found: value }) });
            let result = train(Sigmoid, Loss::Poisson, Targets::values(&values));
            assert_eq!(result.err(), if is_count { None } else { Some(StepError::Negative { index, found: value }) });
        }
        // Cross-entropy takes any weights.
        let values: Vec<f32> = [0.5, -2.0, 0.0, 3.0].repeat(batch);
        assert!(train(Softmax, Loss::CrossEntropy, Targets::values(&values)).is_ok());
    }
}

/// A custom loss: the sum of the outputs.
struct Sum;

impl LossFunction for Sum {
    fn value(&self, outputs: &[f32], _: &[f32]) -> f32 {
        outputs.iter().sum()
    }

    fn derivative(&self, _: &[f32], _: &[f32], derivative: &mut [f32]) {
        derivative.fill(1.0);
    }

    fn name(&self) -> &'static str {
        "sum of outputs"
    }
}

#[test]
fn weights_and_masks_are_checked() {
    for schedule in [Schedule::Batch, Schedule::Lean] {
        let batch = if schedule == Schedule::Lean { 1 } else { 3 };
        let last = batch - 1;
        let layers = [Layer::dense(4, Softmax)];
        let mlp = Mlp::new(Layout::new(2, &layers).unwrap(), Isa::detect()).with_schedule(schedule);
        let trainer = |loss| Trainer::new(mlp, loss, OPTIMIZERS[3]).unwrap();
        let (classes, values) = (vec![1; batch], vec![0.5; 4 * batch]);
        let both = [Targets::classes(&classes), Targets::values(&values)];
        for targets in both {
            let train = |targets: Targets<'_>| spoilt(&trainer(Loss::CrossEntropy), batch, targets, &|_, _| ()).err();
            for found in [0, batch - 1, batch + 1, 50_021] {
                let weights = vec![1.0; found];
                let expected = if found == batch { None } else { length(Buffer::SampleWeights, batch, found) };
                assert_eq!(train(targets.with_sample_weights(&weights)), expected);
            }
            for found in [0, 4 * batch - 1, 4 * batch + 1, 50_021] {
                let mask = vec![1.0; found];
                assert_eq!(train(targets.with_mask(&mask)), length(Buffer::Mask, 4 * batch, found));
            }
            for (value, fine) in [(0.0, true), (-0.0, true), (1.0, true), (0.5, false), (-1.0, false), (2.0, false)] {
                let mut mask = vec![1.0; 4 * batch];
                let index = 4 * last + 3;
                mask[index] = value;
                let expected = if fine { None } else { Some(StepError::Mask { index, found: value }) };
                assert_eq!(train(targets.with_mask(&mask)), expected);
            }
            for weight in [f32::NAN, f32::INFINITY] {
                let mut weights = vec![1.0; batch];
                weights[last] = weight;
                let result = train(targets.with_sample_weights(&weights));
                assert!(matches!(result, Some(StepError::NonFiniteLoss { .. })), "{result:?}");
            }
        }
        // A custom loss has whole samples.
        let custom = trainer(Loss::Custom(&Sum));
        let mut mask = vec![1.0; 4 * batch];
        mask[4 * last..].fill(0.0);
        assert!(spoilt(&custom, batch, both[1].with_mask(&mask), &|_, _| ()).is_ok());
        mask[4 * last + 1] = 1.0;
        let result = spoilt(&custom, batch, both[1].with_mask(&mask), &|_, _| ());
        assert_eq!(result, Err(StepError::PartialMask { sample: last }));

        // Class weights.
        let four = [1.0, 2.0, 0.0, 4.0];
        for found in [0, 1, 2, 3, 5] {
            let weights = vec![1.0; found];
            let result = trainer(Loss::CrossEntropy).with_class_weights(&weights);
            assert_eq!(result.err(), Some(TrainerError::ClassWeights { expected: 4, found }));
        }
        let weighted = trainer(Loss::CrossEntropy).with_class_weights(&four).unwrap();
        assert!(spoilt(&weighted, batch, both[0], &|_, _| ()).is_ok());
        assert_eq!(spoilt(&weighted, batch, both[1], &|_, _| ()), Err(StepError::ClassWeights { outputs: 4 }));
        let layers = [Layer::dense(1, Sigmoid)];
        let mlp = Mlp::new(Layout::new(2, &layers).unwrap(), Isa::detect()).with_schedule(schedule);
        let trainer = Trainer::new(mlp, Loss::BinaryCrossEntropy, OPTIMIZERS[0]).unwrap();
        let result = trainer.with_class_weights(&four);
        assert_eq!(result.err(), Some(TrainerError::ClassWeights { expected: 2, found: 4 }));
        let weighted = trainer.with_class_weights(&[0.5, 2.0]).unwrap();
        assert!(spoilt(&weighted, batch, Targets::values(&values[..batch]), &|_, _| ()).is_ok());
    }
}

#[test]
fn settings_of_losses_are_checked() {
    let mlp = mlps()[0].0;
    type Make = fn(f32) -> Loss<'static>;
    type Error = fn(f32) -> TrainerError;
    let cases: [(Make, Error, &[f32], &[f32]); 4] = [
        (
            |delta| Loss::Huber { delta },
            |found| TrainerError::HuberDelta { found },
            &[0.0, -1.0, f32::INFINITY, f32::NAN],
            &[1e-45, 1.0, f32::MAX],
        ),
        (
            |quantile| Loss::Quantile { quantile },
            |found| TrainerError::Quantile { found },
            &[0.0, 1.0, -0.5, f32::NAN],
            &[1e-45, 0.5, 0.999_999_94],
        ),
        (
            |smoothing| Loss::SmoothedBinaryCrossEntropy { smoothing },
            |found| TrainerError::Smoothing { found },
            &[-0.1, 1.0, f32::NAN],
            &[0.0, 0.999_999_94],
        ),
        (
            |smoothing| Loss::SmoothedCrossEntropy { smoothing },
            |found| TrainerError::Smoothing { found },
            &[-0.1, 1.0, f32::NAN],
            &[],
        ),
    ];
    for (loss, error, bad, fine) in cases {
        for &found in bad {
            let result = Trainer::new(mlp, loss(found), OPTIMIZERS[0]).unwrap_err();
            // NaN is no number, and so no error equals itself: compare what is printed.
            assert_eq!(format!("{result:?}"), format!("{:?}", error(found)));
        }
        for &found in fine {
            assert!(Trainer::new(mlp, loss(found), OPTIMIZERS[0]).is_ok(), "{:?}", loss(found));
        }
    }
}

/// A custom loss in the lean schedule needs more than a float per neuron.
#[test]
fn a_custom_loss_has_a_workspace_of_its_own() {
    for (mlp, batch) in mlps() {
        let trainer = Trainer::new(mlp, Loss::Custom(&Sum), OPTIMIZERS[0]).unwrap();
        let plain = Trainer::new(mlp, Loss::MeanSquaredError, OPTIMIZERS[0]).unwrap();
        assert_eq!(plain.workspace_len(batch), mlp.workspace_len(batch));
        let more = if mlp.schedule() == Schedule::Lean { LAYOUT.outputs() } else { 0 };
        let needed = mlp.workspace_len(batch).unwrap() + more;
        assert_eq!(trainer.workspace_len(batch), Ok(needed));
        sweep(
            "a custom loss",
            &[
                samples(batch, LAYOUT.inputs()),
                read(Buffer::Targets, batch * LAYOUT.outputs()),
                write(Buffer::Parameters, LAYOUT.params_len()),
                scratch(needed),
            ],
            &|s| {
                let [x, targets, params, workspace] = s else { unreachable!() };
                trainer.train_step(0, x, Targets::values(targets), params, &mut [], workspace).map(drop)
            },
        );
    }
}

#[test]
fn settings_are_checked_wherever_they_come_in() {
    let rate = |error: &TrainerError| matches!(error, TrainerError::LearningRate { .. });
    let decay = |error: &TrainerError| matches!(error, TrainerError::DecayRate { .. });
    let epsilon = |error: &TrainerError| matches!(error, TrainerError::Epsilon { .. });
    type Named = fn(&TrainerError) -> bool;
    let mut cases: Vec<(Optimizer, f32, Named)> = Vec::new();
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e-45, -0.1] {
        cases.push((Sgd::new(bad).into(), bad, rate));
        cases.push((Sgd::new(bad).momentum(0.9).into(), bad, rate));
        cases.push((Adam::new(bad).into(), bad, rate));
        cases.push((Sgd::new(0.1).momentum(bad).into(), bad, decay));
        cases.push((Adam::new(0.1).epsilon(bad, EpsilonPlacement::Uncorrected).into(), bad, epsilon));
    }
    for bad in [f32::NAN, f32::INFINITY, 1.0, 1.5, -0.1] {
        cases.push((Sgd::new(0.1).nesterov(bad).into(), bad, decay));
        cases.push((Adam::new(0.1).betas(bad, 0.9).into(), bad, decay));
        cases.push((Adam::new(0.1).betas(0.9, bad).into(), bad, decay));
    }
    cases.push((Adam::new(0.1).epsilon(0.0, EpsilonPlacement::Corrected).into(), 0.0, epsilon));

    for (optimizer, bad, named) in &cases {
        for (mlp, batch) in mlps() {
            let error = Trainer::new(mlp, Loss::MeanSquaredError, *optimizer).unwrap_err();
            assert!(named(&error), "{error:?}");
            assert!(error.to_string().ends_with(&format!("found {bad}")), "{error}");

            let mut params = numbers(LAYOUT.params_len(), 1);
            let mut state = numbers(LAYOUT.optimizer_len(optimizer), 2);
            let mut below = numbers(batch * LAYOUT.inputs(), 3);
            let before = [bits(&params), bits(&state), bits(&below)];
            let (x, delta) = (numbers(batch * LAYOUT.inputs(), 4), numbers(batch * LAYOUT.outputs(), 5));
            let mut workspace = vec![0.0; mlp.workspace_len(batch).unwrap()];
            let pass = mlp.forward(&params.clone(), &x, &mut workspace).unwrap();
            let result = pass.backward(optimizer, 0, Delta::Outputs(&delta), &mut params, &mut state, Some(&mut below));
            assert!(matches!(&result, Err(StepError::Trainer(error)) if named(error)), "{result:?}");
            assert_eq!([bits(&params), bits(&state), bits(&below)], before);
        }
        let (x, delta, mut params) = (numbers(8, 1), numbers(6, 2), numbers(15, 3));
        let mut state = numbers(15 * optimizer.state_per_parameter(), 4);
        let before = [bits(&params), bits(&state)];
        let result =
            kernels::dense_update(Isa::detect(), &x, &delta, 3, optimizer, 0, &mut params, &mut state, &mut [0.0; 2]);
        assert!(matches!(&result, Err(StepError::Trainer(error)) if named(error)), "{result:?}");
        assert_eq!([bits(&params), bits(&state)], before);
    }

    // The ends of the ranges are fine, and the last step is a step.
    let fine = [
        Sgd::new(0.0).into(),
        Sgd::new(-0.0).momentum(0.0).into(),
        Sgd::new(f32::MAX).nesterov(0.999_999_94).into(),
        Adam::new(0.1).betas(0.0, 0.0).epsilon(1e-45, EpsilonPlacement::Corrected).into(),
        Adam::new(0.1).betas(0.999_999_94, 0.999_999_94).epsilon(f32::MAX, EpsilonPlacement::Uncorrected).into(),
    ];
    for optimizer in fine {
        for (mlp, batch) in mlps() {
            let trainer = Trainer::new(mlp, Loss::MeanSquaredError, optimizer).unwrap();
            let (x, targets) = (numbers(batch * LAYOUT.inputs(), 4), numbers(batch * LAYOUT.outputs(), 5));
            let mut params = numbers(LAYOUT.params_len(), 1);
            let mut state = numbers(LAYOUT.optimizer_len(&optimizer), 2);
            let mut workspace = vec![0.0; mlp.workspace_len(batch).unwrap()];
            let result =
                trainer.train_step(u64::MAX, &x, Targets::values(&targets), &mut params, &mut state, &mut workspace);
            assert!(result.is_ok(), "{result:?}");
        }
    }
}

/// Every loss.
const LOSSES: [Loss; 16] = [
    Loss::HalfMeanSquaredError,
    Loss::MeanSquaredError,
    Loss::MeanAbsoluteError,
    Loss::Huber { delta: 0.1 },
    Loss::LogCosh,
    Loss::Quantile { quantile: 0.9 },
    Loss::Poisson,
    Loss::Hinge,
    Loss::BinaryCrossEntropy,
    Loss::SmoothedBinaryCrossEntropy { smoothing: 0.1 },
    Loss::BinaryCrossEntropyOfProbabilities,
    Loss::CrossEntropy,
    Loss::SmoothedCrossEntropy { smoothing: 0.1 },
    Loss::CrossEntropyOfProbabilities,
    Loss::KullbackLeibler,
    Loss::Custom(&Sum),
];

#[test]
fn losses_are_checked_against_outputs() {
    for activation in [Linear, Relu, LeakyRelu { slope: 0.1 }, Sigmoid, Tanh, Softmax] {
        let layers = [Layer::dense(2, activation)];
        let mlp = Mlp::new(Layout::new(2, &layers).unwrap(), Isa::SCALAR);
        for loss in LOSSES {
            let expected = match loss {
                Loss::BinaryCrossEntropy if activation != Sigmoid => Some(("binary cross-entropy", Sigmoid)),
                Loss::SmoothedBinaryCrossEntropy { .. } if activation != Sigmoid => {
                    Some(("smoothed binary cross-entropy", Sigmoid))
                }
                Loss::CrossEntropy if activation != Softmax => Some(("cross-entropy", Softmax)),
                Loss::SmoothedCrossEntropy { .. } if activation != Softmax => Some(("smoothed cross-entropy", Softmax)),
                _ => None,
            };
            let error = |(loss, needed)| TrainerError::LossOnActivation { loss, activation, needed };
            assert_eq!(Trainer::new(mlp, loss, OPTIMIZERS[0]).err(), expected.map(error));
        }
    }
}

#[test]
fn losses_have_names() {
    let names: Vec<String> = LOSSES.iter().map(Loss::to_string).collect();
    let expected = [
        "half mean squared error",
        "mean squared error",
        "mean absolute error",
        "Huber loss",
        "log-cosh loss",
        "quantile loss",
        "Poisson loss",
        "hinge loss",
        "binary cross-entropy",
        "smoothed binary cross-entropy",
        "binary cross-entropy of probabilities",
        "cross-entropy",
        "smoothed cross-entropy",
        "cross-entropy of probabilities",
        "Kullback-Leibler divergence",
        "sum of outputs",
    ];
    assert_eq!(names, expected);
    assert_eq!(format!("{:?}", LOSSES[15]), "Custom(LossFunction(sum of outputs))");
    assert_eq!(LOSSES[15], LOSSES[15]);
    assert_ne!(LOSSES[15], LOSSES[0]);
}

#[test]
fn layouts_are_checked() {
    let ok = Layer::dense(3, Relu);
    assert_eq!(Layout::new(0, &[ok]), Err(LayoutError::NoInputs));
    assert_eq!(Layout::new(1, &[]), Err(LayoutError::NoLayers));
    assert_eq!(Layout::new(1, &[ok, Layer::dense(0, Relu), ok]), Err(LayoutError::NoUnits { layer: 1 }));
    assert_eq!(Layout::new(1, &[ok, Layer::dense(3, Softmax), ok]), Err(LayoutError::HiddenSoftmax { layer: 1 }));
    for slope in [f32::NAN, f32::INFINITY, -1e-45, 1.000_000_1] {
        let layers = [ok, ok, Layer::dense(3, LeakyRelu { slope })];
        assert_eq!(Layout::new(1, &layers), Err(LayoutError::LeakySlope { layer: 2 }));
    }
    for alpha in [f32::NAN, f32::INFINITY, -1e-45] {
        let layers = [ok, Layer::dense(3, Elu { alpha })];
        assert_eq!(Layout::new(1, &layers), Err(LayoutError::EluAlpha { layer: 1 }));
    }
    for alpha in [0.0, -0.0, 1.0, f32::MAX] {
        assert!(Layout::new(1, &[Layer::dense(3, Elu { alpha })]).is_ok());
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e-45, -1.0] {
        for penalty in [Penalty::l1(bad), Penalty::l2(bad), Penalty::elastic_net(bad, 0.1)] {
            let layers = [ok, Layer::dense(3, Relu).with_penalty(penalty), ok];
            assert_eq!(Layout::new(1, &layers), Err(LayoutError::Penalty { layer: 1 }));
        }
    }
    for fine in [Penalty::NONE, Penalty::l1(-0.0), Penalty::l2(f32::MAX), Penalty::elastic_net(1e-45, f32::MAX)] {
        assert!(Layout::new(1, &[ok.with_penalty(fine)]).is_ok());
    }
    // A product, a sum, and one more for the bias.
    let half = 1 << (usize::BITS / 2);
    assert_eq!(Layout::new(half, &[Layer::dense(half, Relu)]), Err(LayoutError::TooLarge));
    assert_eq!(Layout::new(usize::MAX, &[Layer::dense(1, Relu)]), Err(LayoutError::TooLarge));
    assert_eq!(Layout::new(1, &[Layer::dense(usize::MAX, Relu)]), Err(LayoutError::TooLarge));
    let large = isize::MAX as usize / 8;
    let layers = [Layer::dense(1, Relu); 3];
    assert!(Layout::new(large - 5, &layers).is_ok(), "{large} parameters are the most");
    assert_eq!(Layout::new(large - 4, &layers), Err(LayoutError::TooLarge));
}

#[test]
fn lengths_of_the_largest_networks_do_not_overflow() {
    let most = isize::MAX as usize / 8;
    let wide = [Layer::dense(most / 2 - 1, Relu), Layer::dense(1, Sigmoid)];
    let tall = [Layer::dense(1, Tanh)];
    let many = [Layer::dense(1, Tanh); 1000];
    let small = [Layer::dense(2, Tanh), Layer::dense(2, Tanh)];
    let layouts = [Layout::new(1, &wide), Layout::new(most - 1, &tall), Layout::new(1, &many), Layout::new(2, &small)];
    let layouts = layouts.into_iter().filter_map(Result::ok).collect::<Vec<_>>();
    assert!(layouts.len() >= 3);
    for layout in layouts {
        for optimizer in OPTIMIZERS {
            assert_eq!(layout.optimizer_len(&optimizer), layout.params_len() * optimizer.state_per_parameter());
        }
        assert!(layout.lean_workspace_len() < layout.params_len());
        for batch in [0, 1, 2, 1 << 20, usize::MAX / 64, isize::MAX as usize, usize::MAX - 15, usize::MAX] {
            for threads in [0, 1, 3, 1 << 20, usize::MAX / 32, usize::MAX] {
                let mlp = Mlp::new(layout, Isa::SCALAR).with_threads(threads).with_grain(usize::MAX).with_grain(0);
                let lean = mlp.with_schedule(Schedule::Lean);
                assert_eq!(lean.workspace_len(batch), Ok(layout.lean_workspace_len()));
                assert_eq!(lean.predict_workspace_len(batch), Ok(layout.lean_workspace_len()));
                for len in [mlp.workspace_len(batch), mlp.predict_workspace_len(batch)] {
                    match len {
                        Ok(len) => assert!(len <= isize::MAX as usize / 4),
                        Err(error) => assert_eq!(error, LayoutError::TooLarge),
                    }
                }
                if batch > isize::MAX as usize / 4 {
                    assert_eq!(mlp.workspace_len(batch), Err(LayoutError::TooLarge));
                }
            }
        }
    }
}

/// One sample needs a float for each neuron, or what a batch of one needs, if that is less.
#[test]
fn one_sample_needs_little_workspace() {
    let deep = [Layer::dense(3, Tanh); 1000];
    let deep = Layout::new(4, &deep).unwrap();
    for (layout, is_deep) in [(LAYOUT, false), (deep, true)] {
        let neurons = layout.lean_workspace_len();
        let (params, x) = (numbers(layout.params_len(), 1), numbers(layout.inputs(), 2));
        for isa in Isa::available() {
            let mlp = Mlp::new(layout, isa);
            let len = mlp.predict_workspace_len(1).unwrap();
            assert_eq!((len < neurons, len == neurons), (is_deep, !is_deep));
            assert!(len <= mlp.predict_workspace_len(2).unwrap());
            let outputs = [len, neurons].map(|len| {
                let mut y = vec![f32::NAN; layout.outputs()];
                mlp.predict(&params, &x, &mut y, &mut vec![f32::NAN; len]).unwrap();
                bits(&y)
            });
            assert_eq!(outputs[0], outputs[1], "{isa}");
            let mut y = vec![f32::NAN; layout.outputs()];
            let refused = mlp.predict(&params, &x, &mut y, &mut vec![0.0; len - 1]);
            assert_eq!(refused, Err(StepError::Length { buffer: Buffer::Workspace, expected: len, found: len - 1 }));
        }
    }
}

/// Threads that have nothing to do need no workspace either.
#[test]
fn threads_without_work_need_no_workspace() {
    let one = Mlp::new(LAYOUT, Isa::detect());
    let many = one.with_threads(usize::MAX);
    for batch in 1..10 {
        assert_eq!(many.workspace_len(batch), one.workspace_len(batch));
        assert_eq!(many.predict_workspace_len(batch), one.predict_workspace_len(batch));
    }
    let (params, x) = (numbers(LAYOUT.params_len(), 1), numbers(2 * LAYOUT.inputs(), 2));
    let (mut y, mut expected) = (numbers(2 * LAYOUT.outputs(), 3), numbers(2 * LAYOUT.outputs(), 4));
    let mut workspace = vec![0.0; one.predict_workspace_len(2).unwrap()];
    many.predict(&params, &x, &mut y, &mut workspace).unwrap();
    one.predict(&params, &x, &mut expected, &mut workspace).unwrap();
    assert_eq!(bits(&y), bits(&expected));
}

#[test]
fn a_workspace_may_start_anywhere() {
    for (mlp, batch) in mlps() {
        let trainer = Trainer::new(mlp, Loss::BinaryCrossEntropy, OPTIMIZERS[3]).unwrap();
        let (x, targets) = (numbers(batch * LAYOUT.inputs(), 1), numbers(batch * LAYOUT.outputs(), 2));
        let (len, predict_len) = (mlp.workspace_len(batch).unwrap(), mlp.predict_workspace_len(batch).unwrap());
        let mut buffer = vec![f32::NAN; len.max(predict_len) + 17];
        let mut seen = Vec::new();
        for start in 0..17 {
            let mut params = numbers(LAYOUT.params_len(), 3);
            let mut state = vec![0.0; LAYOUT.optimizer_len(&OPTIMIZERS[3])];
            let mut y = numbers(batch * LAYOUT.outputs(), 4);
            for step in 0..3 {
                let workspace = &mut buffer[start..start + len];
                trainer.train_step(step, &x, Targets::values(&targets), &mut params, &mut state, workspace).unwrap();
            }
            mlp.predict(&params, &x, &mut y, &mut buffer[start..start + predict_len]).unwrap();
            let pass = mlp.forward(&params, &x, &mut buffer[start..start + len]).unwrap();
            assert_eq!(bits(pass.outputs()), bits(&y));
            seen.push([hash(&params), hash(&state), hash(&y)]);
        }
        assert!(seen.iter().all(|hashes| *hashes == seen[0]), "{seen:?}");
    }
}

#[test]
fn messages_read_well() {
    let length = |buffer| StepError::Length { buffer, expected: 64, found: 63 };
    let cases: [(&dyn Display, &str); 48] = [
        (&IsaError::NoFusedMultiplyAdd, "fused arithmetic needs a CPU with FMA; portable arithmetic runs here"),
        (&LayoutError::NoInputs, "a network has at least one input"),
        (&LayoutError::NoLayers, "a network has at least one layer"),
        (&LayoutError::NoUnits { layer: 2 }, "layer 2: a layer has at least one unit"),
        (
            &LayoutError::ByOutput { layer: 1 },
            "layer 1: weights by output are for the first layer, with a bias, an activation whose value gives its slope, and no \
             dropout or penalty, of a network without residual connections and batch norm",
        ),
        (&LayoutError::HiddenSoftmax { layer: 1 }, "layer 1: softmax is for the last layer only"),
        (&LayoutError::LeakySlope { layer: 0 }, "layer 0: a leaky slope lies in 0 to 1"),
        (&LayoutError::EluAlpha { layer: 3 }, "layer 3: an ELU's alpha is finite and not negative"),
        (&LayoutError::Penalty { layer: 3 }, "layer 3: the factors of a penalty are finite and not negative"),
        (&LayoutError::TooLarge, "the number of parameters or a buffer's length overflows usize"),
        (
            &TrainerError::LossOnActivation { loss: "binary cross-entropy", activation: Tanh, needed: Sigmoid },
            "binary cross-entropy makes no sense on tanh outputs: end the network with a sigmoid",
        ),
        (
            &TrainerError::LossOnActivation { loss: "cross-entropy", activation: Linear, needed: Softmax },
            "cross-entropy makes no sense on linear outputs: end the network with a softmax",
        ),
        (&TrainerError::HuberDelta { found: -1.0 }, "a Huber loss's delta is finite and above zero, found -1"),
        (&TrainerError::Quantile { found: 1.0 }, "a quantile lies in 0 < q < 1, found 1"),
        (&TrainerError::Smoothing { found: f32::NAN }, "label smoothing lies in 0 <= smoothing < 1, found NaN"),
        (&TrainerError::ClassWeights { expected: 10, found: 9 }, "expected a weight for each of 10 classes, found 9"),
        (&TrainerError::LearningRate { found: f32::NAN }, "a learning rate is finite and not negative, found NaN"),
        (&TrainerError::DecayRate { found: 1.5 }, "a decay rate (momentum, beta) lies in 0 <= rate < 1, found 1.5"),
        (&TrainerError::Epsilon { found: 0.0 }, "epsilon is finite and above zero, found 0"),
        (&length(Buffer::Inputs), "inputs: expected a length of 64, found 63"),
        (&length(Buffer::Targets), "targets: expected a length of 64, found 63"),
        (&length(Buffer::SampleWeights), "sample weights: expected a length of 64, found 63"),
        (&length(Buffer::Mask), "mask: expected a length of 64, found 63"),
        (&length(Buffer::Outputs), "outputs: expected a length of 64, found 63"),
        (&length(Buffer::Parameters), "parameters: expected a length of 64, found 63"),
        (&length(Buffer::OptimizerState), "optimizer state: expected a length of 64, found 63"),
        (&length(Buffer::Workspace), "workspace: expected a length of at least 64, found 63"),
        (&length(Buffer::Gradient), "gradient: expected a length of 64, found 63"),
        (&length(Buffer::OutputDelta), "output delta: expected a length of 64, found 63"),
        (&length(Buffer::InputDelta), "input delta: expected a length of 64, found 63"),
        (&length(Buffer::Weights), "weights: expected a length of 64, found 63"),
        (
            &StepError::Batch { inputs: 20, found: 19 },
            "inputs: expected one or more samples of 20, found a length of 19",
        ),
        (&StepError::NoOutputs, "a layer has at least one output, found 0"),
        (
            &StepError::BatchByOutput,
            "layer 0 stores its weights by output, which only Schedule::Lean takes: copy_params brings them to the other order",
        ),
        (&StepError::LayoutsDiffer, "the two layouts differ in more than the order of their weights"),
        (&StepError::BatchSlices, "a step in slices needs the lean schedule, found the batch schedule"),
        (&StepError::OtherLayout, "the step in slices was begun by a trainer of another layout"),
        (&StepError::LeanBatch { found: 32 }, "the lean schedule takes 1 sample at a time, found 32"),
        (
            &StepError::Class { sample: 7, found: 10, classes: 10 },
            "sample 7: expected a class below 10 (the number of outputs), found 10",
        ),
        (&StepError::Probability { index: 3, found: 2.0 }, "target 3: expected a probability, 0 to 1, found 2"),
        (&StepError::Sign { index: 3, found: 0.0 }, "target 3: expected -1 or 1, found 0"),
        (&StepError::Negative { index: 3, found: -0.5 }, "target 3: expected 0 or more, found -0.5"),
        (&StepError::Mask { index: 3, found: 0.5 }, "mask 3: expected 0 or 1, found 0.5"),
        (&StepError::PartialMask { sample: 7 }, "sample 7: a custom loss has its samples masked whole or not at all"),
        (
            &StepError::ClassWeights { outputs: 10 },
            "class weights need class indices or a single output, found target values for 10 outputs",
        ),
        (
            &StepError::ClassTargets { loss: "mean squared error" },
            "mean squared error compares values, found class indices (they are for cross-entropy)",
        ),
        (
            &StepError::NonFiniteLoss { found: f32::INFINITY },
            "the loss is inf; nothing was updated \
             (is there a NaN or an infinity in the data, or is the learning rate too high?)",
        ),
        (&StepError::TooLarge, "too many samples or threads: a buffer's length overflows usize"),
    ];
    for (error, message) in cases {
        assert_eq!(error.to_string(), message);
    }
    let wrapped = StepError::from(TrainerError::LearningRate { found: -1.0 });
    assert_eq!(wrapped.to_string(), "a learning rate is finite and not negative, found -1");
    fn is_an_error<E: std::error::Error + Send + Sync + 'static>() {}
    is_an_error::<IsaError>();
    is_an_error::<LayoutError>();
    is_an_error::<TrainerError>();
    is_an_error::<StepError>();
}

/// A slice between canaries, at a random offset from the start of its allocation.
struct Guarded {
    all: Vec<f32>,
    start: usize,
    len: usize,
    before: Vec<u32>,
}

const CANARY: u32 = 0x7fc0_dead;

impl Guarded {
    fn new(rng: &mut Rng, len: usize, wild: bool) -> Self {
        let start = 16 + rng.below(17) as usize;
        let mut all = vec![f32::from_bits(CANARY); start + len + 32];
        for value in &mut all[start..start + len] {
            *value = match rng.below(200) {
                0 if wild => f32::NAN,
                1 if wild => f32::INFINITY,
                2 if wild => -1e38,
                3 => 0.0,
                4 => -0.0,
                5 => 1e-45,
                _ => rng.uniform(),
            };
        }
        let before = bits(&all);
        Self { all, start, len, before }
    }

    fn slice(&mut self) -> &mut [f32] {
        &mut self.all[self.start..self.start + self.len]
    }

    /// What lies around the slice is as it was; with `whole` so is the slice.
    fn check(&self, whole: bool, what: &str) {
        let now = bits(&self.all);
        if whole {
            assert_eq!(now, self.before, "{what}");
        }
        let end = self.start + self.len;
        assert!(now[..self.start].iter().chain(&now[end..]).all(|&bits| bits == CANARY), "{what}: beyond the slice");
    }
}

#[test]
fn random_calls_neither_panic_nor_write_where_they_should_not() {
    let isas: Vec<Isa> = Isa::available().collect();
    let rng = &mut Rng::new(2024);
    let mut outcomes = [[0_u32; 2]; 9];
    for call in 0..24_000 {
        let isa = isas[rng.below(isas.len() as u32) as usize];
        // Half of the calls have every length right, the others mostly one wrong.
        let wrong = if rng.below(2) == 0 { 99 } else { rng.below(6) };
        let wild = rng.below(4) == 0;
        let size = |rng: &mut Rng, most: u32| 1 + rng.below(most) as usize;
        let activation = [Linear, Relu, LeakyRelu { slope: 0.3 }, Sigmoid, Tanh, Softmax][rng.below(6) as usize];
        let optimizer = OPTIMIZERS[rng.below(4) as usize];
        let mut argument = 0;
        let mut guarded = |rng: &mut Rng, len: usize| {
            let len = match (argument == wrong, rng.below(8)) {
                (false, _) => len,
                (_, 0) => 0,
                (_, 1) => len * 2,
                (_, 2 | 3) => len + 1,
                (_, 4 | 5) => len.saturating_sub(1),
                (_, 6) => rng.below(len as u32 + 1) as usize,
                _ => len + rng.below(500) as usize,
            };
            argument += 1;
            Guarded::new(rng, len, wild)
        };
        let kind = call % outcomes.len();
        // The outputs, what they are checked by, and the slices that are scratch.
        let (ok, what, outputs, scratch): (bool, String, Vec<Guarded>, Vec<Guarded>) = if kind < 4 {
            let edge = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40];
            let batch = size(rng, 9);
            let inputs = if rng.below(20) == 0 { 250 + size(rng, 12) } else { size(rng, 40) };
            let outputs = edge[rng.below(12) as usize];
            match kind {
                0 => {
                    let mut x = guarded(rng, batch * inputs);
                    let mut weights = guarded(rng, inputs * outputs);
                    let mut bias = guarded(rng, outputs);
                    let mut y = guarded(rng, batch * outputs);
                    let mut s = guarded(rng, kernels::forward_scratch_len(inputs));
                    let (x, weights, bias) = (x.slice(), weights.slice(), bias.slice());
                    let result = kernels::dense_forward(isa, x, weights, bias, activation, y.slice(), s.slice());
                    (result.is_ok(), format!("dense_forward {result:?}"), vec![y], vec![s])
                }
                1 => {
                    let mut delta = guarded(rng, batch * outputs);
                    let mut weights = guarded(rng, inputs * outputs);
                    let mut y = guarded(rng, batch * inputs);
                    let mut below = guarded(rng, batch * inputs);
                    let mut s = guarded(rng, kernels::forward_scratch_len(outputs));
                    let outputs = if wrong == 5 { rng.below(20) as usize } else { outputs };
                    let (delta, weights, y) = (delta.slice(), weights.slice(), y.slice());
                    let (to, scratch) = (below.slice(), s.slice());
                    let result = kernels::dense_delta(isa, delta, outputs, weights, y, activation, to, scratch);
                    (result.is_ok(), format!("dense_delta {result:?}"), vec![below], vec![s])
                }
                2 => {
                    let mut x = guarded(rng, batch * inputs);
                    let mut delta = guarded(rng, batch * outputs);
                    let mut params = guarded(rng, (inputs + 1) * outputs);
                    let mut state = guarded(rng, (inputs + 1) * outputs * optimizer.state_per_parameter());
                    let mut s = guarded(rng, batch);
                    let outputs = if wrong == 5 { rng.below(20) as usize } else { outputs };
                    let (x, delta, step) = (x.slice(), delta.slice(), u64::from(rng.next_u32()));
                    let (p, st, scratch) = (params.slice(), state.slice(), s.slice());
                    let result = kernels::dense_update(isa, x, delta, outputs, &optimizer, step, p, st, scratch);
                    (result.is_ok(), format!("dense_update {result:?}"), vec![params, state], vec![s])
                }
                _ => {
                    let (mut x, mut y) = (guarded(rng, inputs), guarded(rng, inputs));
                    let result = kernels::dot(isa, x.slice(), y.slice());
                    let _ = (kernels::sum(isa, x.slice()), hash(x.slice()));
                    for kernel in [kernels::exp, kernels::ln, kernels::sigmoid, kernels::tanh] {
                        kernel(isa, y.slice());
                    }
                    (result.is_ok(), format!("dot {result:?}"), vec![], vec![x, y])
                }
            }
        } else {
            let depth = size(rng, 4);
            let hidden = [Relu, Tanh, Gelu, LeakyRelu { slope: 0.1 }, Linear][rng.below(5) as usize];
            let mut layers = Vec::new();
            if rng.below(6) == 0 {
                layers.push(Layer::normalization());
            }
            for l in 0..depth {
                let last = l + 1 == depth;
                let mut layer = Layer::dense(size(rng, 36), if last { activation } else { hidden });
                if rng.below(3) == 0 {
                    layer = layer.with_init(Initializer::HeNormal);
                }
                if rng.below(4) == 0 {
                    layer = layer.with_penalty(Penalty::elastic_net(0.1, 0.2));
                }
                if rng.below(5) == 0 {
                    layer = layer.without_bias();
                }
                if !last && rng.below(3) == 0 {
                    layer = layer.with_dropout(0.3);
                }
                layers.push(layer);
                if !last && rng.below(3) == 0 {
                    let others = [Layer::layer_norm, Layer::rms_norm, Layer::batch_norm, Layer::elementwise];
                    let other = others[rng.below(4) as usize](hidden);
                    layers.push(other.with_residual(rng.below(2) as usize));
                }
            }
            let layout = Layout::new(size(rng, 20), &layers).unwrap();
            let lean = rng.below(3) == 0;
            let mut mlp =
                Mlp::new(layout, isa).with_grain(rng.below(1000) as usize).with_threads(rng.below(5) as usize);
            if lean {
                mlp = mlp.with_schedule(Schedule::Lean);
            }
            let batch = if lean && rng.below(8) > 0 { 1 } else { size(rng, 9) };
            let (params_len, trainable_len, outputs) = (layout.params_len(), layout.trainable_len(), layout.outputs());
            let x_len = batch * layout.inputs();
            let loss = match (activation, rng.below(3)) {
                (Sigmoid, 0) => Loss::BinaryCrossEntropy,
                (Softmax, 0 | 1) => Loss::CrossEntropy,
                (_, 1) => match LOSSES[rng.below(16) as usize] {
                    loss if loss.check(activation).is_ok() => loss,
                    _ => Loss::HalfMeanSquaredError,
                },
                _ => Loss::MeanSquaredError,
            };
            let trainer = Trainer::new(mlp, loss, optimizer).unwrap();
            let workspace_len = trainer.workspace_len(batch).unwrap();
            let mut x = guarded(rng, x_len);
            let mut params = guarded(rng, params_len);
            let mut s = guarded(rng, if kind == 4 { mlp.predict_workspace_len(batch).unwrap() } else { workspace_len });
            let mut values = guarded(rng, batch * outputs);
            let classes: Vec<u32> = (0..batch + usize::from(wrong == 3))
                .map(|_| rng.below(outputs as u32 + u32::from(wrong == 4)))
                .collect();
            let state_len = layout.optimizer_len(&optimizer);
            match kind {
                4 => {
                    let result = mlp.predict(params.slice(), x.slice(), values.slice(), s.slice());
                    params.check(true, "predict");
                    (result.is_ok(), format!("predict {result:?}"), vec![values], vec![s, x])
                }
                5 | 6 => {
                    let targets = match rng.below(2) {
                        0 if takes_classes(loss) || wrong == 5 => Targets::classes(&classes),
                        _ => Targets::values(values.slice()),
                    };
                    let mut out = guarded(rng, if kind == 5 { state_len } else { trainable_len });
                    let (o, step) = (out.slice(), u64::from(rng.next_u32()));
                    let result = match kind {
                        5 => trainer.train_step(step, x.slice(), targets, params.slice(), o, s.slice()),
                        _ => trainer.gradient(0, x.slice(), targets, params.slice(), o, s.slice()),
                    };
                    (result.is_ok(), format!("train_step or gradient {result:?}"), vec![params, out], vec![s, x])
                }
                7 => {
                    let mut out = guarded(rng, if lean { trainable_len } else { state_len });
                    let mut below = guarded(rng, x_len);
                    let delta = match rng.below(2) {
                        0 => Delta::Outputs(values.slice()),
                        _ => Delta::PreActivations(values.slice()),
                    };
                    let samples = x.len / layout.inputs();
                    let result = mlp.forward(params.slice(), x.slice(), s.slice()).and_then(|pass| {
                        assert_eq!(pass.outputs().len(), samples * outputs);
                        let below = if rng.below(2) == 0 { Some(below.slice()) } else { None };
                        match lean {
                            true => pass.gradient(delta, params.slice(), out.slice(), below),
                            false => pass.backward(&optimizer, 3, delta, params.slice(), out.slice(), below),
                        }
                    });
                    (result.is_ok(), format!("backward {result:?}"), vec![params, out, below], vec![s])
                }
                _ => {
                    let mut state = guarded(rng, state_len);
                    let mut gradient = guarded(rng, trainable_len);
                    let result = trainer.apply(3, gradient.slice(), params.slice(), state.slice());
                    let _ = init(&layout, call as u64, s.slice());
                    (result.is_ok(), format!("apply {result:?}"), vec![params, state], vec![s])
                }
            }
        };
        for guarded in &outputs {
            guarded.check(!ok, &format!("call {call}, {isa}, {what}"));
        }
        for guarded in &scratch {
            guarded.check(false, &format!("call {call}, {isa}, {what}"));
        }
        outcomes[kind][usize::from(ok)] += 1;
    }
    // Both ways are taken often, or this shows nothing.
    assert!(outcomes.iter().flatten().all(|&count| count > 300), "{outcomes:?}");
}
