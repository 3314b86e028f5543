//! A training step in slices: what it promises beside the bits of a whole step, which `bits.rs` compares.

use microprop::Activation::*;
use microprop::{
    Adam, Isa, Layer, Layout, Loss, Mlp, Optimizer, Penalty, Rng, Schedule, Sgd, StepError, Targets, Trainer, layout,
};

/// A trainer in the lean schedule, with all that a step of it takes.
struct Case<'a> {
    trainer: Trainer<'a>,
    x: Vec<f32>,
    params: Vec<f32>,
    state: Vec<f32>,
    workspace: Vec<f32>,
}

impl<'a> Case<'a> {
    fn new(layout: Layout<'a>, isa: Isa, loss: Loss<'a>, optimizer: Optimizer) -> Self {
        let mlp = Mlp::new(layout, isa).with_schedule(Schedule::Lean);
        let trainer = Trainer::new(mlp, loss, optimizer).unwrap();
        let mut rng = Rng::new(3);
        let mut params = vec![0.0; layout.params_len()];
        microprop::init(&layout, 5, &mut params).unwrap();
        let x = (0..layout.inputs()).map(|_| 2.0 * rng.uniform() - 1.0).collect();
        let state = vec![0.0; layout.optimizer_len(&optimizer)];
        Self { trainer, x, params, state, workspace: vec![f32::NAN; trainer.workspace_len(1).unwrap()] }
    }

    /// Takes a step in slices of `weights`; `between` gets the parameters as they can be read after each slice.
    fn step(
        &mut self,
        step: u64,
        targets: Targets<'_>,
        weights: usize,
        mut between: impl FnMut(Option<&[f32]>),
    ) -> Result<f32, StepError> {
        let Self { trainer, x, params, state, workspace } = self;
        let mut sliced = trainer.sliced_step(step, x, targets, params, state, workspace)?;
        loop {
            let end = trainer.advance(&mut sliced, weights);
            between(sliced.params());
            if let Some(loss) = end? {
                assert_eq!(trainer.advance(&mut sliced, weights), Ok(Some(loss)), "an end stays");
                return Ok(loss);
            }
        }
    }
}

const SENSOR: Layout = layout!(60 => dense(32, Relu), dense(16, Relu), dense(4, Softmax));

fn sensor() -> Case<'static> {
    Case::new(SENSOR, Isa::detect(), Loss::CrossEntropy, Sgd::new(0.1).into())
}

/// The slices of a step over `SENSOR` of at most `weights` each.
fn slices_of_sensor(weights: usize) -> usize {
    let layers = [(60, 32), (32, 16), (16, 4)];
    let whole = |count: usize, of: usize| if count < of { count } else { count / of * of };
    // One column, or whole fours of them. With the bias there is a row more.
    let fours = |count: usize| if count < 4 { 1 } else { count / 4 * 4 };
    let columns = layers.map(|(inputs, outputs): (usize, usize)| outputs.div_ceil(whole(fours(weights / inputs), 16)));
    let rows =
        layers.map(|(inputs, outputs): (usize, usize)| (inputs + 1).div_ceil(whole(weights / outputs, 16).max(1)));
    columns.iter().sum::<usize>() + 1 + rows.iter().sum::<usize>()
}

#[test]
fn a_slice_is_as_long_as_it_was_asked_to_be() {
    for weights in [0, 1, 60, 100, 240, 1000, usize::MAX] {
        let mut count = 0;
        sensor().step(0, Targets::classes(&[2]), weights, |_| count += 1).unwrap();
        assert_eq!(count, slices_of_sensor(weights), "{weights} weights");
    }
    // Layer by layer: three forwards, the loss, three backwards.
    assert_eq!(slices_of_sensor(usize::MAX), 7);
    // Neuron by neuron.
    assert_eq!(slices_of_sensor(1), 32 + 16 + 4 + 1 + 61 + 33 + 17);
}

#[test]
fn parameters_are_read_before_the_first_is_written_and_after_the_last() {
    let mut case = sensor();
    let before = case.params.clone();
    let mut seen = vec![];
    case.step(0, Targets::classes(&[2]), 60, |params| seen.push(params.map(<[f32]>::to_vec))).unwrap();
    let hidden = seen.iter().filter(|params| params.is_none()).count();
    let first = seen.iter().position(Option::is_none).unwrap();
    assert!(seen[..first].iter().all(|params| params.as_ref() == Some(&before)));
    assert_eq!(seen[first + hidden..], [Some(case.params.clone())], "the last slice alone shows the new ones");
    assert_ne!(case.params, before);
    assert_eq!(first, 32 + 16 + 4 + 1, "the columns of three layers, and the loss");
}

#[test]
fn a_step_that_is_dropped_before_it_writes_has_changed_nothing() {
    let mut case = sensor();
    let before = case.params.clone();
    let Case { trainer, x, params, state, workspace } = &mut case;
    let mut sliced = trainer.sliced_step(0, x, Targets::classes(&[1]), params, state, workspace).unwrap();
    for _ in 0..4 {
        assert_eq!(trainer.advance(&mut sliced, usize::MAX), Ok(None));
    }
    drop(sliced);
    assert_eq!(case.params, before);
}

#[test]
fn a_loss_that_is_not_finite_writes_nothing() {
    for penalty in [Penalty::NONE, Penalty::l2(0.1)] {
        let layers = [Layer::dense(8, Tanh).with_penalty(penalty), Layer::dense(2, Linear)];
        let layout = Layout::new(3, &layers).unwrap();
        for isa in Isa::available() {
            let mut case = Case::new(layout, isa, Loss::MeanSquaredError, Adam::new(0.1).into());
            case.params[3 * 8 + 8] = f32::INFINITY;
            let before = (case.params.clone(), case.state.clone());
            let mut ends = vec![];
            let error = case.step(0, Targets::values(&[0.0, 1.0]), 1, |params| ends.push(params.is_some()));
            assert!(matches!(error, Err(StepError::NonFiniteLoss { .. })), "{error:?}");
            assert!(ends.iter().all(|&seen| seen));
            assert_eq!((case.params, case.state), before);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_at_the_start() {
    let mut case = sensor();
    let classes = Targets::classes(&[0]);
    let batch =
        Trainer::new(case.trainer.mlp().with_schedule(Schedule::Batch), Loss::CrossEntropy, *case.trainer.optimizer());
    let error = |trainer: &Trainer<'_>, case: &mut Case<'_>, inputs: usize, params: usize, state: usize, targets| {
        let mut state = vec![0.0; state];
        let result = trainer.sliced_step(
            0,
            &case.x[..inputs],
            targets,
            &mut case.params[..params],
            &mut state,
            &mut case.workspace,
        );
        result.map(|_| ()).unwrap_err()
    };
    let len = SENSOR.params_len();
    let trainer = case.trainer;
    assert_eq!(error(&batch.unwrap(), &mut case, 60, len, 0, classes), StepError::BatchSlices);
    for (inputs, params, state, targets) in [
        (59, len, 0, classes),
        (60, len - 1, 0, classes),
        (60, len, 1, classes),
        (60, len, 0, Targets::classes(&[4])),
        (60, len, 0, Targets::classes(&[1, 2])),
    ] {
        let found = error(&trainer, &mut case, inputs, params, state, targets);
        let mut state = vec![0.0; state];
        let whole = trainer.train_step(
            0,
            &case.x[..inputs],
            targets,
            &mut case.params[..params],
            &mut state,
            &mut case.workspace,
        );
        assert_eq!(Err(found), whole);
    }
}

/// A trainer of another layout is told apart; another optimizer of the same needs the same state.
#[test]
fn a_step_goes_on_with_the_trainer_that_has_begun_it() {
    const OTHER: Layout = layout!(60 => dense(32, Tanh), dense(16, Relu), dense(4, Softmax));
    let (mut case, other) = (sensor(), Case::new(OTHER, Isa::detect(), Loss::CrossEntropy, Sgd::new(0.1).into()));
    let with_state = Trainer::new(*case.trainer.mlp(), Loss::CrossEntropy, Adam::new(0.1).into()).unwrap();
    let before = case.params.clone();
    let Case { trainer, x, params, state, workspace } = &mut case;
    let mut sliced = trainer.sliced_step(0, x, Targets::classes(&[1]), params, state, workspace).unwrap();
    for _ in 0..5 {
        assert_eq!(other.trainer.advance(&mut sliced, 100), Err(StepError::OtherLayout));
        let error = with_state.advance(&mut sliced, 100);
        assert!(matches!(error, Err(StepError::Length { .. })), "{error:?}");
        assert_eq!(trainer.advance(&mut sliced, 100), Ok(None));
        assert_eq!(sliced.params(), Some(&*before));
    }
}

/// Dropout is not part of a layout's identity, but a layer without it has nothing to follow its sums.
#[test]
fn a_trainer_without_the_dropout_is_told_apart() {
    let layers = [0.5, 0.0].map(|rate| [Layer::dense(1, Linear).with_dropout(rate), Layer::dense(1, Linear)]);
    let [with, without] = layers.each_ref().map(|layers| Layout::new(3, layers).unwrap());
    for isa in Isa::available() {
        let [mut case, other] =
            [with, without].map(|layout| Case::new(layout, isa, Loss::MeanSquaredError, Sgd::new(0.1).into()));
        let Case { trainer, x, params, state, workspace } = &mut case;
        let mut sliced = trainer.sliced_step(0, x, Targets::values(&[1.0]), params, state, workspace).unwrap();
        assert_eq!(trainer.advance(&mut sliced, 1), Ok(None));
        assert_eq!(other.trainer.advance(&mut sliced, 1), Err(StepError::OtherLayout));
    }
}
