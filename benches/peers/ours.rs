//! This crate in the part of a peer: the same dialogue, the same data.

use crate::data::{self, BATCHES, Data, MANY};
use crate::serve::{Run, serve};
use crate::workloads::{self, Shape};
use microprop::{Activation, Fit, Isa, Loss, Metric, Mlp, Network, Rng, Sgd, Targets, Trainer};
use std::hint::black_box;
use std::io;
use std::time::Instant;

/// Answers for this crate.
pub(crate) fn answer() -> io::Result<()> {
    let about = format!("microprop {}, {}, built without target-cpu", env!("CARGO_PKG_VERSION"), Isa::detect());
    serve(&about, |workload| prepare(workload).ok_or_else(|| "not written".into()))
}

fn prepare(workload: &str) -> Option<Run> {
    match workload {
        "script" | "fit" => Some(script(workload == "fit")),
        "predict1" => Some(predict(1)),
        "predict1024" => Some(predict(MANY)),
        _ => workloads::shape(workload).map(train),
    }
}

fn train(shape: Shape) -> Run {
    let Shape { layout, loss, optimizer, batch, .. } = shape;
    let Data { params: initial, x, y } = Data::new(&shape);
    let classes: Vec<u32> = y.iter().map(|&class| class as u32).collect();
    let mlp = Mlp::new(layout, Isa::detect());
    let trainer = Trainer::new(mlp, loss, optimizer).expect("the loss fits the outputs");
    let mut params = vec![0.0; initial.len() + 15];
    let aligned = params.as_ptr().align_offset(64);
    let mut state = vec![0.0; layout.optimizer_len(&optimizer)];
    let mut workspace = vec![0.0; mlp.workspace_len(batch).expect("it fits")];
    Box::new(move |steps| {
        let params = &mut params[aligned..][..initial.len()];
        params.copy_from_slice(&initial);
        state.fill(0.0);
        let mut last = 0.0;
        let start = Instant::now();
        for step in 0..steps {
            let at = step as usize % BATCHES;
            let targets = match loss {
                Loss::CrossEntropy => Targets::classes(&classes[at * batch..][..batch]),
                _ => Targets::values(&y[at * batch * layout.outputs()..][..batch * layout.outputs()]),
            };
            let x = &x[at * batch * layout.inputs()..][..batch * layout.inputs()];
            let loss = trainer.train_step(step, x, targets, params, &mut state, &mut workspace);
            last = black_box(loss).expect("the lengths fit and the loss is finite");
        }
        (start.elapsed(), last)
    })
}

fn predict(rows: usize) -> Run {
    let Shape { layout, .. } = workloads::shape("seed").expect("it is a workload");
    let Data { params: initial, .. } = Data::new(&workloads::shape("seed").expect("it is a workload"));
    let mut params = vec![0.0; initial.len() + 15];
    let aligned = params.as_ptr().align_offset(64);
    params[aligned..][..initial.len()].copy_from_slice(&initial);
    let mlp = Mlp::new(layout, Isa::detect());
    let x = data::samples(layout.inputs());
    let pieces = if rows == 1 { 256 } else { BATCHES as u64 };
    let mut y = vec![0.0; rows * layout.outputs()];
    let mut workspace = vec![0.0; mlp.predict_workspace_len(rows).expect("it fits")];
    Box::new(move |calls| {
        let params = &params[aligned..][..initial.len()];
        let start = Instant::now();
        for call in 0..calls {
            let x = &x[(call & (pieces - 1)) as usize * rows * layout.inputs()..][..rows * layout.inputs()];
            mlp.predict(params, x, &mut y, &mut workspace).expect("the lengths fit");
            black_box(&mut y);
        }
        (start.elapsed(), y[0])
    })
}

/// `examples/keras_quickstart.rs`; or only its training, once more, of the same network.
fn script(again: bool) -> Run {
    let mut rng = Rng::new(1);
    let x: Vec<f32> = (0..1000 * 20).map(|_| rng.uniform()).collect();
    let y: Vec<f32> = (0..1000).map(|_| rng.below(2) as f32).collect();
    let build = || {
        let layers = Network::new(20).dense(64, Activation::Relu).dense(1, Activation::Sigmoid);
        layers.seed(7).build().expect("the layers are sound")
    };
    let mut kept = build();
    Box::new(move |_| {
        let start = Instant::now();
        let mut built;
        let model = if again {
            &mut kept
        } else {
            built = build();
            &mut built
        };
        let fit = Fit::new(Loss::BinaryCrossEntropy, Sgd::new(0.01)).metric(Metric::Accuracy);
        let history = model.fit(&x, &y, fit.epochs(20).batch_size(32)).expect("the data fits the network");
        (start.elapsed(), black_box(history).last().map_or(f32::NAN, |epoch| epoch.training.loss))
    })
}
