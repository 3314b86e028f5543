//! What can be wrong with layers of other kinds than dense ones: see [`super`].

use super::*;
use microprop::Activation::HardSwish;

const BELOW: [Layer; 3] = [Layer::normalization(), Layer::embedding(1, 3, 2), Layer::dropout(0.2)];

/// All kinds that any schedule trains.
const LEAN: [Layer; 8] = [
    BELOW[0],
    BELOW[1],
    BELOW[2],
    Layer::dense(7, Gelu).with_dropout(0.3).without_bias(),
    Layer::layer_norm(Tanh).with_residual(1),
    Layer::dense(7, HardSwish),
    Layer::rms_norm(Linear).with_residual(3),
    Layer::dense(5, Sigmoid),
];

const BATCH: [Layer; 6] = [
    BELOW[0],
    BELOW[1],
    Layer::batch_norm(Relu),
    Layer::dense(4, Tanh).with_residual(1).with_dropout(0.5),
    Layer::batch_norm(Linear).with_momentum(0.3),
    Layer::dense(5, Sigmoid),
];

fn layout_of(layers: &[Layer]) -> Layout<'_> {
    Layout::new(3, layers).unwrap()
}

/// Those that train `layers`, and their batches.
fn mlps_of(layers: &[Layer]) -> Vec<(Mlp<'_>, usize)> {
    let mlp = Mlp::new(layout_of(layers), Isa::detect());
    let mut mlps = vec![(mlp, 4), (mlp.with_threads(3).with_grain(1), 4)];
    if layers.len() == LEAN.len() {
        mlps.push((mlp.with_schedule(Schedule::Lean), 1));
    }
    mlps
}

#[test]
fn networks_of_all_layers_check_every_length() {
    for layers in [&LEAN[..], &BATCH] {
        check_every_length(layout_of(layers), &mlps_of(layers), &[1]);
    }
}

#[test]
fn layers_stand_where_they_can() {
    use LayoutError::*;
    let (hidden, last) = (Layer::dense(3, Relu), Layer::dense(1, Linear));
    let refused = |layers: &[Layer], expected: LayoutError| {
        assert_eq!(Layout::new(3, layers), Err(expected), "{layers:?}");
        // Whatever layer is wrong, it is named, wherever it is.
        assert!(expected == TooLarge || expected.to_string().starts_with("layer "), "{expected}");
    };
    for layers in [&[hidden, hidden.with_dropout(0.5)][..], &[Layer::layer_norm(Relu).with_dropout(0.1)]] {
        refused(layers, LastDropout { layer: layers.len() - 1 });
    }
    for rate in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0, 1.5, -1e-45] {
        refused(&[hidden, Layer::dropout(rate), last], DropoutRate { layer: 1 });
        refused(&[hidden, last.with_dropout(rate)], DropoutRate { layer: 1 });
    }
    for rate in [0.0, -0.0, 1e-45, 0.999_999_94] {
        assert!(Layout::new(3, &[hidden.with_dropout(rate), last]).is_ok(), "{rate}");
    }
    for span in [2, 3, usize::MAX] {
        refused(&[hidden.with_residual(span), last], ResidualSpan { layer: 0, span });
    }
    refused(&[hidden, hidden.with_residual(3), last], ResidualSpan { layer: 1, span: 3 });
    refused(&[hidden, last.with_residual(1)], ResidualWidth { layer: 1, from: 3, to: 1 });
    refused(&[last, hidden.with_residual(1)], ResidualWidth { layer: 1, from: 1, to: 3 });
    refused(&[Layer::embedding(0, 2, 4).with_residual(1), last], ResidualWidth { layer: 0, from: 3, to: 6 });
    for epsilon in [f32::NAN, f32::INFINITY, 0.0, -0.0, -1.0] {
        for norm in [Layer::layer_norm(Relu), Layer::rms_norm(Relu), Layer::batch_norm(Relu)] {
            refused(&[hidden, norm.with_epsilon(epsilon), last], Epsilon { layer: 1 });
        }
    }
    for momentum in [f32::NAN, f32::INFINITY, 0.0, -0.5, 1.000_000_1] {
        refused(&[hidden, Layer::batch_norm(Relu).with_momentum(momentum)], Momentum { layer: 1 });
    }
    for momentum in [1e-45, 1.0] {
        assert!(Layout::new(3, &[Layer::batch_norm(Relu).with_momentum(momentum)]).is_ok());
    }
    refused(&[Layer::normalization(), Layer::normalization(), last], LateNormalization { layer: 1 });
    refused(&[Layer::embedding(0, 2, 2), Layer::normalization()], LateNormalization { layer: 1 });
    let embedding = Layer::embedding(0, 2, 2);
    let below = [hidden, Layer::elementwise(Relu), Layer::dropout(0.5), Layer::layer_norm(Linear)];
    for layer in below.into_iter().chain([Layer::normalization().with_residual(1), embedding.with_dropout(0.1)]) {
        refused(&[layer, Layer::embedding(2, 2, 2), last], LateEmbedding { layer: 1 });
    }
    for column in [3, usize::MAX] {
        refused(&[Layer::embedding(column, 2, 2)], Column { layer: 0, column, inputs: 3 });
    }
    refused(&[embedding, Layer::embedding(4, 2, 2)], Column { layer: 1, column: 4, inputs: 4 });
    refused(&[embedding, Layer::embedding(0, 2, 2)], EmbeddedColumn { layer: 1, column: 0 });
    refused(&[embedding, Layer::embedding(2, 2, 2), Layer::embedding(3, 2, 2)], EmbeddedColumn { layer: 2, column: 3 });
    assert!(Layout::new(3, &[embedding, Layer::embedding(2, 2, 2), Layer::embedding(4, 2, 2)]).is_ok());
    for embedding in [Layer::embedding(0, 0, 2), Layer::embedding(0, 2, 0)] {
        refused(&[Layer::normalization(), embedding], NoUnits { layer: 1 });
    }
    // A float counts to 2²⁴. A product; a sum; what two tables make together.
    assert!(Layout::new(3, &[Layer::embedding(0, 1 << 24, 1)]).is_ok());
    refused(&[Layer::embedding(0, (1 << 24) + 1, 1)], TooLarge);
    refused(&[Layer::embedding(0, 1 << 24, usize::MAX)], TooLarge);
    refused(&[Layer::embedding(0, 1, usize::MAX)], TooLarge);
    let half = isize::MAX as usize / 16;
    refused(&[Layer::embedding(0, 1, half), Layer::embedding(half, 1, half)], TooLarge);
    for norm in [Layer::layer_norm(Relu), Layer::batch_norm(Relu), Layer::normalization()] {
        assert_eq!(Layout::new(isize::MAX as usize / 8, &[norm]), Err(TooLarge));
        assert_eq!(Layout::new(usize::MAX, &[norm]), Err(TooLarge));
    }
}

/// What is no category: of three.
const NO_CATEGORIES: [f32; 10] =
    [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, -1e-45, 0.5, 2.999_999_8, 3.0, 1e20];

/// Each function of a network says which of its inputs is no category, and writes nothing.
#[test]
fn categories_are_checked_everywhere() {
    for layers in [&LEAN[..], &BATCH] {
        for (mlp, batch) in mlps_of(layers) {
            let layout = layout_of(layers);
            let params = numbers(layout.params_len(), 1);
            let targets = numbers(batch * 5, 2);
            let trainer = Trainer::new(mlp, Loss::MeanSquaredError, OPTIMIZERS[3]).unwrap();
            let len = trainer.workspace_len(batch).unwrap().max(mlp.predict_workspace_len(batch).unwrap());
            let mut workspace = vec![0.0; len];
            let mut results = |x: &[f32]| {
                let mut written = [batch * 5, layout.trainable_len(), params.len(), 2 * layout.trainable_len()]
                    .map(|n| numbers(n, 3));
                let before = written.clone().map(|slice| bits(&slice));
                let [y, gradient, trained, state] = &mut written;
                let (t, w) = (Targets::values(&targets), &mut workspace);
                let results = [
                    mlp.predict(&params, x, y, w),
                    mlp.forward(&params, x, w).map(drop),
                    mlp.forward_training(1, &params, x, w).map(drop),
                    trainer.loss(x, t, &params, w).map(drop),
                    trainer.gradient(1, x, t, &params, gradient, w).map(drop),
                    trainer.train_step(1, x, t, trained, state, w).map(drop),
                ];
                let after = written.map(|slice| bits(&slice));
                (results, before == after)
            };
            let right = |sample: usize, category: f32| {
                let mut x = numbers(batch * 3, 4);
                x.chunks_mut(3).for_each(|x| x[1] = 2.0);
                x[3 * sample + 1] = category;
                x
            };
            for category in [0.0, -0.0, 1.0, 2.0] {
                let (results, unchanged) = results(&right(0, category));
                assert!(results.iter().all(Result::is_ok) && !unchanged, "{category}: {results:?}");
            }
            for sample in [0, batch - 1] {
                for found in NO_CATEGORIES {
                    let (results, unchanged) = results(&right(sample, found));
                    // NaN does not equal itself: compare what is printed.
                    let expected = Err::<(), _>(StepError::Category { sample, input: 1, found, categories: 3 });
                    for result in results {
                        assert_eq!(format!("{result:?}"), format!("{expected:?}"));
                    }
                    assert!(unchanged, "{found}");
                }
            }
        }
    }
}

/// The same for a network that owns its parameters.
#[cfg(feature = "alloc")]
#[test]
fn categories_are_checked_in_networks() {
    use microprop::{Fit, FitError, Network};
    let network = Network::new(3).embedding(1, 3, 2).dense(4, Tanh).dense(1, Linear);
    let mut network = network.build().unwrap();
    let right = [0.1, 2.0, 0.3, 0.4, 0.0, 0.6];
    let fit = || Fit::new(Loss::MeanSquaredError, Sgd::new(0.1)).epochs(2).batch_size(1);
    let targets = [0.5, 0.7];
    let before = bits(network.params());
    for sample in [0, 1] {
        for found in NO_CATEGORIES {
            let mut x = right;
            x[3 * sample + 1] = found;
            // Where a network looks at one sample or batch after the other, it is still the sample of all.
            let expected = format!("{:?}", StepError::Category { sample, input: 1, found, categories: 3 });
            assert_eq!(format!("{:?}", network.predict(&x).unwrap_err()), expected);
            assert_eq!(format!("{:?}", network.predict_classes(&x).unwrap_err()), expected);
            let evaluated = network.evaluate(&x, &targets, Loss::MeanSquaredError, None);
            assert_eq!(format!("{:?}", evaluated.unwrap_err()), expected);
            let fitted = network.fit(&x, &targets, fit()).unwrap_err();
            let FitError::Step(error) = fitted else { panic!("{fitted:?}") };
            assert_eq!(format!("{error:?}"), expected);
            let fitted = network.fit(&right, &targets, fit().validation(&x, &targets)).unwrap_err();
            let FitError::Validation(error) = fitted else { panic!("{fitted:?}") };
            assert_eq!(format!("{error:?}"), expected);
            assert_eq!(bits(network.params()), before, "{found}");
        }
    }
    network.fit(&right, &targets, fit()).unwrap();
    assert_ne!(bits(network.params()), before);
}

/// A batch of one sample has no variance: the lean schedule refuses to train batch norms, and predicts.
#[test]
fn the_lean_schedule_has_no_batch_norm() {
    let mlp = Mlp::new(layout_of(&BATCH), Isa::detect()).with_schedule(Schedule::Lean);
    let trainer = Trainer::new(mlp, Loss::MeanSquaredError, OPTIMIZERS[1]).unwrap();
    let x = |x: &mut [f32]| x[1] = 2.0;
    let targets = numbers(5, 1);
    let result = spoilt(&trainer, 1, Targets::values(&targets), &|input, _| x(input));
    assert_eq!(result, Err(StepError::LeanBatchNorm));
    let params = numbers(mlp.layout().params_len(), 2);
    let mut workspace = vec![0.0; trainer.workspace_len(1).unwrap()];
    let (input, mut y) = ([0.5, 2.0, 0.5], [f32::NAN; 5]);
    assert_eq!(mlp.forward(&params, &input, &mut workspace).err(), Some(StepError::LeanBatchNorm));
    assert_eq!(mlp.forward_training(0, &params, &input, &mut workspace).err(), Some(StepError::LeanBatchNorm));
    mlp.predict(&params, &input, &mut y, &mut workspace).unwrap();
    assert!(y.iter().all(|y| y.is_finite()));
}

/// Nothing is written either where it is the loss that is wrong: running statistics stay too.
#[test]
fn a_loss_that_is_not_finite_moves_no_statistics() {
    for layers in [&LEAN[..], &BATCH] {
        for (mlp, batch) in mlps_of(layers) {
            for optimizer in OPTIMIZERS {
                let trainer = Trainer::new(mlp, Loss::MeanSquaredError, optimizer).unwrap();
                let targets = numbers(batch * 5, 5);
                let run = |bad: f32| {
                    let prepare = |x: &mut [f32], params: &mut [f32]| {
                        x.chunks_mut(3).for_each(|x| x[1] = 2.0);
                        // The bias of the last layer.
                        params[mlp.layout().trainable_len() - 1] += bad;
                    };
                    spoilt(&trainer, batch, Targets::values(&targets), &prepare)
                };
                assert!(matches!(run(f32::NAN), Err(StepError::NonFiniteLoss { .. })), "{:?}", run(f32::NAN));
            }
        }
    }
}

#[test]
fn messages_about_layers_read_well() {
    let cases: [(&dyn Display, &str); 13] = [
        (&LayoutError::DropoutRate { layer: 1 }, "layer 1: a dropout rate lies in 0 <= rate < 1"),
        (&LayoutError::LastDropout { layer: 1 }, "layer 1: dropout is not for the last layer"),
        (
            &LayoutError::ResidualSpan { layer: 1, span: 3 },
            "layer 1: a residual connection begins at the network's inputs or above; a span of 3 begins below them",
        ),
        (
            &LayoutError::ResidualWidth { layer: 1, from: 64, to: 63 },
            "layer 1: a residual connection adds as many values as the layer has units, 63; 64 enter the span",
        ),
        (&LayoutError::Epsilon { layer: 1 }, "layer 1: the epsilon of a normalization is finite and above zero"),
        (
            &LayoutError::Momentum { layer: 1 },
            "layer 1: the momentum of a batch normalization lies in 0 < momentum <= 1",
        ),
        (&LayoutError::LateNormalization { layer: 1 }, "layer 1: normalization of inputs is for the first layer only"),
        (
            &LayoutError::LateEmbedding { layer: 1 },
            "layer 1: below an embedding there are only normalization of inputs and embeddings",
        ),
        (
            &LayoutError::Column { layer: 1, column: 64, inputs: 64 },
            "layer 1: an embedding takes one of its layer's inputs, 0 to 63, found column 64",
        ),
        (
            &LayoutError::EmbeddedColumn { layer: 1, column: 5 },
            "layer 1: an embedding takes a column of the network's inputs, not of another embedding, found column 5",
        ),
        (
            &StepError::Category { sample: 7, input: 2, found: 1.5, categories: 10 },
            "sample 7, input 2: expected a category, a whole number below 10, found 1.5",
        ),
        (
            &StepError::Category { sample: 0, input: 0, found: f32::NAN, categories: 1 },
            "sample 0, input 0: expected a category, a whole number below 1, found NaN",
        ),
        (
            &StepError::LeanBatchNorm,
            "batch normalization needs a batch, the lean schedule has one sample: use layer or RMS normalization, \
             or the batch schedule",
        ),
    ];
    for (error, message) in cases {
        assert_eq!(error.to_string(), message);
    }
}
