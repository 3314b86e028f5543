//! burn. The first argument is its backend: `flex` or `ndarray`.

#[path = "../../serve.rs"]
mod serve;
#[path = "../../spec.rs"]
mod spec;

use burn::module::{Module, Param};
use burn::nn::loss::{BinaryCrossEntropyLossConfig, CrossEntropyLossConfig, MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use serve::{Run, serve};
use spec::{BATCHES, Kind, Optimizer, Spec, rows_of, samples};
use std::hint::black_box;
use std::time::Instant;

#[derive(Module, Debug)]
struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    fn new(spec: &Spec, device: &Device) -> Self {
        let layers = spec.params().into_iter().zip(spec.sizes.windows(2)).map(|((weights, bias), sizes)| {
            let mut layer = LinearConfig::new(sizes[0], sizes[1]).init(device);
            layer.weight = Param::from_data(TensorData::new(weights, [sizes[0], sizes[1]]), device);
            layer.bias = Some(Param::from_data(TensorData::new(bias, [sizes[1]]), device));
            layer
        });
        Self { layers: layers.collect() }
    }

    fn forward(&self, mut x: Tensor<2>, tanh: bool) -> Tensor<2> {
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                x = if tanh { activation::tanh(x) } else { activation::relu(x) };
            }
            x = layer.forward(x);
        }
        x
    }
}

fn optimizer(kind: Optimizer) -> (ModuleOptimizer, f64) {
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    match kind {
        Optimizer::Sgd => (SgdConfig::new().init(), 0.01),
        Optimizer::Momentum => (SgdConfig::new().with_momentum(Some(momentum)).init(), 0.01),
        Optimizer::Adam => (AdamConfig::new().with_epsilon(1e-8).init(), 1e-3),
    }
}

fn train(spec: Spec, device: Device) -> Run {
    let (batch, outputs) = (spec.batch, spec.outputs());
    let x = spec.x().into_iter().map(|x| TensorData::new(x, [batch, spec.sizes[0]]));
    let x: Vec<Tensor<2>> = x.map(|x| Tensor::from_data(x, &device)).collect();
    let (mut values, mut classes) = (Vec::<Tensor<2>>::new(), Vec::<Tensor<1, Int>>::new());
    for y in spec.y() {
        if spec.loss == Kind::MeanSquaredError {
            values.push(Tensor::from_data(TensorData::new(y, [batch, outputs]), &device));
        } else {
            let y: Vec<i32> = y.into_iter().map(|y| y as i32).collect();
            classes.push(Tensor::from_data(TensorData::new(y, [batch]), &device));
        }
    }
    let binary = BinaryCrossEntropyLossConfig::new().with_logits(true).init(&device);
    let cross = CrossEntropyLossConfig::new().init(&device);
    Box::new(move |steps| {
        let mut model = Mlp::new(&spec, &device);
        let (mut optimizer, rate) = optimizer(spec.optimizer);
        let mut last = None;
        let start = Instant::now();
        for step in 0..steps as usize {
            let at = step % BATCHES;
            let y = model.forward(x[at].clone(), spec.tanh);
            let loss = match spec.loss {
                Kind::BinaryCrossEntropy => binary.forward(y.reshape([batch]), classes[at].clone()),
                Kind::CrossEntropy => cross.forward(y, classes[at].clone()),
                Kind::MeanSquaredError => MseLoss::new().forward(y, values[at].clone(), Reduction::Mean),
            };
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(rate, model, gradients);
            last = Some(loss);
        }
        let time = start.elapsed();
        (time, last.map_or(f32::NAN, |loss| loss.into_scalar::<f32>()))
    })
}

fn predict(rows: usize, device: Device) -> Option<Run> {
    let model = Mlp::new(&Spec::find("seed")?, &device);
    let x = samples(rows).into_iter().map(|x| Tensor::<2>::from_data(TensorData::new(x, [rows, 20]), &device));
    let x: Vec<Tensor<2>> = x.collect();
    Some(Box::new(move |calls| {
        let mut last = None;
        let start = Instant::now();
        for call in 0..calls as usize {
            last = Some(black_box(activation::sigmoid(model.forward(x[call % x.len()].clone(), false))));
        }
        let time = start.elapsed();
        (time, last.map_or(f32::NAN, |y| y.slice([0..1, 0..1]).into_scalar::<f32>()))
    }))
}

fn main() -> std::io::Result<()> {
    let backend = std::env::args().nth(1).unwrap_or_default();
    #[allow(deprecated, reason = "ndarray is measured as long as burn has it")]
    let device = || if backend == "ndarray" { Device::ndarray() } else { Device::flex() };
    let about = format!("burn 0.22.1, backend {backend}; release, thin LTO, target-cpu=native");
    serve(&about, |workload| {
        let run = match rows_of(workload) {
            Some(rows) => predict(rows, device()),
            None => Spec::find(workload).map(|spec| train(spec, device().autodiff())),
        };
        run.ok_or_else(|| "Keras's script".into())
    })
}
