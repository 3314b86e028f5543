//! A network that learns 120 images by heart, and what helps against it.
//!
//! Run it with `cargo run --release --example overfitting`. It trains on a few of the digits under `data/`, in six
//! ways: as it comes, with an L1 penalty, with an L2 penalty, with dropout, stopping early, and on more images. It
//! prints what has come of each, and draws the loss on images that none of them learns from, epoch by epoch, into
//! `target/overfitting.svg`, or into the file that is named as argument.

#[path = "data/mod.rs"]
mod data;

use microprop::{Activation::*, Adam, Epoch, Fit, Loss::CrossEntropy, Metric::Accuracy};
use microprop::{Network, NetworkBuilder, Penalty, Rng, Score};
use plotters::prelude::*;
use std::error::Error;
use std::path::{Path, PathBuf};

const PIXELS: usize = 8 * 8;
const FEW: usize = 120;
const EPOCHS: usize = 200;

/// Images `[n × 64]`, and the digit that each shows.
struct Set {
    x: Vec<f32>,
    labels: Vec<u32>,
}

/// What has come of a way to train.
struct Run {
    name: &'static str,
    color: RGBColor,
    images: usize,
    /// After each epoch: the loss on the images of validation, without the penalty.
    losses: Vec<f32>,
    /// The epoch whose parameters the network has in the end.
    kept: Epoch,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("target/overfitting.svg"), PathBuf::from);
    let (training, validation) = split(&data::digits());
    let run = |name, [r, g, b]: [u8; 3], images: usize, patience: usize, network: NetworkBuilder| {
        let mut losses = Vec::new();
        let fit = Fit::new(CrossEntropy, Adam::new(0.003))
            .epochs(EPOCHS)
            .batch_size(40)
            .metric(Accuracy)
            .validation(&validation.x, &validation.labels)
            .on_epoch(|epoch| losses.extend(epoch.validation.map(data_loss)));
        // With patience, the network gets back the parameters of its best epoch.
        let fit = if patience < EPOCHS { fit.patience(patience) } else { fit };
        let history = network.build()?.fit(&training.x[..images * PIXELS], &training.labels[..images], fit)?;
        let kept = *history.best().ok_or("there is at least one epoch")?;
        Ok::<Run, Box<dyn Error>>(Run { name, color: RGBColor(r, g, b), images, losses, kept })
    };
    let network = || Network::new(PIXELS).dense(256, Relu).dense(256, Relu).dense(10, Softmax).seed(1);
    let dropout = Network::new(PIXELS).dropout(0.3).dense(256, Relu).dropout(0.5).dense(256, Relu).dropout(0.5);
    // The colours are those of Okabe and Ito, which the colour-blind can tell apart.
    let runs = [
        run("as it comes", [0, 0, 0], FEW, EPOCHS, network())?,
        run("L1 penalty", [230, 159, 0], FEW, EPOCHS, network().penalty(Penalty::l1(3e-4)))?,
        run("L2 penalty", [86, 180, 233], FEW, EPOCHS, network().penalty(Penalty::l2(3e-3)))?,
        run("dropout", [0, 158, 115], FEW, EPOCHS, dropout.dense(10, Softmax).seed(1))?,
        run("stopped early", [213, 94, 0], FEW, 20, network())?,
        run("more images", [204, 121, 167], training.labels.len(), EPOCHS, network())?,
    ];
    print(&runs, validation.labels.len());
    draw(&runs, &path)?;
    println!("\nThe curves are in {}", path.display());
    let results =
        runs.iter().map(|run| format!("{}={:.4}", run.name.replace(' ', "_"), run.losses[run.kept.number - 1]));
    println!("result: {}", results.collect::<Vec<_>>().join(" "));
    Ok(())
}

/// Every second image is for validation; the others, in random order, to train on.
fn split(digits: &data::Digits) -> (Set, Set) {
    let set = |images: Vec<usize>| Set {
        x: images.iter().flat_map(|&i| &digits.pixels[i * PIXELS..][..PIXELS]).copied().collect(),
        labels: images.iter().map(|&i| digits.labels[i]).collect(),
    };
    let (mut training, validation): (Vec<usize>, Vec<usize>) = (0..digits.labels.len()).partition(|i| i % 2 == 0);
    Rng::new(1).shuffle(&mut training);
    (set(training), set(validation))
}

/// What the images cost, without what the weights do.
fn data_loss(score: Score) -> f32 {
    score.loss - score.penalty
}

fn print(runs: &[Run], validated: usize) {
    println!(
        "Cross-entropy on the images that a network learns from (as it does, dropout included), and on {validated} others\n"
    );
    println!("                |        |         the network in the end         | its lowest");
    println!("                | images | epoch   learned     others   accuracy  | others, in epoch");
    println!("----------------|--------|----------------------------------------|-----------------");
    for Run { name, images, losses, kept, .. } in runs {
        let (learned, others) = (data_loss(kept.training), losses[kept.number - 1]);
        let accuracy = kept.validation.and_then(|score| score.metric).unwrap_or(f32::NAN);
        let lowest = (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap_or(0);
        print!("{name:<15} | {images:>6} | {:>5} {learned:>9.4} {others:>10.4} {accuracy:>10.4}  ", kept.number);
        println!("| {:.4} {:>9}", losses[lowest], lowest + 1);
    }
}

/// Draws the curves; a dot is on the epoch that a run keeps.
fn draw(runs: &[Run], path: &Path) -> Result<(), Box<dyn Error>> {
    const HIGHEST: f32 = 0.7;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let root = SVGBackend::new(path, (960, 600)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Loss on images not trained on (dot: the network that is kept)", ("sans-serif", 24))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0..EPOCHS, 0_f32..HIGHEST)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("epoch").y_desc("cross-entropy (without penalty)").label_style(("sans-serif", 16));
    mesh.light_line_style(TRANSPARENT).y_label_formatter(&|loss| format!("{loss:.1}")).draw()?;
    for Run { name, color, images, losses, kept } in runs {
        let style = color.stroke_width(2);
        let points = losses.iter().zip(1..).map(|(&loss, epoch)| (epoch, loss)).skip_while(|&(_, loss)| loss > HIGHEST);
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(format!("{name}, {images} images"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
        chart.draw_series([Circle::new((kept.number, losses[kept.number - 1]), 5, color.filled())])?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .legend_area_size(32)
        .label_font(("sans-serif", 16))
        .draw()?;
    root.present()?;
    Ok(())
}
