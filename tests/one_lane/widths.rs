//! Networks of many widths, trained on numbers that are hard on shortcuts: what the assembly of a Cortex-M with an FPU must do as
//! its twins do. Also a module of the firmware in `no_std_example/instructions`.

use microprop::{
    Activation, Adam, Isa, Layer, Layout, Loss, Mlp, Optimizer, Rng, Schedule, Sgd, StepError, Targets, Trainer, hash,
    init,
};

/// Buffers for the largest of the networks.
pub struct Memory {
    params: [f32; PARAMS],
    state: [f32; 2 * PARAMS],
    workspace: [f32; 128],
}

const PARAMS: usize = 300 * 40 + 40 + 40 * 19 + 19;
const INPUTS: [usize; 9] = [1, 2, 3, 4, 5, 8, 17, 258, 300];
const WIDTHS: [usize; 19] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 17, 18, 20, 23, 24, 32, 40];
const OUTPUTS: [usize; 6] = [1, 2, 4, 7, 16, 19];

impl Memory {
    /// Zeros.
    pub const fn new() -> Self {
        Self { params: [0.0; PARAMS], state: [0.0; 2 * PARAMS], workspace: [0.0; 128] }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// A hash of all parameters and outputs on the way, of networks whose first layer is stored by output or not.
///
/// # Errors
/// [`StepError`], if a network doesn't fit the memory.
pub fn hash_of_all(isa: Isa, by_output: bool, memory: &mut Memory) -> Result<u64, StepError> {
    let optimizers =
        [Optimizer::Sgd(Sgd::new(0.1)), Optimizer::Adam(Adam::new(0.01)), Optimizer::Sgd(Sgd::new(0.1).momentum(0.9))];
    let mut all = 0_u64;
    let mut seed: usize = 0;
    for inputs in INPUTS {
        // The long sums at a few widths only: an emulator takes its time.
        for width in WIDTHS.into_iter().filter(|width| inputs < 256 || width % 5 == 0) {
            for activation in [Activation::Relu, Activation::Tanh] {
                seed += 1;
                // Over 36 networks each optimizer meets each number of outputs above each activation.
                let optimizer = optimizers[seed / 2 % optimizers.len()];
                let outputs = OUTPUTS[seed / 6 % OUTPUTS.len()];
                let first = Layer::dense(width, activation);
                let first = if by_output { first.by_output() } else { first };
                let layers = [first, Layer::dense(outputs, Activation::Linear)];
                let layout = Layout::new(inputs, &layers).map_err(|_| StepError::TooLarge)?;
                all = all.rotate_left(7) ^ hash_of(isa, layout, optimizer, seed as u64, memory)?;
            }
        }
    }
    Ok(all)
}

fn hash_of(
    isa: Isa,
    layout: Layout<'_>,
    optimizer: Optimizer,
    seed: u64,
    memory: &mut Memory,
) -> Result<u64, StepError> {
    let Memory { params, state, workspace } = memory;
    let params = params.get_mut(..layout.params_len()).ok_or(StepError::TooLarge)?;
    let state = state.get_mut(..layout.optimizer_len(&optimizer)).ok_or(StepError::TooLarge)?;
    init(&layout, seed, params)?;
    state.fill(0.0);
    let rng = &mut Rng::new(seed);
    for param in &mut *params {
        match rng.below(9) {
            0 => *param = -0.0,
            1 => *param = 1.0e-41,
            2 => *param *= -1.0e-20,
            3 => *param = 0.0,
            _ => {}
        }
    }
    let mlp = Mlp::new(layout, isa).with_schedule(Schedule::Lean);
    let trainer = Trainer::new(mlp, Loss::HalfMeanSquaredError, optimizer).map_err(|_| StepError::TooLarge)?;
    let (mut x, mut y, mut target) = ([0.0; 300], [0.0; 19], [0.0; 19]);
    let (x, y, target) = (&mut x[..layout.inputs()], &mut y[..layout.outputs()], &mut target[..layout.outputs()]);
    let mut trained = 0_u64;
    for step in 0..3 {
        for x in &mut *x {
            *x = match rng.below(8) {
                0 => 0.0,
                1 => -0.0,
                2 => -1.0e-39,
                3 => 1.0e-20,
                _ => rng.uniform() * 2.0 - 1.0,
            };
        }
        target.fill_with(|| rng.uniform() * 2.0 - 1.0);
        trainer.train_step(step, x, Targets::values(target), params, state, workspace)?;
        // Each step by itself: the sign of a zero is gone after the next.
        trained = trained.rotate_left(3) ^ hash(params) ^ hash(state).rotate_left(1);
    }
    mlp.predict(params, x, y, workspace)?;
    trained ^= hash(y).rotate_left(2);
    // What is not a number stays none, and infinity meets its zeros.
    let at = rng.below(params.len() as u32) as usize;
    params[at] = f32::from_bits(0xffc0_0001);
    x[0] = f32::INFINITY;
    mlp.predict(params, x, y, workspace)?;
    Ok(trained.rotate_left(1) ^ hash(y))
}

/// A hash of what becomes of numbers that are too small: whether a zero has a sign depends on how it came to be one.
///
/// # Errors
/// [`StepError`], if a network doesn't fit the memory.
pub fn hash_of_tiny(isa: Isa, memory: &mut Memory) -> Result<u64, StepError> {
    let mut all = 0_u64;
    for optimizer in [Optimizer::Sgd(Sgd::new(0.1)), Optimizer::Adam(Adam::new(0.01))] {
        for width in [1, 4, 12, 16, 32] {
            // Products of the weights above and δ vanish, in front of weights of −0 below.
            let layers = [Layer::dense(8, Activation::Relu), Layer::dense(width, Activation::Linear)];
            let layout = Layout::new(3, &layers).map_err(|_| StepError::TooLarge)?;
            let fill = |params: &mut [f32], _: &mut [f32]| {
                let (below, above) = params.split_at_mut(3 * 8 + 8);
                below[..3 * 8].fill(-0.0);
                below[3 * 8..].fill(1.0);
                above.fill(-1.0e-30);
            };
            all = all.rotate_left(7) ^ hash_of_steps(isa, layout, optimizer, fill, [1.0, -1.0], -1.0e-27, memory)?;
        }
        // A moment that vanishes, and then a gradient of −0.
        let layers = [Layer::dense(12, Activation::Linear)];
        let layout = Layout::new(3, &layers).map_err(|_| StepError::TooLarge)?;
        let fill = |params: &mut [f32], state: &mut [f32]| {
            params.fill(0.0);
            let half = state.len() / 2;
            state[..half].fill(f32::from_bits(1));
        };
        all = all.rotate_left(7) ^ hash_of_steps(isa, layout, optimizer, fill, [-1.4e-44, -0.0], -1.0, memory)?;
    }
    Ok(all)
}

/// Of parameters and state after each of two steps, with all inputs `x`.
fn hash_of_steps(
    isa: Isa,
    layout: Layout<'_>,
    optimizer: Optimizer,
    fill: impl Fn(&mut [f32], &mut [f32]),
    x: [f32; 2],
    target: f32,
    memory: &mut Memory,
) -> Result<u64, StepError> {
    let Memory { params, state, workspace } = memory;
    let params = params.get_mut(..layout.params_len()).ok_or(StepError::TooLarge)?;
    let state = state.get_mut(..layout.optimizer_len(&optimizer)).ok_or(StepError::TooLarge)?;
    state.fill(0.0);
    fill(params, state);
    let mlp = Mlp::new(layout, isa).with_schedule(Schedule::Lean);
    let trainer = Trainer::new(mlp, Loss::HalfMeanSquaredError, optimizer).map_err(|_| StepError::TooLarge)?;
    let mut all = 0_u64;
    for (step, x) in (0..).zip(x) {
        let (x, target) = ([x; 3], &[target; 32][..layout.outputs()]);
        trainer.train_step(step, &x, Targets::values(target), params, state, workspace)?;
        all = all.rotate_left(3) ^ hash(params) ^ hash(state).rotate_left(1);
    }
    Ok(all)
}
