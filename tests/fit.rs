//! `Network::fit` and `evaluate` from outside: what they compute is the trainer's
//! work, what they add is manners.
#![cfg(feature = "alloc")]

use microprop::{
    Activation::*, Adam, Fit, FitError, Isa, Layer, Layout, LayoutError, Loss, Metric, Mlp, Network, Optimizer,
    Penalty, Rng, Schedule, Sgd, StepError, Targets, Trainer, hash, init,
};

const INPUTS: usize = 3;

/// Random points and whether their coordinates sum to more than 1.5.
fn samples(count: usize) -> (Vec<f32>, Vec<f32>) {
    let mut rng = Rng::new(11);
    let x: Vec<f32> = (0..count * INPUTS).map(|_| rng.uniform()).collect();
    let y = x.chunks(INPUTS).map(|x| f32::from(u8::from(x.iter().sum::<f32>() > 1.5))).collect();
    (x, y)
}

fn network() -> Network {
    Network::new(INPUTS).dense(16, Tanh).dense(1, Sigmoid).seed(3).build().unwrap()
}

/// Without shuffling, an epoch is the trainer's steps over the rows in order, the
/// last batch smaller; its loss is the mean over samples.
#[test]
fn an_epoch_is_the_trainers_steps() {
    let (x, y) = samples(50);
    let mut net = network();
    let fit = Fit::new(Loss::BinaryCrossEntropy, Adam::new(0.01)).epochs(3).batch_size(16).shuffle(false);
    let history = net.fit(&x, &y, fit).unwrap();

    let layers = [Layer::dense(16, Tanh), Layer::dense(1, Sigmoid)];
    let layout = Layout::new(INPUTS, &layers).unwrap();
    let mlp = Mlp::new(layout, Isa::detect());
    let trainer = Trainer::new(mlp, Loss::BinaryCrossEntropy, Adam::new(0.01).into()).unwrap();
    let mut params = vec![0.0; layout.params_len()];
    init(&layout, 3, &mut params).unwrap();
    let mut state = vec![0.0; 2 * params.len()];
    let mut workspace = vec![0.0; mlp.workspace_len(16).unwrap()];
    let mut step = 0;
    for epoch in history.epochs() {
        let mut sum = 0.0;
        for (x, y) in x.chunks(16 * INPUTS).zip(y.chunks(16)) {
            let loss = trainer.train_step(step, x, y.into(), &mut params, &mut state, &mut workspace).unwrap();
            sum += f64::from(loss) * y.len() as f64;
            step += 1;
        }
        assert_eq!(epoch.training.loss, (sum / 50.0) as f32);
    }
    assert_eq!((step, history.epochs().len()), (12, 3));
    assert_eq!(hash(net.params()), hash(&params));
}

/// Losses are with the penalty, which is reported beside them; over an epoch both are the means of the steps'.
#[test]
fn penalties_are_reported_beside_the_loss() {
    let (x, y) = samples(600);
    for schedule in [Schedule::Batch, Schedule::Lean] {
        let penalty = Penalty::elastic_net(0.001, 0.01);
        let builder = Network::new(INPUTS).dense(16, Tanh).dense(1, Sigmoid).seed(3).schedule(schedule);
        let plain = builder.clone().build().unwrap();
        let mut net = builder.penalty(penalty).build().unwrap();
        assert_eq!(hash(net.params()), hash(plain.params()));

        // An untrained network's loss is that without, and the penalty.
        let evaluate = |net: &Network| net.evaluate(&x, &y, Loss::BinaryCrossEntropy, Metric::Accuracy).unwrap();
        let (score, data) = (evaluate(&net), evaluate(&plain));
        assert_eq!((data.penalty, score.metric), (0.0, data.metric));
        assert_eq!(score.penalty, net.mlp().penalty(net.params()).unwrap());
        assert!((score.loss - score.penalty - data.loss).abs() < 1e-6 && score.penalty > 0.02, "{score:?}");

        // An epoch, and its steps.
        let mut params = net.params().to_vec();
        let fit = Fit::new(Loss::BinaryCrossEntropy, Adam::new(0.01)).batch_size(50).shuffle(false);
        let history = net.fit(&x, &y, fit.validation(&x, &y)).unwrap();
        let batch = if schedule == Schedule::Batch { 50 } else { 1 };
        let twin = net.clone();
        let mlp = twin.mlp();
        let trainer = Trainer::new(mlp, Loss::BinaryCrossEntropy, Adam::new(0.01).into()).unwrap();
        let mut state = vec![0.0; 2 * params.len()];
        let mut workspace = vec![0.0; mlp.workspace_len(batch).unwrap()];
        let mut sums = [0.0, 0.0];
        for (step, (x, y)) in x.chunks(batch * INPUTS).zip(y.chunks(batch)).enumerate() {
            sums[1] += f64::from(trainer.penalty(&params).unwrap()) * batch as f64;
            let loss = trainer.train_step(step as u64, x, y.into(), &mut params, &mut state, &mut workspace).unwrap();
            sums[0] += f64::from(loss) * batch as f64;
        }
        let epoch = history.last().unwrap();
        assert_eq!([epoch.training.loss, epoch.training.penalty], sums.map(|sum| (sum / 600.0) as f32));
        assert_eq!(hash(net.params()), hash(&params));
        let score = evaluate(&net);
        assert_eq!(epoch.validation.map(|v| (v.loss, v.penalty)), Some((score.loss, score.penalty)));
        assert_eq!(score.penalty, trainer.penalty(&params).unwrap());
    }
}

/// The builder's penalty is for layers without their own.
#[test]
fn a_layers_own_penalty_stands() {
    let (all, own) = (Penalty::l2(0.1), Penalty::l1(0.2));
    let layers = [Layer::dense(2, Tanh).with_penalty(own), Layer::dense(2, Tanh).with_penalty(Penalty::NONE)];
    let builder = Network::new(3).penalty(all).dense(2, Tanh).layer(layers[0]).layer(layers[1]);
    let net = builder.clone().dense(1, Linear).build().unwrap();
    let penalties: Vec<Penalty> = net.layout().layers().iter().map(Layer::penalty).collect();
    assert_eq!(penalties, [all, own, Penalty::NONE, all]);
    let error = builder.penalty(Penalty::l2(-1.0)).build().unwrap_err();
    assert_eq!(error, LayoutError::Penalty { layer: 0 });
}

/// Rule 8.6: each epoch shuffles the order that the one before has left.
#[test]
fn the_order_of_the_samples_is_in_the_document() {
    let (x, y) = samples(10);
    let mut net = network();
    let fit = Fit::new(Loss::BinaryCrossEntropy, Sgd::new(0.1)).epochs(2).batch_size(4).seed(9);
    net.fit(&x, &y, fit).unwrap();

    let mut rng = Rng::with_stream(9, 1 << 63);
    let mut order: Vec<usize> = (0..10).collect();
    let mut rows = Vec::new();
    for _ in 0..2 {
        rng.shuffle(&mut order);
        rows.extend_from_slice(&order);
    }
    // Batches of 4, 4 and 2, as without shuffling.
    let shuffled_x: Vec<f32> = rows.iter().flat_map(|&row| &x[row * INPUTS..][..INPUTS]).copied().collect();
    let shuffled_y: Vec<f32> = rows.iter().map(|&row| y[row]).collect();
    let mut twin = network();
    for (x, y) in shuffled_x.chunks(10 * INPUTS).zip(shuffled_y.chunks(10)) {
        let fit = Fit::new(Loss::BinaryCrossEntropy, Sgd::new(0.1)).batch_size(4).shuffle(false);
        twin.fit(x, y, fit).unwrap();
    }
    assert_eq!(hash(net.params()), hash(twin.params()));
}

/// The lean schedule takes each sample of a batch by itself, so the batch size is
/// without effect; and its metric sees the outputs before the update.
#[test]
fn a_lean_batch_is_that_many_updates() {
    let (x, y) = samples(20);
    let runs = [1, 7, 20].map(|batch_size| {
        let mut net = Network::new(INPUTS).dense(4, Tanh).dense(1, Sigmoid).schedule(Schedule::Lean).build().unwrap();
        let before = net.evaluate(&x[..INPUTS], &y[..1], Loss::BinaryCrossEntropy, Metric::Accuracy).unwrap();
        let one = Fit::new(Loss::BinaryCrossEntropy, Sgd::new(0.1)).metric(Metric::Accuracy);
        let first = net.clone().fit(&x[..INPUTS], &y[..1], one).unwrap().last().unwrap().training;
        assert_eq!(first, before);
        let fit = Fit::new(Loss::BinaryCrossEntropy, Sgd::new(0.1)).batch_size(batch_size).metric(Metric::Accuracy);
        let history = net.fit(&x, &y, fit).unwrap();
        (hash(net.params()), history.last().unwrap().training)
    });
    assert_eq!(runs[0].0, runs[1].0);
    assert_eq!(runs[0], runs[2]);
}

#[test]
fn it_learns_and_says_so() {
    let (x, y) = samples(400);
    let mut lines = Vec::new();
    let mut net = network();
    let fit = Fit::new(Loss::BinaryCrossEntropy, Adam::new(0.05))
        .epochs(20)
        .metric(Metric::Accuracy)
        .validation_split(0.25)
        .on_epoch(|epoch| lines.push(epoch.to_string()));
    let history = net.fit(&x, &y, fit).unwrap();
    assert_eq!(lines.len(), 20);
    assert!(lines[4].starts_with("Epoch  5/20 - "), "{}", lines[4]);
    for word in [" - loss: 0.", " - accuracy: ", " - val_loss: 0.", " - val_accuracy: "] {
        assert!(lines[4].contains(word), "{} lacks {word}", lines[4]);
    }
    let losses: Vec<f32> = history.losses().collect();
    assert!(losses[19] < losses[0] / 2.0, "{losses:?}");

    // Validation is the last quarter, evaluated after the epoch.
    let (x, y) = (&x[300 * INPUTS..], &y[300..]);
    let score = net.evaluate(x, y, Loss::BinaryCrossEntropy, Metric::Accuracy).unwrap();
    assert_eq!(history.last().unwrap().validation, Some(score));
    assert!(score.metric.unwrap() > 0.95);
    let right = net.predict_classes(x).unwrap().iter().zip(y).filter(|&(&class, &y)| class as f32 == y).count();
    assert_eq!(score.metric, Some(right as f32 / 100.0));
}

#[test]
fn evaluating_by_blocks_is_the_mean_over_all() {
    let (x, y) = samples(700);
    let net = network();
    let score = net.evaluate(&x, &y, Loss::BinaryCrossEntropy, None).unwrap();
    let one_by_one: f64 = (0..700)
        .map(|i| {
            let sample = net.evaluate(&x[i * INPUTS..][..INPUTS], &y[i..=i], Loss::BinaryCrossEntropy, None);
            f64::from(sample.unwrap().loss)
        })
        .sum();
    approx::assert_relative_eq!(f64::from(score.loss), one_by_one / 700.0, max_relative = 1e-6);
    assert_eq!(score.metric, None);
}

/// The seed decides the order; the same seed gives the same run.
#[test]
fn shuffling_follows_its_seed() {
    let (x, y) = samples(64);
    let run = |seed| {
        let mut net = network();
        net.fit(&x, &y, Fit::new(Loss::BinaryCrossEntropy, Sgd::new(0.1)).epochs(2).batch_size(8).seed(seed)).unwrap();
        hash(net.params())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn patience_stops_and_gives_back_the_best() {
    let (x, y) = samples(60);
    // Labels of validation that are the wrong way round: its loss only rises.
    let wrong: Vec<f32> = y.iter().map(|y| 1.0 - y).collect();
    let mut net = network();
    let fit = Fit::new(Loss::BinaryCrossEntropy, Adam::new(0.05)).epochs(100).validation(&x, &wrong).patience(3);
    let history = net.fit(&x, &y, fit).unwrap();
    let best = *history.best().unwrap();
    assert!(history.epochs().len() == best.number + 3 && history.epochs().len() < 100);
    let score = net.evaluate(&x, &wrong, Loss::BinaryCrossEntropy, None).unwrap();
    assert_eq!(best.validation, Some(score));
}

#[test]
fn stop_when_stops() {
    let (x, y) = samples(60);
    let fit = Fit::new(Loss::BinaryCrossEntropy, Sgd::new(0.1)).epochs(9).stop_when(|epoch| epoch.number == 4);
    assert_eq!(network().fit(&x, &y, fit).unwrap().epochs().len(), 4);
}

/// A run that diverges gives back parameters that work: those with which its last
/// epoch began, or, if that epoch's first loss was already not finite, the one before.
#[test]
fn divergence_gives_back_the_last_good_parameters() {
    let x: Vec<f32> = (0..40).map(|i| i as f32).collect();
    let y: Vec<f32> = x.iter().map(|x| 3.0 * x + 1.0).collect();
    for (rate, batch_size, back) in [(0.1, 4, 1), (10.0, 40, 2), (1e37, 40, 1)] {
        let run = |epochs| {
            let mut net = Network::new(1).dense(1, Linear).seed(1).build().unwrap();
            let fit = Fit::new(Loss::MeanSquaredError, Sgd::new(rate)).epochs(epochs);
            (net.fit(&x, &y, fit.batch_size(batch_size).shuffle(false)), net)
        };
        let (result, net) = run(100);
        let Err(FitError::Diverged { epoch, found, validation: false }) = result else { panic!("{result:?}") };
        assert!(!found.is_finite());
        net.evaluate(&x, &y, Loss::MeanSquaredError, None).unwrap();
        let (result, before) = run(epoch - back);
        assert!(result.is_ok());
        assert_eq!(hash(net.params()), hash(before.params()), "rate {rate}, epoch {epoch}");
    }
}

#[test]
fn a_validation_that_is_not_finite_is_named() {
    let (x, y) = samples(10);
    let mut bad = x.clone();
    bad[0] = f32::NAN;
    let mut net = network();
    let before = hash(net.params());
    let fit = Fit::new(Loss::BinaryCrossEntropy, Sgd::new(0.1)).validation(&bad, &y);
    let error = net.fit(&x, &y, fit).unwrap_err();
    assert!(error.to_string().starts_with("the validation loss is NaN in epoch 1"), "{error}");
    assert_eq!(hash(net.params()), before);
}

/// `round(fraction · samples)` samples are kept for validation, the last ones.
#[test]
fn a_validation_split_is_rounded_to_whole_samples() {
    for (count, fraction, kept) in
        [(10, 0.1, 1), (10, 0.2, 2), (10, 0.3, 3), (10, 0.9, 9), (1000, 0.2, 200), (7, 0.5, 4)]
    {
        let (x, y) = samples(count);
        let mut net = network();
        let fit = Fit::new(Loss::BinaryCrossEntropy, Sgd::new(0.1)).shuffle(false);
        net.fit(&x, &y, fit.validation_split(fraction)).unwrap();
        let mut twin = network();
        let fit = Fit::new(Loss::BinaryCrossEntropy, Sgd::new(0.1)).shuffle(false);
        twin.fit(&x[..(count - kept) * INPUTS], &y[..count - kept], fit).unwrap();
        assert_eq!(hash(net.params()), hash(twin.params()), "{fraction} of {count}");
    }
}

/// What no memory could hold is an error, not the end of the process.
#[test]
fn too_large_is_an_error() {
    let huge = Network::new(1).dense(1 << 50, Relu).build();
    assert_eq!(huge.unwrap_err(), LayoutError::TooLarge);
    let net = Network::new(1).dense(2, Relu).threads(1 << 40).build().unwrap();
    assert_eq!(net.predict(&[1.0]).unwrap().len(), 2);
}

#[test]
fn what_does_not_fit_is_an_error_and_changes_nothing() {
    let (x, y) = samples(10);
    let mut net = network();
    let before = hash(net.params());
    let bce = || Fit::new(Loss::BinaryCrossEntropy, Sgd::new(0.1));
    let mut check = |x: &[f32], targets: Targets<'_>, fit: Fit<'_>, part: &str| {
        let error = net.fit(x, targets, fit).unwrap_err();
        assert!(error.to_string().contains(part), "{error} lacks {part}");
        assert_eq!(hash(net.params()), before);
        error
    };
    assert_eq!(check(&x, (&y).into(), bce().batch_size(0), "batch size of 0"), FitError::BatchSize);
    check(&x[1..], (&y).into(), bce(), "expected one or more samples of 3");
    check(&[], (&y[..0]).into(), bce(), "expected one or more samples of 3");
    check(&x, (&y[1..]).into(), bce(), "expected a length of 10, found 9");
    check(&x, Targets::classes(&[0; 10]), bce(), "class indices");
    check(&x, (&y).into(), bce().validation(&x[..4], &y), "validation: inputs");
    for fraction in [0.0, 1.0, -0.5, 0.999, f32::NAN] {
        check(&x, (&y).into(), bce().validation_split(fraction), "one side of 10 samples");
    }
    check(&x, (&y).into(), Fit::new(Loss::CrossEntropy, Sgd::new(0.1)), "end the network with a softmax");
    let rate = check(&x, (&y).into(), Fit::new(Loss::BinaryCrossEntropy, Sgd::new(f32::NAN)), "learning rate");
    assert!(matches!(rate, FitError::Step(StepError::Trainer(_))));

    let mut with_nan = x.clone();
    with_nan[5] = f32::NAN;
    assert!(matches!(check(&with_nan, (&y).into(), bce(), "epoch 1"), FitError::Diverged { epoch: 1, .. }));
    assert!(matches!(
        net.evaluate(&with_nan, &y, Loss::BinaryCrossEntropy, None),
        Err(StepError::NonFiniteLoss { .. })
    ));
    assert!(matches!(net.predict(&x[1..]), Err(StepError::Batch { inputs: 3, found: 29 })));
    assert_eq!(Network::new(3).build().unwrap_err(), LayoutError::NoLayers);
    assert_eq!(Network::new(3).dense(0, Relu).build().unwrap_err(), LayoutError::NoUnits { layer: 0 });
}

/// No epochs, no change; and an optimizer begins anew with each `fit`.
#[test]
fn runs_stand_alone() {
    let (x, y) = samples(32);
    let mut net = network();
    let before = hash(net.params());
    let adam: Optimizer = Adam::new(0.01).into();
    assert_eq!(net.fit(&x, &y, Fit::new(Loss::BinaryCrossEntropy, adam).epochs(0)).unwrap().last(), None);
    assert_eq!(hash(net.params()), before);
    let mut twice = network();
    for _ in 0..2 {
        twice.fit(&x, &y, Fit::new(Loss::BinaryCrossEntropy, adam).shuffle(false)).unwrap();
    }
    net.fit(&x, &y, Fit::new(Loss::BinaryCrossEntropy, adam).shuffle(false).epochs(2)).unwrap();
    assert_ne!(hash(net.params()), hash(twice.params()));
}

#[test]
fn a_residual_connection_needs_a_layer() {
    let error = Network::new(3).residual(1).dense(3, Linear).build().err();
    assert_eq!(error, Some(LayoutError::ResidualSpan { layer: 0, span: 1 }));
    assert!(Network::new(3).dense(3, Linear).residual(1).build().is_ok());
}

#[test]
fn a_network_says_what_it_is() {
    let net = Network::new(20).dense(64, Relu).dense(1, Sigmoid).isa(Isa::SCALAR).build().unwrap();
    assert_eq!(net.to_string(), "20 → 64 ReLU → 1 sigmoid: 1409 parameters, scalar-portable");
}

/// Weights and masks go with their samples through shuffling: what has no weight, or is masked, may be anything.
#[test]
fn weights_and_masks_stay_with_their_samples() {
    let mut rng = Rng::new(5);
    let x: Vec<f32> = (0..70 * INPUTS).map(|_| rng.uniform()).collect();
    let y: Vec<f32> = (0..2 * 70).map(|_| rng.uniform()).collect();
    let weights: Vec<f32> = (0..70).map(|i| if i % 5 == 0 { 0.0 } else { rng.uniform() }).collect();
    let mask: Vec<f32> = (0..2 * 70).map(|_| f32::from(u8::from(rng.below(3) > 0))).collect();
    let trained = |garbage: f32, missing: f32, schedule| {
        let mut y = y.clone();
        for (i, t) in y.iter_mut().enumerate() {
            match (mask[i] == 0.0, weights[i / 2] == 0.0) {
                (true, _) => *t = missing,
                (_, true) => *t = garbage,
                _ => {}
            }
        }
        let targets = Targets::values(&y).with_sample_weights(&weights).with_mask(&mask);
        let mut net = Network::new(INPUTS).dense(8, Tanh).dense(2, Linear).seed(3).schedule(schedule).build().unwrap();
        let fit = Fit::new(Loss::MeanSquaredError, Adam::new(0.01)).epochs(3).batch_size(16).validation_split(0.2);
        let history = net.fit(&x, targets, fit.metric(Metric::BinaryAccuracy)).unwrap();
        let last = history.last().unwrap();
        // The validation is the evaluation of the last fifth with its weights and masks.
        let tail = Targets::values(&y[2 * 56..]).with_sample_weights(&weights[56..]).with_mask(&mask[2 * 56..]);
        let score = net.evaluate(&x[INPUTS * 56..], tail, Loss::MeanSquaredError, Metric::BinaryAccuracy).unwrap();
        assert_eq!(last.validation, Some(score));
        (hash(net.params()), last.training.loss.to_bits())
    };
    for schedule in [Schedule::Batch, Schedule::Lean] {
        let runs = [(0.0, 0.0), (3.0, f32::NAN), (-7.0, 1e30)].map(|(a, b)| trained(a, b, schedule));
        assert_eq!(runs[0], runs[1]);
        assert_eq!(runs[0], runs[2]);
    }
}

/// A mean under a mask is over what is left, however many samples are evaluated at a time.
#[test]
fn evaluate_counts_what_a_mask_leaves() {
    let (x, y) = samples(600);
    // The three blocks of 256 have 256, 26 and 88 samples left.
    let mask: Vec<f32> = (0..600).map(|i| f32::from(u8::from(!(256..512).contains(&i) || i % 10 == 0))).collect();
    let left: Vec<usize> = (0..600).filter(|&i| mask[i] > 0.0).collect();
    let x_left: Vec<f32> = left.iter().flat_map(|&i| x[INPUTS * i..INPUTS * (i + 1)].iter().copied()).collect();
    let y_left: Vec<f32> = left.iter().map(|&i| y[i]).collect();
    let net = network();
    let metric = Metric::Accuracy;
    let masked = net.evaluate(&x, Targets::values(&y).with_mask(&mask), Loss::BinaryCrossEntropy, metric).unwrap();
    let alone = net.evaluate(&x_left, &y_left, Loss::BinaryCrossEntropy, metric).unwrap();
    assert!((masked.loss - alone.loss).abs() < 1e-6, "{masked:?} {alone:?}");
    assert_eq!(masked.metric, alone.metric);
    // Nothing left: nothing to report.
    let nothing = Targets::values(&y).with_mask(&[0.0; 600]);
    let score = net.evaluate(&x, nothing, Loss::BinaryCrossEntropy, metric).unwrap();
    assert_eq!((score.loss, score.metric), (0.0, None));
}

/// Class weights weigh the training and not the validation.
#[test]
fn class_weights_are_for_training() {
    let (x, y) = samples(50);
    let fit = |weights: Option<&'static [f32]>| {
        let mut net = network();
        let fit = Fit::new(Loss::BinaryCrossEntropy, Sgd::new(0.0)).batch_size(50).validation(&x, &y);
        let fit = if let Some(weights) = weights { fit.class_weights(weights) } else { fit };
        net.fit(&x, &y, fit).map(|history| *history.last().unwrap())
    };
    let (plain, doubled) = (fit(None).unwrap(), fit(Some(&[2.0, 2.0])).unwrap());
    assert_eq!(doubled.training.loss, 2.0 * plain.training.loss);
    assert_eq!(doubled.validation, plain.validation);
    let positive = fit(Some(&[0.0, 1.0])).unwrap().training.loss;
    let negative = fit(Some(&[1.0, 0.0])).unwrap().training.loss;
    assert!((positive + negative - plain.training.loss).abs() < 1e-6 && positive > 0.0 && negative > 0.0);
    let error = StepError::from(microprop::TrainerError::ClassWeights { expected: 2, found: 3 });
    assert_eq!(fit(Some(&[1.0, 2.0, 3.0])).err(), Some(FitError::Step(error)));
}

/// `fit` makes room for what a custom loss needs, and every loss learns.
#[test]
fn every_loss_can_be_fitted() {
    /// (y − t)⁴.
    struct FourthPower;

    impl microprop::LossFunction for FourthPower {
        fn value(&self, outputs: &[f32], targets: &[f32]) -> f32 {
            outputs.iter().zip(targets).map(|(y, t)| (y - t).powi(4)).sum()
        }

        fn derivative(&self, outputs: &[f32], targets: &[f32], derivative: &mut [f32]) {
            derivative.iter_mut().zip(outputs.iter().zip(targets)).for_each(|(d, (y, t))| *d = 4.0 * (y - t).powi(3));
        }
    }

    let (x, y) = samples(200);
    let signs: Vec<f32> = y.iter().map(|t| 2.0 * t - 1.0).collect();
    for (loss, targets) in [
        (Loss::MeanAbsoluteError, &y),
        (Loss::Huber { delta: 0.3 }, &y),
        (Loss::LogCosh, &y),
        (Loss::Quantile { quantile: 0.4 }, &y),
        (Loss::Poisson, &y),
        (Loss::Hinge, &signs),
        (Loss::SmoothedBinaryCrossEntropy { smoothing: 0.05 }, &y),
        (Loss::BinaryCrossEntropyOfProbabilities, &y),
        (Loss::Custom(&FourthPower), &y),
    ] {
        for schedule in [Schedule::Batch, Schedule::Lean] {
            let mut net =
                Network::new(INPUTS).dense(16, Tanh).dense(1, Sigmoid).seed(3).schedule(schedule).build().unwrap();
            let fit = Fit::new(loss, Adam::new(0.01)).epochs(40).batch_size(16);
            let history = net.fit(&x, targets, fit).unwrap();
            let right = net.evaluate(&x, &y, Loss::MeanSquaredError, Metric::Accuracy).unwrap().metric.unwrap();
            assert!(history.last().unwrap().training.loss < history.epochs()[0].training.loss, "{loss} {schedule:?}");
            assert!(right > 0.9, "{loss} in {schedule:?}: {right}");
        }
    }
}
