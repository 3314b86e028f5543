//! candle. It has no momentum: `Momentum` below is written as its own `SGD` is.

#[path = "../../serve.rs"]
mod serve;
#[path = "../../spec.rs"]
mod spec;

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};
use candle_nn::{AdamW, Linear, Module, Optimizer as _, ParamsAdamW, SGD, loss, ops};
use serve::{Run, serve};
use spec::{BATCHES, Kind, Optimizer, Spec, rows_of, samples, transposed};
use std::hint::black_box;
use std::time::Instant;

const DEVICE: Device = Device::Cpu;

enum Update {
    Sgd(SGD),
    Momentum(Momentum),
    Adam(AdamW),
}

struct Momentum {
    vars: Vec<(Var, Option<Tensor>)>,
}

impl Momentum {
    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        for (var, velocity) in &mut self.vars {
            let Some(gradient) = gradients.get(var) else { continue };
            let next = match velocity {
                Some(velocity) => velocity.affine(0.9, 0.0)?.add(gradient)?,
                None => gradient.clone(),
            };
            var.set(&var.sub(&next.affine(0.01, 0.0)?)?)?;
            *velocity = Some(next.detach());
        }
        Ok(())
    }
}

impl Update {
    fn new(kind: Optimizer, vars: &[Var]) -> Result<Self> {
        let adam = ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..Default::default() };
        Ok(match kind {
            Optimizer::Sgd => Self::Sgd(SGD::new(vars.to_vec(), 0.01)?),
            Optimizer::Momentum => {
                Self::Momentum(Momentum { vars: vars.iter().map(|var| (var.clone(), None)).collect() })
            }
            Optimizer::Adam => Self::Adam(AdamW::new(vars.to_vec(), adam)?),
        })
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        match self {
            Self::Sgd(sgd) => sgd.step(gradients),
            Self::Momentum(momentum) => momentum.step(gradients),
            Self::Adam(adam) => adam.step(gradients),
        }
    }
}

/// Of each layer the weights, which candle has as `[out × in]`, and the bias.
fn initial(spec: &Spec) -> Result<Vec<Tensor>> {
    let mut tensors = Vec::new();
    for ((weights, bias), sizes) in spec.params().into_iter().zip(spec.sizes.windows(2)) {
        tensors.push(Tensor::from_vec(transposed(&weights, sizes[1]), (sizes[1], sizes[0]), &DEVICE)?);
        tensors.push(Tensor::from_vec(bias, sizes[1], &DEVICE)?);
    }
    Ok(tensors)
}

fn layers(tensors: &[Tensor]) -> Vec<Linear> {
    tensors.chunks(2).map(|layer| Linear::new(layer[0].clone(), Some(layer[1].clone()))).collect()
}

fn forward(layers: &[Linear], x: &Tensor, tanh: bool) -> Result<Tensor> {
    let mut x = x.clone();
    for (index, layer) in layers.iter().enumerate() {
        if index > 0 {
            x = if tanh { x.tanh()? } else { x.relu()? };
        }
        x = layer.forward(&x)?;
    }
    Ok(x)
}

fn train(spec: Spec) -> Result<Run> {
    let (batch, outputs) = (spec.batch, spec.outputs());
    let initial = initial(&spec)?;
    let vars: Vec<Var> = initial.iter().map(Var::from_tensor).collect::<Result<_>>()?;
    let layers = layers(&vars.iter().map(|var| var.as_tensor().clone()).collect::<Vec<_>>());
    let x = spec.x().into_iter().map(|x| Tensor::from_vec(x, (batch, spec.sizes[0]), &DEVICE));
    let x: Vec<Tensor> = x.collect::<Result<_>>()?;
    let y = spec.y().into_iter().map(|y| match spec.loss {
        Kind::CrossEntropy => {
            Tensor::from_vec(y.into_iter().map(|class| class as u32).collect::<Vec<_>>(), batch, &DEVICE)
        }
        _ => Tensor::from_vec(y, (batch, outputs), &DEVICE),
    });
    let y: Vec<Tensor> = y.collect::<Result<_>>()?;
    let run = move |steps| -> Result<_> {
        for (var, initial) in vars.iter().zip(&initial) {
            var.set(initial)?;
        }
        let mut update = Update::new(spec.optimizer, &vars)?;
        let mut last = None;
        let start = Instant::now();
        for step in 0..steps as usize {
            let at = step % BATCHES;
            let z = forward(&layers, &x[at], spec.tanh)?;
            let loss = match spec.loss {
                Kind::BinaryCrossEntropy => loss::binary_cross_entropy_with_logit(&z, &y[at])?,
                Kind::CrossEntropy => loss::cross_entropy(&z, &y[at])?,
                Kind::MeanSquaredError => loss::mse(&z, &y[at])?,
            };
            update.step(&loss.backward()?)?;
            last = Some(loss);
        }
        let time = start.elapsed();
        Ok((time, last.map_or(Ok(f32::NAN), |loss| loss.to_scalar())?))
    };
    Ok(Box::new(move |steps| run(steps).expect("the shapes fit")))
}

fn predict(rows: usize, seed: Spec) -> Result<Run> {
    let layers = layers(&initial(&seed)?);
    let x = samples(rows).into_iter().map(|x| Tensor::from_vec(x, (rows, 20), &DEVICE));
    let x: Vec<Tensor> = x.collect::<Result<_>>()?;
    let run = move |calls| -> Result<_> {
        let mut last = None;
        let start = Instant::now();
        for call in 0..calls as usize {
            last = Some(black_box(ops::sigmoid(&forward(&layers, &x[call % x.len()], false)?)?));
        }
        let time = start.elapsed();
        Ok((time, last.map_or(Ok(f32::NAN), |y| y.flatten_all()?.get(0)?.to_scalar())?))
    };
    Ok(Box::new(move |calls| run(calls).expect("the shapes fit")))
}

fn main() -> std::io::Result<()> {
    let about = "candle 0.11.1 (momentum added to it by its tensors); release, thin LTO, target-cpu=native";
    serve(about, |workload| {
        let run = match (rows_of(workload), Spec::find(workload)) {
            (Some(rows), _) => Spec::find("seed").map(|seed| predict(rows, seed)),
            (None, spec) => spec.map(train),
        };
        run.ok_or("Keras's script")?.map_err(|error| error.to_string())
    })
}
