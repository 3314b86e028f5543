//! Dropout's masks: how many values are dropped, whether which ones depends on anything else, and what it may
//! not depend on. All seeds are fixed, so each bound holds or doesn't, always.
//!
//! Statistics are normal variables of mean 0 and variance 1 where masks are independent draws; [`BOUND`] is passed
//! by chance once in 1.7 million.

use microprop::Activation::{Linear, Tanh};
use microprop::{Isa, Layer, Layout, Loss, Mlp, Schedule, Sgd, Targets, Trainer};

const BOUND: f64 = 5.0;

const WIDTH: usize = 64;
const SAMPLES: usize = 512;

/// Which mask.
#[derive(Clone, Copy, Debug)]
struct Which {
    rate: f32,
    seed: u64,
    step: u64,
    /// Index of the layer.
    layer: usize,
}

const HALF: Which = Which { rate: 0.5, seed: 7, step: 3, layer: 0 };

/// How it is worked out. None of it may change a bit.
#[derive(Clone, Copy, Debug)]
struct How {
    isa: Isa,
    schedule: Schedule,
    threads: usize,
    grain: usize,
}

fn plain() -> How {
    How { isa: Isa::detect(), schedule: Schedule::Batch, threads: 1, grain: 1 }
}

/// What is kept of `samples` samples of [`WIDTH`] values, seen through a layer whose weights are the identity.
fn mask_in(which: Which, how: How, samples: usize) -> Vec<bool> {
    let Which { rate, seed, step, layer } = which;
    let mut layers = vec![Layer::elementwise(Linear); layer];
    layers.extend([Layer::dropout(rate), Layer::dense(WIDTH, Linear).without_bias()]);
    let mlp = Mlp::new(Layout::new(WIDTH, &layers).unwrap(), how.isa).with_seed(seed);
    let mlp = mlp.with_schedule(how.schedule).with_threads(how.threads).with_grain(how.grain);
    let identity: Vec<f32> = (0..WIDTH * WIDTH).map(|i| f32::from(i % (WIDTH + 1) == 0)).collect();
    let (x, mut workspace) = (vec![1.0; samples * WIDTH], vec![f32::NAN; mlp.workspace_len(samples).unwrap()]);
    let pass = mlp.forward_training(step, &identity, &x, &mut workspace).unwrap();
    let scale = 1.0 / (1.0 - rate);
    let kept = |&y: &f32| {
        assert!(y == 0.0 || y == scale, "{which:?}: 1 became {y}, neither 0 nor {scale}");
        y != 0.0
    };
    pass.outputs().iter().map(kept).collect()
}

fn mask(which: Which) -> Vec<bool> {
    mask_in(which, plain(), SAMPLES)
}

/// The probability to be kept: a multiple of 2⁻²⁴, as uniform numbers are.
fn keep_rate(rate: f32) -> f64 {
    1.0 - (f64::from(rate) * 16_777_216.0).ceil() / 16_777_216.0
}

/// How far a number of hits in `tries` is from what a probability makes of them.
fn excess(hits: usize, tries: usize, probability: f64) -> f64 {
    let n = tries as f64;
    (hits as f64 - n * probability) / (n * probability * (1.0 - probability)).sqrt()
}

fn kept(mask: &[bool]) -> usize {
    mask.iter().filter(|&&keep| keep).count()
}

/// The correlation of two masks, times √n.
fn correlation(a: &[bool], b: &[bool], rate: f32) -> f64 {
    let q = keep_rate(rate);
    let n = a.len().min(b.len()) as f64;
    let products = a.iter().zip(b).map(|(&a, &b)| (f64::from(u8::from(a)) - q) * (f64::from(u8::from(b)) - q));
    products.sum::<f64>() / (q * (1.0 - q)) / n.sqrt()
}

/// How far the number of runs of equal values is from that of independent ones (Wald and Wolfowitz 1940).
fn runs(mask: &[bool], rate: f32) -> f64 {
    let (q, n) = (keep_rate(rate), mask.len() as f64);
    let changes = mask.windows(2).filter(|pair| pair[0] != pair[1]).count() as f64;
    let p = 2.0 * q * (1.0 - q);
    // Changes next to each other share a value: Var = n·p·(1 − p) + 2n·(q(1 − q) − p²), the latter 0 at q = ½.
    let variance = n * p * (1.0 - p) + 2.0 * n * (q * (1.0 - q) - p * p);
    (changes - (n - 1.0) * p) / variance.sqrt()
}

/// A sum of squares of as many of these variables, made one of them: χ² with k degrees of freedom
/// is about normal, of mean k and variance 2k.
fn chi_square(squares: impl Iterator<Item = f64>, degrees: usize) -> f64 {
    let k = degrees as f64;
    (squares.sum::<f64>() - k) / (2.0 * k).sqrt()
}

fn check(what: &str, statistic: f64) {
    println!("{statistic:6.2}  {what}");
    assert!(statistic.abs() < BOUND, "{what}: {statistic}");
}

const RATES: [f32; 6] = [0.05, 0.2, 0.3, 0.5, 0.75, 0.97];

#[test]
fn as_many_are_dropped_as_the_rate_says() {
    for rate in RATES {
        let which = Which { rate, ..HALF };
        let masks: Vec<bool> = (0..8).flat_map(|step| mask(Which { step, ..which })).collect();
        let q = keep_rate(rate);
        check(&format!("kept at rate {rate}"), excess(kept(&masks), masks.len(), q));
        // In each column and in each row, those of all steps together.
        let columns = (0..WIDTH).map(|j| {
            let column: Vec<bool> = masks.iter().skip(j).step_by(WIDTH).copied().collect();
            excess(kept(&column), column.len(), q).powi(2)
        });
        check(&format!("columns at rate {rate}"), chi_square(columns, WIDTH));
        let rows = masks.chunks(WIDTH).map(|row| excess(kept(row), WIDTH, q).powi(2));
        let rows_count = masks.len() / WIDTH;
        // A binomial distribution's fourth moment is not quite that of the normal one.
        let kurtosis = 1.0 + (1.0 - 6.0 * q * (1.0 - q)) / (2.0 * WIDTH as f64 * q * (1.0 - q));
        check(&format!("rows at rate {rate}"), chi_square(rows, rows_count) / kurtosis.sqrt());
    }
    // The ends of the range: nothing, and all but about one in 16 million.
    assert_eq!(kept(&mask(Which { rate: 0.0, ..HALF })), SAMPLES * WIDTH);
    assert_eq!(kept(&mask(Which { rate: 0.999_999_94, ..HALF })), 0);
}

#[test]
fn neighbours_samples_steps_layers_and_seeds_are_independent() {
    for rate in [0.2, 0.5, 0.75] {
        let which = Which { rate, ..HALF };
        let this = mask(which);
        check(&format!("runs at rate {rate}"), runs(&this, rate));
        // Within a block of the generator, beyond it, and one and more rows above.
        let mut squares = Vec::new();
        for lag in (1..=9).chain([12, 16, 31, 32, 33, WIDTH, 2 * WIDTH, 8 * WIDTH, 100 * WIDTH]) {
            let statistic = correlation(&this, &this[lag..], rate);
            check(&format!("{lag} elements on, at rate {rate}"), statistic);
            squares.push(statistic.powi(2));
        }
        let others = [
            Which { step: which.step + 1, ..which },
            Which { step: which.step + 2, ..which },
            Which { step: which.step + (1 << 16), ..which },
            Which { step: which.step + (1 << 32), ..which },
            Which { step: which.seed, seed: which.step, ..which },
            Which { seed: which.seed + 1, ..which },
            Which { seed: which.seed ^ 1 << 31, ..which },
            Which { seed: which.seed + (1 << 32), ..which },
            Which { seed: !which.seed, ..which },
            Which { layer: 1, ..which },
            Which { layer: 2, ..which },
            Which { layer: 2, step: which.step + 2, ..which },
        ];
        for other in others {
            let theirs = mask(other);
            assert_ne!(this, theirs, "{other:?}");
            // At the same place, and next to it.
            for (shift, a, b) in [(0, &this[..], &theirs[..]), (1, &this[1..], &theirs[..]), (-1, &this, &theirs[1..])]
            {
                let statistic = correlation(a, b, rate);
                check(&format!("{other:?}, {shift} elements on"), statistic);
                squares.push(statistic.powi(2));
            }
        }
        let degrees = squares.len();
        check(&format!("all correlations at rate {rate}"), chi_square(squares.into_iter(), degrees));
    }
}

/// The sixteen patterns of four neighbours, wherever in a block of the generator they begin.
#[test]
fn patterns_of_four_are_equally_frequent() {
    let this = mask(HALF);
    for start in 0..4 {
        let mut counts = [0_usize; 16];
        let fours = this[start..].chunks_exact(4);
        let all = fours.len() as f64;
        fours.for_each(|four| counts[four.iter().fold(0, |pattern, &keep| 2 * pattern + usize::from(keep))] += 1);
        let squares = counts.into_iter().map(|count| (count as f64 - all / 16.0).powi(2) / (all / 16.0));
        check(&format!("patterns from {start} on"), chi_square(squares, 15));
    }
}

/// The statistics find what they are for.
#[test]
fn the_statistics_can_fail() {
    let this = mask(HALF);
    assert!(excess(kept(&mask(Which { rate: 0.48, ..HALF })), this.len(), 0.5) > BOUND);
    assert!(correlation(&this, &this, 0.5) > 100.0);
    let inverse: Vec<bool> = this.iter().map(|keep| !keep).collect();
    assert!(correlation(&this, &inverse, 0.5) < -100.0);
    // One value in twenty that is its neighbour's.
    let mut copied = this.clone();
    (1..copied.len()).step_by(20).for_each(|i| copied[i] = copied[i - 1]);
    assert!(runs(&copied, 0.5) < -BOUND);
    assert!(correlation(&copied, &copied[1..], 0.5) > BOUND);
    let alternating: Vec<bool> = (0..this.len()).map(|i| i % 2 == 0).collect();
    assert!(runs(&alternating, 0.5) > 100.0 && excess(kept(&alternating), this.len(), 0.5).abs() < 1.0);
}

/// The same mask for any instruction set, threads and grain, and for any number of samples after it; in
/// the lean schedule that of sample 0; and again when a step is replayed.
#[test]
fn who_works_it_out_does_not_matter() {
    for rate in [0.3, 0.5] {
        for layer in [0, 1, 3] {
            let which = Which { rate, layer, ..HALF };
            let expected = mask_in(which, plain(), 70);
            assert_eq!(mask_in(which, plain(), 70), expected);
            for isa in Isa::available() {
                let how = How { isa, ..plain() };
                for threads in 1..=4 {
                    for grain in [1, 20_000, 1 << 30] {
                        assert_eq!(mask_in(which, How { threads, grain, ..how }, 70), expected, "{which:?}");
                    }
                }
                for samples in [1, 2, 3, 7, 64] {
                    assert_eq!(mask_in(which, how, samples), expected[..samples * WIDTH], "{which:?}, {samples}");
                }
                let lean = How { schedule: Schedule::Lean, ..how };
                assert_eq!(mask_in(which, lean, 1), expected[..WIDTH], "{which:?}");
            }
        }
    }
}

/// A gradient and a step train what the mask of their step keeps, and nothing else.
#[test]
fn a_step_trains_what_its_mask_keeps() {
    let layers = [Layer::dropout(0.4), Layer::dense(1, Linear)];
    let layout = Layout::new(WIDTH, &layers).unwrap();
    for isa in Isa::available() {
        for schedule in [Schedule::Batch, Schedule::Lean] {
            let mlp = Mlp::new(layout, isa).with_schedule(schedule).with_seed(5);
            let trainer = Trainer::new(mlp, Loss::MeanSquaredError, Sgd::new(0.1).into()).unwrap();
            let (x, targets) = ([1.0; WIDTH], Targets::values(&[1e3]));
            let mut params = [0.5; WIDTH + 1];
            let mut workspace = vec![f32::NAN; mlp.workspace_len(1).unwrap()];
            for step in [0, 1, 2, 1 << 32] {
                let which = Which { rate: 0.4, seed: 5, step, layer: 0 };
                let expected = mask_in(which, How { isa, schedule, ..plain() }, 1);
                let mut gradient = [f32::NAN; WIDTH + 1];
                trainer.gradient(step, &x, targets, &params, &mut gradient, &mut workspace).unwrap();
                let before = params;
                trainer.train_step(step, &x, targets, &mut params, &mut [], &mut workspace).unwrap();
                for (j, &keep) in expected.iter().enumerate() {
                    assert_eq!(gradient[j] != 0.0, keep, "input {j} in step {step} on {isa} in {schedule:?}");
                    assert_eq!(params[j] != before[j], keep, "input {j} in step {step} on {isa} in {schedule:?}");
                }
            }
        }
    }
}

/// A value that is dropped is +0, whatever it was.
#[test]
fn dropped_values_are_plus_zero() {
    let layers = [Layer::dropout(0.4), Layer::elementwise(Linear)];
    for isa in Isa::available() {
        for (schedule, samples) in [(Schedule::Batch, 5), (Schedule::Lean, 1)] {
            let mlp = Mlp::new(Layout::new(WIDTH, &layers).unwrap(), isa).with_schedule(schedule);
            for value in [-1.0, 3.0, -0.0, 1e-40, f32::MAX] {
                let x = vec![value; samples * WIDTH];
                let mut workspace = vec![f32::NAN; mlp.workspace_len(samples).unwrap()];
                let pass = mlp.forward_training(9, &[], &x, &mut workspace).unwrap();
                let kept = value * (1.0 / (1.0 - 0.4_f32));
                let dropped = pass.outputs().iter().filter(|y| y.to_bits() == 0).count();
                let scaled = pass.outputs().iter().filter(|y| y.to_bits() == kept.to_bits()).count();
                assert_eq!(dropped + scaled, samples * WIDTH, "{value} on {isa} in {schedule:?}");
                assert!(dropped > 0 && scaled > 0, "{value} on {isa} in {schedule:?}");
            }
        }
    }
}

/// Predictions, passes and losses that train nothing drop nothing.
#[test]
fn predictions_are_left_alone() {
    let with = [Layer::dropout(0.3), Layer::dense(9, Tanh).with_dropout(0.5), Layer::dense(2, Linear)];
    let without = [Layer::dropout(0.0), Layer::dense(9, Tanh), Layer::dense(2, Linear)];
    let numbers = |len: usize| (0..len).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<f32>>();
    for isa in Isa::available() {
        for (schedule, samples) in [(Schedule::Batch, 6), (Schedule::Lean, 1)] {
            let ends = [&with, &without].map(|layers| {
                let mlp = Mlp::new(Layout::new(4, layers).unwrap(), isa).with_schedule(schedule).with_seed(3);
                let trainer = Trainer::new(mlp, Loss::MeanSquaredError, Sgd::new(0.1).into()).unwrap();
                let (params, x) = (numbers(mlp.layout().params_len()), numbers(samples * 4));
                let needed = mlp.workspace_len(samples).unwrap().max(mlp.predict_workspace_len(samples).unwrap());
                let mut workspace = vec![f32::NAN; needed];
                let mut end = vec![f32::NAN; 2 * samples];
                let values = numbers(2 * samples);
                mlp.predict(&params, &x, &mut end, &mut workspace).unwrap();
                end.extend(mlp.forward(&params, &x, &mut workspace).unwrap().outputs());
                end.push(trainer.loss(&x, Targets::values(&values), &params, &mut workspace).unwrap());
                end.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
            });
            assert_eq!(ends[0], ends[1], "on {isa} in {schedule:?}");
        }
    }
}
