//! The numbers that every program starts from: files of little-endian `f32`, without a header.
//!
//! For each workload `NAME.params` (the parameters in the crate's order: of each layer the weights `[in × out]`, then the
//! bias), `NAME.x` (`BATCHES` batches of inputs, uniform in −1 ≤ x < 1) and `NAME.y` (values, or the numbers of classes);
//! `predict.x` has 8 × 1,024 samples for the seed network.

use crate::workloads::{SHAPES, Shape, random};
use microprop::{Loss, Rng, init};
use std::{fs, io, path::Path};

/// Batches that are cycled.
pub(crate) const BATCHES: usize = 8;

/// Samples of a large prediction.
pub(crate) const MANY: usize = 1024;

/// What a workload starts from.
pub(crate) struct Data {
    pub(crate) params: Vec<f32>,
    pub(crate) x: Vec<f32>,
    pub(crate) y: Vec<f32>,
}

impl Data {
    pub(crate) fn new(shape: &Shape) -> Self {
        let mut rng = Rng::new(1);
        let samples = BATCHES * shape.batch;
        let (layout, outputs) = (shape.layout, shape.layout.outputs());
        let x = random(&mut rng, samples * layout.inputs(), -1.0, 1.0);
        let y = match shape.loss {
            Loss::CrossEntropy => classes(&mut rng, samples, outputs),
            Loss::BinaryCrossEntropy => (0..samples * outputs).map(|_| rng.below(2) as f32).collect(),
            _ => random(&mut rng, samples * outputs, 0.0, 1.0),
        };
        let mut params = vec![0.0; layout.params_len()];
        init(&layout, 7, &mut params).expect("the length is the layout's");
        Self { params, x, y }
    }
}

/// As many of each class as of the others, shuffled: scikit-learn counts the classes that it meets.
fn classes(rng: &mut Rng, samples: usize, outputs: usize) -> Vec<f32> {
    let mut classes: Vec<f32> = (0..samples).map(|sample| (sample % outputs) as f32).collect();
    for last in (1..samples).rev() {
        classes.swap(last, rng.below(last as u32 + 1) as usize);
    }
    classes
}

/// The inputs of predictions.
pub(crate) fn samples(inputs: usize) -> Vec<f32> {
    random(&mut Rng::new(2), BATCHES * MANY * inputs, -1.0, 1.0)
}

/// Writes all files.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let write = |name: String, numbers: &[f32]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        fs::write(folder.join(name), bytes)
    };
    for shape in SHAPES {
        let Data { params, x, y } = Data::new(&shape);
        for (kind, numbers) in [("params", params), ("x", x), ("y", y)] {
            write(format!("{}.{kind}", shape.name), &numbers)?;
        }
    }
    write("predict.x".into(), &samples(20))
}
