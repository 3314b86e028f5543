//! Trains a network on real handwritten digits and shows what it has learned.
//!
//! Run it with `cargo run --release --example digits`. The data is in the repository
//! (see `data/README.md`): 1,797 images of 8×8 pixels, of which every fifth is held out.

#[path = "data/mod.rs"]
mod data;

use microprop::{Activation::*, Adam, Fit, Loss::CrossEntropy, Metric::Accuracy, Network};
use std::error::Error;
use std::time::Instant;

const PIXELS: usize = 8 * 8;
const CLASSES: usize = 10;
const SHOWN: usize = 6;

fn main() -> Result<(), Box<dyn Error>> {
    let digits = data::digits();
    let (x, labels, test_x, test_labels) = split(&digits);

    let mut net = Network::new(PIXELS).dense(128, Relu).dense(CLASSES, Softmax).seed(1).build()?;
    println!("{net}");
    println!("{} images to train on, {} held out\n", labels.len(), test_labels.len());

    let fit = Fit::new(CrossEntropy, Adam::new(0.001))
        .epochs(40)
        .batch_size(32)
        .metric(Accuracy)
        .validation(&test_x, &test_labels)
        .on_epoch(|epoch| println!("{epoch}"));
    let start = Instant::now();
    net.fit(&x, &labels, fit)?;
    let seconds = start.elapsed().as_secs_f64();

    let probabilities = net.predict(&test_x)?;
    let classes = net.predict_classes(&test_x)?;
    print_confusion(&test_labels, &classes);
    print_images(&test_x, &test_labels, &classes, &probabilities);

    let score = net.evaluate(&test_x, &test_labels, CrossEntropy, Accuracy)?;
    let accuracy = score.metric.ok_or("a metric was asked for")?;
    println!("result: test_accuracy={accuracy:.4} test_loss={:.4} seconds={seconds:.3}", score.loss);
    Ok(())
}

/// Images and labels to train on, then those that are held out: every fifth.
fn split(digits: &data::Digits) -> (Vec<f32>, Vec<u32>, Vec<f32>, Vec<u32>) {
    let (mut x, mut labels, mut test_x, mut test_labels) = (vec![], vec![], vec![], vec![]);
    for (i, (image, &label)) in digits.pixels.chunks(PIXELS).zip(&digits.labels).enumerate() {
        let (x, labels) = if i % 5 == 4 { (&mut test_x, &mut test_labels) } else { (&mut x, &mut labels) };
        x.extend_from_slice(image);
        labels.push(label);
    }
    (x, labels, test_x, test_labels)
}

/// How often each digit (rows) was taken for each (columns).
fn print_confusion(labels: &[u32], classes: &[u32]) {
    let mut counts = [[0; CLASSES]; CLASSES];
    for (&label, &class) in labels.iter().zip(classes) {
        counts[label as usize][class as usize] += 1;
    }
    println!("\nHeld-out images: digit (row) taken for (column)");
    println!("    {}", (0..CLASSES).map(|class| format!("{class:4}")).collect::<String>());
    for (label, row) in counts.iter().enumerate() {
        let cells = row.iter().map(|&count| if count == 0 { "   ·".into() } else { format!("{count:4}") });
        println!("{label:4}{}", cells.collect::<String>());
    }
}

/// A few images side by side: first those that the network gets wrong, then some that it gets right.
fn print_images(x: &[f32], labels: &[u32], classes: &[u32], probabilities: &[f32]) {
    let (wrong, right): (Vec<usize>, Vec<usize>) = (0..labels.len()).partition(|&i| labels[i] != classes[i]);
    let shown: Vec<usize> = wrong.into_iter().take(SHOWN / 2).chain(right).take(SHOWN).collect();
    let drawings = shown.iter().map(|&i| data::draw(&x[i * PIXELS..][..PIXELS]));
    let drawings: Vec<Vec<String>> = drawings.map(|drawing| drawing.lines().map(String::from).collect()).collect();
    println!("\nSome of them, and what the network says");
    for line in 0..drawings[0].len() {
        println!("{}", drawings.iter().map(|drawing| format!("{}   ", drawing[line])).collect::<String>());
    }
    let captions = shown.iter().map(|&i| {
        let sure = probabilities[i * CLASSES + classes[i] as usize];
        let mark = if labels[i] == classes[i] { "✓" } else { "✗" };
        format!("{:<19}", format!("{mark} is {}, says {}: {:.0}%", labels[i], classes[i], 100.0 * sure))
    });
    println!("{}\n", captions.collect::<String>());
}
