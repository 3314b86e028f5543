//! A sweep: five learning rates, each from eight seeds, all 40 networks trained at once on handwritten digits.
//!
//! Run it with `cargo run --release --example population`. Each member sees the images in an order of its own. The
//! ensemble is trained in both orders of memory, one member after the other and side by side; they end with the same
//! bits.

#[path = "data/mod.rs"]
mod data;

use microprop::{
    Ensemble, Isa, Layout, Loss, Member, MemberInputs, MemberTargets, Mlp, Rng, Sgd, Targets, Trainer, hash, layout,
};
use std::error::Error;
use std::time::Instant;

const RATES: [f32; 5] = [0.01, 0.03, 0.1, 0.3, 1.0];
const SEEDS: usize = 8;
const MEMBERS: usize = RATES.len() * SEEDS;
const PIXELS: usize = 64;
const CLASSES: usize = 10;
const LAYOUT: Layout = layout!(PIXELS => dense(16, Tanh), dense(CLASSES, Softmax));
const BATCH: usize = 4;
const EPOCHS: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let digits = data::digits();
    // Every fifth image is held out.
    let (train, test): (Vec<usize>, Vec<usize>) = (0..digits.labels.len()).partition(|i| i % 5 != 4);
    let threads = std::thread::available_parallelism()?.get();
    let mlp = Mlp::new(LAYOUT, Isa::detect()).with_threads(threads);
    let trainer = Trainer::new(mlp, Loss::CrossEntropy, Sgd::new(0.0).into())?;
    let members: [Member; MEMBERS] =
        std::array::from_fn(|m| Member { seed: (m % SEEDS) as u64, learning_rate: RATES[m / SEEDS] });

    let by_member = Ensemble::new(trainer, &members)?;
    let (ends, seconds) = train_on(&by_member, &digits, &train)?;
    let (same_ends, seconds_side_by_side) = train_on(&by_member.interleaved()?, &digits, &train)?;
    assert!(ends.iter().zip(&same_ends).all(|(a, b)| hash(a) == hash(b)), "the bits don't depend on the order");

    println!("{MEMBERS} networks of 64-16-10, {EPOCHS} epochs of {} images\n", train.len());
    println!("learning rate   held-out images right: worst   median     best of {SEEDS} seeds");
    let mut best = (0.0, 0.0);
    for (rate, ends) in RATES.iter().zip(ends.chunks(SEEDS)) {
        let mut scores =
            ends.iter().map(|params| accuracy(&mlp, params, &digits, &test)).collect::<Result<Vec<_>, _>>()?;
        scores.sort_by(f64::total_cmp);
        let [worst, median, top] = [scores[0], scores[SEEDS / 2], scores[SEEDS - 1]];
        println!("{rate:<13e}   {:>28} {worst:>6.4}   {median:.4}   {top:.4}", "");
        if median > best.1 {
            best = (*rate, median);
        }
    }
    println!("\nseconds: {seconds:.3} one member after the other, {seconds_side_by_side:.3} side by side");
    println!("result: best_rate={} median_accuracy={:.4} seconds={seconds_side_by_side:.3}", best.0, best.1);
    Ok(())
}

/// The parameters of each member.
type Ends = Vec<Vec<f32>>;

/// What the members end with, and how long that took.
fn train_on(ensemble: &Ensemble<'_>, digits: &data::Digits, train: &[usize]) -> Result<(Ends, f64), Box<dyn Error>> {
    let (mut params, mut state) = (vec![0.0; ensemble.params_len()], vec![0.0; ensemble.state_len()]);
    let mut workspace = vec![0.0; ensemble.workspace_len(BATCH)?];
    let mut losses = [0.0; MEMBERS];
    ensemble.init(&mut params)?;
    // Each member shuffles by its own seed.
    let mut orders = [(); MEMBERS].map(|()| train.to_vec());
    let mut rngs = ensemble.members().iter().map(|member| Rng::new(member.seed)).collect::<Vec<_>>();
    let (mut x, mut classes) = (vec![0.0; MEMBERS * BATCH * PIXELS], vec![0; MEMBERS * BATCH]);
    let start = Instant::now();
    let mut step = 0;
    for _ in 0..EPOCHS {
        orders.iter_mut().zip(&mut rngs).for_each(|(order, rng)| rng.shuffle(order));
        for at in (0..train.len() / BATCH * BATCH).step_by(BATCH) {
            let images = orders.iter().flat_map(|order| &order[at..at + BATCH]);
            for ((&image, x), class) in images.zip(x.chunks_exact_mut(PIXELS)).zip(&mut classes) {
                x.copy_from_slice(&digits.pixels[image * PIXELS..][..PIXELS]);
                *class = digits.labels[image];
            }
            let (inputs, targets) = (MemberInputs::Own(&x), MemberTargets::Own(Targets::classes(&classes)));
            // Members that diverge keep their last parameters.
            ensemble.train_step(step, inputs, targets, &mut params, &mut state, &mut workspace, &mut losses)?;
            step += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut ends = vec![vec![0.0; LAYOUT.params_len()]; MEMBERS];
    for (member, end) in ends.iter_mut().enumerate() {
        ensemble.extract(member, &params, end)?;
    }
    Ok((ends, seconds))
}

/// The share of the images `test` that a network gets right.
fn accuracy(mlp: &Mlp<'_>, params: &[f32], digits: &data::Digits, test: &[usize]) -> Result<f64, Box<dyn Error>> {
    let mut workspace = vec![0.0; mlp.predict_workspace_len(1)?];
    let mut right = 0;
    for &image in test {
        let mut y = [0.0; CLASSES];
        mlp.predict(params, &digits.pixels[image * PIXELS..][..PIXELS], &mut y, &mut workspace)?;
        let class = (0..CLASSES).fold(0, |best, class| if y[class] > y[best] { class } else { best });
        right += usize::from(class == digits.labels[image] as usize);
    }
    Ok(right as f64 / test.len() as f64)
}
