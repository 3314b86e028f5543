//! dfdx, whose shapes are known to the compiler.

#[path = "../../serve.rs"]
mod serve;
#[path = "../../spec.rs"]
mod spec;

use dfdx::optim::{Adam, AdamConfig, Momentum, Sgd, SgdConfig};
use dfdx::prelude::*;
use serve::{Run, serve};
use spec::{BATCHES, Kind, Spec, samples, transposed};
use std::hint::black_box;
use std::time::Instant;

type Seed = ((Linear<20, 64>, ReLU), Linear<64, 1>);
type Digits = ((Linear<64, 128>, ReLU), Linear<128, 10>);
type Mnist = ((Linear<784, 512>, ReLU), (Linear<512, 256>, ReLU), Linear<256, 10>);
type Wide = ((Linear<1024, 2048>, ReLU), (Linear<2048, 2048>, ReLU), Linear<2048, 1000>);
type Control = ((Linear<17, 64>, Tanh), (Linear<64, 64>, Tanh), Linear<64, 6>);

/// The batches as tensors of this shape; classes as one-hot rows.
fn batches<const B: usize, const N: usize>(
    dev: &Cpu,
    batches: Vec<Vec<f32>>,
    one_hot: bool,
) -> Vec<Tensor<Rank2<B, N>, f32, Cpu>> {
    let dense = |y: Vec<f32>| match one_hot {
        true => y.iter().flat_map(|&class| (0..N).map(move |n| f32::from(n == class as usize))).collect(),
        false => y,
    };
    batches.into_iter().map(|y| dev.tensor(dense(y))).collect()
}

/// Copies the initial parameters into the linear layers; dfdx has weights as `[out × in]`.
macro_rules! set {
    ($spec:expr, $($linear:expr),+) => {{
        let mut layers = $spec.params().into_iter();
        $(if let Some((weights, bias)) = layers.next() {
            $linear.weight.copy_from(&transposed(&weights, bias.len()));
            $linear.bias.copy_from(&bias);
        })+
    }};
}

/// A workload: its network, its linear layers, its sizes, optimizer and loss.
macro_rules! train {
    ($name:expr, $Net:ty, [$($layer:tt).+ $(, $($more:tt).+)*], $in:literal, $out:literal, $batch:literal, $optimizer:expr, $loss:expr) => {{
        let spec = Spec::find($name).expect("it is a workload");
        let dev = Cpu::default();
        let x = batches::<$batch, $in>(&dev, spec.x(), false);
        let y = batches::<$batch, $out>(&dev, spec.y(), spec.loss == Kind::CrossEntropy);
        let mut model = dev.build_module::<$Net, f32>();
        let mut gradients = Some(model.alloc_grads());
        Box::new(move |steps| {
            set!(spec, model.$($layer).+ $(, model.$($more).+)*);
            let mut optimizer = $optimizer(&model);
            let mut last = f32::NAN;
            let start = Instant::now();
            for step in 0..steps as usize {
                let kept = gradients.take().unwrap_or_else(|| model.alloc_grads());
                let z = model.forward_mut(x[step % BATCHES].clone().traced(kept));
                let loss = $loss(z, y[step % BATCHES].clone());
                last = loss.array();
                let mut found = loss.backward();
                optimizer.update(&mut model, &found).expect("every parameter has a gradient");
                model.zero_grads(&mut found);
                gradients = Some(found);
            }
            (start.elapsed(), last)
        })
    }};
}

macro_rules! predict {
    ($rows:literal) => {{
        let dev = Cpu::default();
        let mut model = dev.build_module::<(Seed, Sigmoid), f32>();
        set!(Spec::find("seed").expect("it is a workload"), model.0.0.0, model.0.1);
        let x = batches::<$rows, 20>(&dev, samples($rows), false);
        Box::new(move |calls| {
            let mut last = f32::NAN;
            let start = Instant::now();
            for call in 0..calls as usize {
                let y = black_box(model.forward(x[call % x.len()].clone()));
                if call + 1 == calls as usize {
                    last = y.as_vec()[0];
                }
            }
            (start.elapsed(), last)
        })
    }};
}

fn sgd<M>(model: &M, momentum: Option<Momentum>) -> Sgd<M, f32, Cpu> {
    Sgd::new(model, SgdConfig { lr: 0.01, momentum, weight_decay: None })
}

fn prepare(workload: &str) -> Result<Run, String> {
    let adam = AdamConfig { lr: 1e-3, ..Default::default() };
    Ok(match workload {
        "seed" => {
            train!("seed", Seed, [0.0, 1], 20, 1, 32, |m| sgd(m, None), binary_cross_entropy_with_logits_loss)
        }
        "digits" => {
            train!("digits", Digits, [0.0, 1], 64, 10, 32, |m| Adam::new(m, adam), cross_entropy_with_logits_loss)
        }
        "mnist" => train!(
            "mnist",
            Mnist,
            [0.0, 1.0, 2],
            784,
            10,
            128,
            |m| sgd(m, Some(Momentum::Classic(0.9))),
            cross_entropy_with_logits_loss
        ),
        "wide" => {
            train!("wide", Wide, [0.0, 1.0, 2], 1024, 1000, 256, |m| sgd(m, None), cross_entropy_with_logits_loss)
        }
        "control" => {
            train!("control", Control, [0.0, 1.0, 2], 17, 6, 256, |m| Adam::new(m, adam), mse_loss)
        }
        "predict1" => predict!(1),
        "predict1024" => predict!(1024),
        _ => return Err("Keras's script".into()),
    })
}

fn main() -> std::io::Result<()> {
    serve("dfdx 0.13.0; release, thin LTO, target-cpu=native", prepare)
}
