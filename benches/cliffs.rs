//! Looks for cliffs: networks on which a training step costs more than on those of nearly the same size.
//!
//!     taskset -c 0 cargo bench --bench cliffs               # 90 seconds; the map is target/cliffs.svg
//!     taskset -c 0 cargo bench --bench cliffs -- map.svg    # or this file
//!     cargo bench --bench cliffs -- --test                  # a few of the points
//!
//! 2,000 points lie evenly over networks 30-w-w-3 with 8 ≤ w ≤ 130 and batches of 1 to 70, with ReLU and with
//! tanh, with each optimizer, trained on the mean squared error by the default instruction set. The *cost* of a
//! point is the time of a step per useful floating-point operation (2mnk of each forward and gradient product, and of
//! each delta product below the top): the median of samples taken in turn with those of all other points.
//! A point's neighbours have its activation and its optimizer, and differ from it by at most 16 in width and 8 in batch.
//!
//! - *ratio* is the cost over the median of the neighbourhood's costs. **It fails if one is above 1.5.** What is above
//!   1.25 has been timed three times more, and the least counts.
//! - *detrended* is the same of times over their trend, and decides nothing. It tells a shape that the kernels are bad at
//!   from a small one, whose step has work that a larger batch doesn't repeat (each parameter is updated once), or a larger
//!   network. The trend is fitted to the step times of each activation and optimizer, and printed: a time for the step, for
//!   each parameter, for each hidden unit and sample, and for each operation. (Each is what the fit makes of it, not a
//!   rate of the machine.)
//!
//! Columns: width, batch, activation and optimizer, time of a step, GFLOP/s, cost, ratio, detrended, number of neighbours.

mod rounds;

use microprop::{Activation, Adam, Isa, Layer, Layout, Loss, Mlp, Optimizer, Rng, Sgd, Targets, Trainer, init};
use plotters::prelude::*;
use rounds::cpu_time;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const POINTS: usize = 2000;
const INPUTS: usize = 30;
const OUTPUTS: usize = 3;
const WIDTHS: [usize; 2] = [8, 130];
const BATCHES: [usize; 2] = [1, 70];

/// A point's neighbours have the same activation and optimizer, and differ by at most so much.
const WIDTH_AROUND: usize = 16;
const BATCH_AROUND: usize = 8;

/// No point may be so many times as costly as its neighbourhood's median.
const LIMIT: f64 = 1.5;

/// From here on a point is timed anew.
const SUSPECT: f64 = 1.25;

const ACTIVATIONS: [(&str, Activation); 2] = [("ReLU", Activation::Relu), ("tanh", Activation::Tanh)];

const OPTIMIZERS: [(&str, Optimizer); 4] = [
    ("SGD", Optimizer::Sgd(Sgd::new(1e-3))),
    ("momentum", Optimizer::Sgd(Sgd::new(1e-3).momentum(0.9))),
    ("Nesterov", Optimizer::Sgd(Sgd::new(1e-3).nesterov(0.9))),
    ("Adam", Optimizer::Adam(Adam::new(1e-3))),
];

/// A sample lasts about this long, in seconds.
const SAMPLE: f64 = 1e-3;

/// At most so many steps from the initial parameters: no state decays into subnormals.
const STEPS: u64 = 500;

/// Steps of a sample that are not timed: other points have been in the cache.
const WARM_UP: u64 = 8;

/// Batches that are cycled.
const CYCLE: usize = 8;

/// A network, its batch, and what a step of it costs.
struct Point {
    activation: usize,
    optimizer: usize,
    width: usize,
    batch: usize,
    /// Steps that a sample times.
    steps: u64,
    /// Seconds per step.
    samples: Vec<f64>,
    seconds: f64,
    /// What the trend says, in seconds.
    trend: f64,
    /// Cost to the neighbourhood's, as it is and without the trend.
    ratio: f64,
    detrended: f64,
    neighbours: usize,
}

impl Point {
    /// The `index`th of a sequence that fills the plane evenly: multiples of 1/φ and 1/φ² without their whole part, with
    /// φ³ = φ + 1 (Roberts 2018, "The unreasonable effectiveness of quasirandom sequences").
    fn new(index: usize) -> Self {
        let at = |step: f64, [low, high]: [usize; 2]| {
            low + ((0.5 + index as f64 * step).fract() * (high - low + 1) as f64) as usize
        };
        Self {
            activation: index % ACTIVATIONS.len(),
            optimizer: index / ACTIVATIONS.len() % OPTIMIZERS.len(),
            width: at(0.754_877_666_246_692_8, WIDTHS),
            batch: at(0.569_840_290_998_053_3, BATCHES),
            steps: 1,
            samples: Vec::new(),
            seconds: f64::NAN,
            trend: f64::NAN,
            ratio: f64::NAN,
            detrended: f64::NAN,
            neighbours: 0,
        }
    }

    /// What a step has of each thing that takes time: of itself, parameters, hidden units and samples, operations.
    fn terms(&self) -> [f64; 4] {
        let (w, batch) = (self.width as f64, self.batch as f64);
        let weights = (INPUTS + OUTPUTS) as f64 * w + w * w;
        let products = 2.0 * INPUTS as f64 * w + 3.0 * w * w + 3.0 * w * OUTPUTS as f64;
        [1.0, weights + 2.0 * w + OUTPUTS as f64, 2.0 * w * batch, 2.0 * batch * products]
    }

    /// Useful floating-point operations of a step.
    fn flops(&self) -> f64 {
        self.terms()[3]
    }

    /// Nanoseconds per useful floating-point operation.
    fn cost(&self) -> f64 {
        self.seconds * 1e9 / self.flops()
    }

    fn is_of(&self, variant: (usize, usize)) -> bool {
        (self.activation, self.optimizer) == variant
    }

    fn is_neighbour(&self, other: &Self) -> bool {
        self.is_of((other.activation, other.optimizer))
            && self.width.abs_diff(other.width) <= WIDTH_AROUND
            && self.batch.abs_diff(other.batch) <= BATCH_AROUND
    }

    /// Whether it is a cliff.
    fn is_cliff(&self) -> bool {
        self.ratio > LIMIT
    }

    /// Takes the samples since the last call: their median.
    fn take_median(&mut self) -> f64 {
        median(&mut std::mem::take(&mut self.samples))
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let measure = rounds::budget(1) > Duration::ZERO;
    let path = std::env::args_os().skip(1).find(|arg| !arg.to_string_lossy().starts_with('-'));
    let path = path.map_or_else(|| PathBuf::from("target/cliffs.svg"), PathBuf::from);
    let mut points: Vec<Point> = (0..if measure { POINTS } else { 64 }).map(Point::new).collect();

    let mut bench = Bench::new(Isa::detect());
    bench.alternate(&mut points.iter_mut().collect::<Vec<_>>(), rounds::budget(70));
    for point in &mut points {
        point.seconds = point.take_median();
    }
    let mut trends = compare(&mut points);
    for _ in 0..3 {
        let mut suspects: Vec<&mut Point> = points.iter_mut().filter(|point| point.ratio > SUSPECT).collect();
        if suspects.is_empty() {
            break;
        }
        bench.alternate(&mut suspects, rounds::budget(5));
        for point in suspects {
            point.seconds = point.seconds.min(point.take_median());
        }
        trends = compare(&mut points);
    }

    rounds::print_machine();
    println!("{}, {} points; samples of each: {} or more", bench.isa, points.len(), bench.rounds);
    print_trends(&trends);
    print_worst(&mut points);
    draw(&points, &path)?;
    println!("\nThe map is in {}", path.display());
    let cliffs = points.iter().filter(|point| point.is_cliff()).count();
    println!("cliffs: {cliffs}");
    // One sample of a point says nothing of its speed.
    Ok(if measure && cliffs > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The trend of an activation and an optimizer: seconds for each of [`Point::terms`].
struct Trend {
    variant: (usize, usize),
    seconds: [f64; 4],
}

/// Sets each point beside its neighbourhood.
fn compare(points: &mut [Point]) -> Vec<Trend> {
    let variants = (0..ACTIVATIONS.len()).flat_map(|a| (0..OPTIMIZERS.len()).map(move |o| (a, o)));
    let trends: Vec<Trend> = variants.map(|variant| Trend { variant, seconds: fit(points, variant) }).collect();
    for Trend { variant, seconds } in &trends {
        for point in points.iter_mut().filter(|point| point.is_of(*variant)) {
            point.trend = point.terms().iter().zip(seconds).map(|(term, seconds)| term * seconds).sum();
        }
    }
    for i in 0..points.len() {
        let (mut costs, mut excess): (Vec<f64>, Vec<f64>) = points
            .iter()
            .filter(|other| points[i].is_neighbour(other))
            .map(|other| (other.cost(), other.seconds / other.trend))
            .unzip();
        points[i].neighbours = costs.len() - 1;
        points[i].ratio = points[i].cost() / median(&mut costs);
        points[i].detrended = points[i].seconds / points[i].trend / median(&mut excess);
    }
    trends
}

/// Seconds for each of [`Point::terms`] by which the points of a variant are met with the least
/// squares of relative errors.
fn fit(points: &[Point], variant: (usize, usize)) -> [f64; 4] {
    let mut rows = [[0.0; 5]; 4]; // the normal equations
    for point in points.iter().filter(|point| point.is_of(variant)) {
        let terms = point.terms().map(|term| term / point.seconds);
        for (row, term) in rows.iter_mut().zip(terms) {
            for (sum, other) in row.iter_mut().zip(terms.into_iter().chain([1.0])) {
                *sum += term * other;
            }
        }
    }
    // Gauss and Jordan; the matrix is positive definite.
    for i in 0..4 {
        let pivot = rows[i].map(|value| value / rows[i][i]);
        for (j, row) in rows.iter_mut().enumerate() {
            let factor = if i == j { 0.0 } else { row[i] };
            *row = if i == j { pivot } else { std::array::from_fn(|k| row[k] - factor * pivot[k]) };
        }
    }
    rows.map(|row| row[4])
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print_trends(trends: &[Trend]) {
    println!("\ntrend, ns per{:>15}{:>12}{:>14}{:>12}", "step", "parameter", "unit, sample", "operation");
    for Trend { variant: (activation, optimizer), seconds } in trends {
        let [step, parameter, unit, operation] = seconds.map(|seconds| seconds * 1e9);
        let name = format!("{} {}", ACTIVATIONS[*activation].0, OPTIMIZERS[*optimizer].0);
        println!("{name:<18}{step:>10.0}{parameter:>12.3}{unit:>14.2}{operation:>12.4}");
    }
}

/// Sorts by ratio, prints the worst 20 points, and counts.
fn print_worst(points: &mut [Point]) {
    points.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
    println!(
        "\n{:>5}{:>7}  {:<14}{:>10}{:>9}{:>10}{:>7}{:>11}{:>5}",
        "width", "batch", "", "µs", "GFLOP/s", "ns/FLOP", "ratio", "detrended", ""
    );
    for point in &points[..points.len().min(20)] {
        let name = format!("{} {}", ACTIVATIONS[point.activation].0, OPTIMIZERS[point.optimizer].0);
        println!(
            "{:>5}{:>7}  {name:<14}{:>10.2}{:>9.1}{:>10.4}{:>7.2}{:>11.2}{:>5}",
            point.width,
            point.batch,
            point.seconds * 1e6,
            1.0 / point.cost(),
            point.cost(),
            point.ratio,
            point.detrended,
            point.neighbours
        );
    }
    let above = |limit: f64, of: fn(&Point) -> f64| points.iter().filter(|point| of(point) > limit).count();
    println!();
    for limit in [1.1, SUSPECT, LIMIT] {
        let (ratio, detrended) = (above(limit, |point| point.ratio), above(limit, |point| point.detrended));
        println!("above {limit:<5}{ratio:>5}, detrended{detrended:>5}");
    }
}

/// Draws the speed of all points and their ratios, both over width and batch.
fn draw(points: &[Point], path: &Path) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let root = SVGBackend::new(path, (1440, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    let (speed, ratio) = root.split_horizontally(720);
    let fastest = points.iter().map(|point| 1.0 / point.cost()).fold(0.0, f64::max);
    let speeds = [1.0, 0.75, 0.5, 0.25, 0.1].map(|part| part * fastest);
    draw_map(&speed, "GFLOP/s", &SPEEDS, &speeds.map(|s| (s, format!("{s:.0}"))), points, |point| 1.0 / point.cost())?;
    let ratios = [1.5, 1.25, 1.1, 1.0, 0.8].map(|ratio| (ratio, format!("{ratio}")));
    draw_map(&ratio, "Cost of a step against its neighbourhood's", &RATIOS, &ratios, points, |point| point.ratio)?;
    root.present()?;
    Ok(())
}

// Both can be told apart by the colour-blind: part of viridis (highest first), and of Okabe and Ito's.
const SPEEDS: [[f64; 3]; 5] =
    [[253., 231., 37.], [94., 201., 98.], [33., 145., 140.], [59., 82., 139.], [68., 1., 84.]];
const RATIOS: [[f64; 3]; 5] =
    [[213., 0., 0.], [230., 120., 0.], [240., 200., 130.], [225., 225., 225.], [0., 114., 178.]];

/// A dot for each point; `legend` has the values of `colors`, falling. Between them colours blend.
fn draw_map(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    caption: &str,
    colors: &[[f64; 3]; 5],
    legend: &[(f64, String); 5],
    points: &[Point],
    value: fn(&Point) -> f64,
) -> Result<(), Box<dyn Error>> {
    let color = |value: f64| {
        let below = (1..legend.len() - 1).find(|&i| legend[i].0 <= value).unwrap_or(legend.len() - 1);
        let (high, low) = (legend[below - 1].0, legend[below].0);
        let part = ((value - low) / (high - low)).clamp(0.0, 1.0);
        let [r, g, b] =
            std::array::from_fn(|i| (colors[below][i] + part * (colors[below - 1][i] - colors[below][i])) as u8);
        RGBColor(r, g, b)
    };
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(48)
        .build_cartesian_2d(WIDTHS[0] - 2..WIDTHS[1] + 22, BATCHES[0] - 1..BATCHES[1] + 1)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("width").y_desc("batch").label_style(("sans-serif", 15)).light_line_style(TRANSPARENT).draw()?;
    // The worst come last, on top.
    chart.draw_series(
        points.iter().rev().map(|point| Circle::new((point.width, point.batch), 4, color(value(point)).filled())),
    )?;
    for (value, label) in legend {
        let color = color(*value);
        let dot = move |(x, y)| Circle::new((x + 8, y), 5, color.filled());
        chart.draw_series(std::iter::empty::<Circle<(usize, usize), i32>>())?.label(label).legend(dot);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 15))
        .draw()?;
    Ok(())
}

/// Buffers for any point.
struct Bench {
    isa: Isa,
    /// Rounds over all points.
    rounds: usize,
    x: Vec<f32>,
    targets: Vec<f32>,
    params: Vec<f32>,
    state: Vec<f32>,
    workspace: Vec<f32>,
}

impl Bench {
    fn new(isa: Isa) -> Self {
        let [mut x, mut targets] = [INPUTS, OUTPUTS].map(|width| vec![0.0; CYCLE * BATCHES[1] * width]);
        let mut rng = Rng::new(1);
        x.fill_with(|| 2.0 * rng.uniform() - 1.0);
        targets.fill_with(|| rng.uniform());
        Self { isa, rounds: usize::MAX, x, targets, params: Vec::new(), state: Vec::new(), workspace: Vec::new() }
    }

    /// Takes a sample of each point in turn, until the time is up.
    fn alternate(&mut self, points: &mut [&mut Point], budget: Duration) {
        for point in &mut *points {
            point.steps = 4;
            point.steps = ((SAMPLE / self.time(point)) as u64).clamp(1, STEPS);
        }
        let start = Instant::now();
        for round in 1.. {
            for point in &mut *points {
                let sample = self.time(point);
                point.samples.push(sample);
            }
            if start.elapsed() > budget {
                self.rounds = self.rounds.min(round);
                return;
            }
        }
    }

    /// Trains from the initial parameters; the seconds of a step.
    fn time(&mut self, point: &Point) -> f64 {
        let Point { width, batch, steps, .. } = *point;
        let activation = ACTIVATIONS[point.activation].1;
        let optimizer = OPTIMIZERS[point.optimizer].1;
        let layers = [
            Layer::dense(width, activation),
            Layer::dense(width, activation),
            Layer::dense(OUTPUTS, Activation::Linear),
        ];
        let layout = Layout::new(INPUTS, &layers).expect("the sizes are sound");
        let mlp = Mlp::new(layout, self.isa);
        let trainer = Trainer::new(mlp, Loss::MeanSquaredError, optimizer).expect("the settings are sound");

        // On a line of 64 bytes, as those of a `Network`.
        resize(&mut self.params, layout.params_len() + 15);
        let start = self.params.as_ptr().align_offset(64);
        let params = &mut self.params[start..][..layout.params_len()];
        init(&layout, 7, params).expect("the length is the layout's");
        resize(&mut self.state, layout.optimizer_len(&optimizer));
        let state = &mut self.state[..layout.optimizer_len(&optimizer)];
        state.fill(0.0);
        resize(&mut self.workspace, mlp.workspace_len(batch).expect("it fits"));

        let mut start = Duration::ZERO;
        for step in 0..WARM_UP + steps {
            if step == WARM_UP {
                start = cpu_time();
            }
            let at = step as usize % CYCLE * batch;
            let x = &self.x[at * INPUTS..][..batch * INPUTS];
            let targets = Targets::values(&self.targets[at * OUTPUTS..][..batch * OUTPUTS]);
            let loss = trainer.train_step(step, x, targets, params, state, &mut self.workspace);
            loss.expect("the lengths fit and the loss is finite");
        }
        (cpu_time() - start).as_secs_f64() / steps as f64
    }
}

fn resize(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}
