//! Firmwares whose training steps and predictions `count.sh` counts the instructions of: one for each network, as a
//! user would have it, with a trainer that is a constant.
#![no_std]

#[path = "../../../tests/one_lane/mistakes.rs"]
pub mod mistakes;
#[path = "../../../tests/one_lane/widths.rs"]
pub mod widths;

pub use cortex_m_rt;
use cortex_m_semihosting::debug;
pub use cortex_m_semihosting::hprintln;
use microprop::{Isa, Layout, Loss, Mlp, Optimizer, Rng, Schedule, Trainer};

/// Steps before the count begins.
pub const WARM: u64 = 20;
/// Steps that are counted.
pub const COUNTED: u64 = 10;

/// The network of the seed script.
pub const SEED: Layout = microprop::layout!(20 => dense(64, Relu).by_output(), dense(1, Sigmoid));
/// A network for the windows of a motion sensor.
pub const SENSOR: Layout = microprop::layout!(60 => dense(32, Relu).by_output(), dense(16, Relu), dense(4, Softmax));
/// The smallest that learns XOR.
pub const XOR: Layout = microprop::layout!(2 => dense(3, Sigmoid), dense(1, Sigmoid));

/// A trainer of single samples, at compile time.
pub const fn trainer(isa: Isa, layout: Layout<'static>, loss: Loss<'static>, optimizer: Optimizer) -> Trainer<'static> {
    let mlp = Mlp::new(layout, isa).with_schedule(Schedule::Lean);
    match Trainer::new(mlp, loss, optimizer) {
        Ok(trainer) => trainer,
        Err(_) => panic!("the loss fits the last activation"),
    }
}

/// Inputs from −1 to 1.
pub fn sample(rng: &mut Rng, x: &mut [f32]) {
    x.fill_with(|| rng.uniform() * 2.0 - 1.0);
}

/// The count begins.
#[inline(always)]
pub fn begin() {
    // SAFETY: copies a register to itself.
    unsafe { core::arch::asm!("mov r9, r9", options(nostack)) };
}

/// The count ends.
#[inline(always)]
pub fn end() {
    // SAFETY: copies a register to itself.
    unsafe { core::arch::asm!("mov r10, r10", options(nostack)) };
}

/// Words of stack that are looked at.
const PAINTED: usize = 512;
/// What a free one holds.
const PAINT: u32 = 0x5aa5_c33c;

/// Calls `f`, and returns the bytes of stack that it and what it calls have used, and its result.
#[inline(never)]
pub fn stack_of<R>(f: impl FnOnce() -> R) -> (usize, R) {
    let top: *mut u32;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {}, sp", out(reg) top, options(nomem, nostack, preserves_flags)) };
    let words = || (1..=PAINTED).map(|word| top.wrapping_sub(word));
    // SAFETY: so much of the stack is free below its pointer, in memory.x's RAM, and no interrupt is on.
    words().for_each(|word| unsafe { word.write_volatile(PAINT) });
    let result = f();
    // SAFETY: as above.
    let used = words().filter(|word| unsafe { word.read_volatile() } != PAINT).last();
    (used.map_or(0, |word| top as usize - word as usize), result)
}

/// Ends the emulation.
pub fn stop(is_ok: bool) -> ! {
    debug::exit(if is_ok { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    stop(false)
}

/// A firmware that trains `$layout` on `$isa` with `$loss` and `$optimizer` on random samples, whose targets `$target` makes.
#[macro_export]
macro_rules! train {
    ($isa:ident, $layout:ident, $loss:expr, $optimizer:expr, |$rng:ident| $target:expr => $targets:ident) => {
        static TRAINER: microprop::Trainer<'static> =
            $crate::trainer(microprop::Isa::$isa, $crate::$layout, $loss, $optimizer);
        const STATE: usize = $crate::$layout.optimizer_len(&$optimizer);

        #[inline(never)]
        fn step(
            step: u64,
            x: &[f32],
            targets: microprop::Targets<'_>,
            params: &mut [f32],
            state: &mut [f32],
            workspace: &mut [f32],
        ) -> Result<f32, microprop::StepError> {
            TRAINER.train_step(step, x, targets, params, state, workspace)
        }

        #[$crate::cortex_m_rt::entry]
        fn main() -> ! {
            static mut PARAMS: [f32; $crate::$layout.params_len()] = [0.0; $crate::$layout.params_len()];
            static mut WORKSPACE: [f32; $crate::$layout.lean_workspace_len()] =
                [0.0; $crate::$layout.lean_workspace_len()];
            static mut STATE_OF: [f32; STATE] = [0.0; STATE];
            let mut x = [0.0; $crate::$layout.inputs()];
            let mut random = microprop::Rng::new(1);
            if microprop::init(&$crate::$layout, 7, PARAMS).is_err() {
                $crate::stop(false);
            }
            for index in 0..$crate::WARM + $crate::COUNTED {
                $crate::sample(&mut random, &mut x);
                let $rng = &mut random;
                let target = [$target];
                let targets = microprop::Targets::$targets(&target);
                let counted = index >= $crate::WARM;
                if counted {
                    $crate::begin();
                }
                let result = step(index, &x, targets, PARAMS, STATE_OF, WORKSPACE);
                if counted {
                    $crate::end();
                }
                if result.is_err() {
                    $crate::stop(false);
                }
            }
            $crate::hprintln!("hash={:016x}", microprop::hash(PARAMS));
            let target = [{
                let $rng = &mut random;
                $target
            }];
            let targets = microprop::Targets::$targets(&target);
            let (stack, _) = $crate::stack_of(|| step($crate::WARM, &x, targets, PARAMS, STATE_OF, WORKSPACE));
            $crate::hprintln!("stack={}", stack);
            $crate::stop(true)
        }
    };
}

/// The same in slices of at most `$weights` weights, each of which is counted by itself.
#[macro_export]
macro_rules! slices {
    ($isa:ident, $layout:ident, $weights:literal, $loss:expr, $optimizer:expr, |$rng:ident| $target:expr => $targets:ident) => {
        static TRAINER: microprop::Trainer<'static> =
            $crate::trainer(microprop::Isa::$isa, $crate::$layout, $loss, $optimizer);
        const STATE: usize = $crate::$layout.optimizer_len(&$optimizer);

        #[inline(never)]
        fn advance(step: &mut microprop::SlicedStep<'_>) -> Result<Option<f32>, microprop::StepError> {
            TRAINER.advance(step, $weights)
        }

        #[$crate::cortex_m_rt::entry]
        fn main() -> ! {
            static mut PARAMS: [f32; $crate::$layout.params_len()] = [0.0; $crate::$layout.params_len()];
            static mut WORKSPACE: [f32; $crate::$layout.lean_workspace_len()] =
                [0.0; $crate::$layout.lean_workspace_len()];
            static mut STATE_OF: [f32; STATE] = [0.0; STATE];
            let mut x = [0.0; $crate::$layout.inputs()];
            let mut random = microprop::Rng::new(1);
            if microprop::init(&$crate::$layout, 7, PARAMS).is_err() {
                $crate::stop(false);
            }
            for index in 0..$crate::WARM + $crate::COUNTED {
                $crate::sample(&mut random, &mut x);
                let $rng = &mut random;
                let target = [$target];
                let targets = microprop::Targets::$targets(&target);
                let Ok(mut step) = TRAINER.sliced_step(index, &x, targets, PARAMS, STATE_OF, WORKSPACE) else {
                    $crate::stop(false)
                };
                loop {
                    $crate::begin();
                    let end = advance(&mut step);
                    $crate::end();
                    match end {
                        Ok(None) => {}
                        Ok(Some(_)) => break,
                        Err(_) => $crate::stop(false),
                    }
                }
            }
            $crate::hprintln!("hash={:016x}", microprop::hash(PARAMS));
            let target = [{
                let $rng = &mut random;
                $target
            }];
            let targets = microprop::Targets::$targets(&target);
            let mut most = 0;
            if let Ok(mut step) = TRAINER.sliced_step($crate::WARM, &x, targets, PARAMS, STATE_OF, WORKSPACE) {
                while let (stack, Ok(None)) = $crate::stack_of(|| advance(&mut step)) {
                    most = most.max(stack);
                }
            }
            $crate::hprintln!("stack={}", most);
            $crate::stop(true)
        }
    };
}

/// A firmware that predicts random samples with `$layout` on `$isa`.
#[macro_export]
macro_rules! predict {
    ($isa:ident, $layout:ident) => {
        static MLP: microprop::Mlp<'static> =
            microprop::Mlp::new($crate::$layout, microprop::Isa::$isa).with_schedule(microprop::Schedule::Lean);

        #[inline(never)]
        fn predict(
            params: &[f32],
            x: &[f32],
            y: &mut [f32],
            workspace: &mut [f32],
        ) -> Result<(), microprop::StepError> {
            MLP.predict(params, x, y, workspace)
        }

        #[$crate::cortex_m_rt::entry]
        fn main() -> ! {
            static mut PARAMS: [f32; $crate::$layout.params_len()] = [0.0; $crate::$layout.params_len()];
            static mut WORKSPACE: [f32; $crate::$layout.lean_workspace_len()] =
                [0.0; $crate::$layout.lean_workspace_len()];
            let (mut x, mut y) = ([0.0; $crate::$layout.inputs()], [0.0; $crate::$layout.outputs()]);
            let mut random = microprop::Rng::new(1);
            if microprop::init(&$crate::$layout, 7, PARAMS).is_err() {
                $crate::stop(false);
            }
            for _ in 0..$crate::COUNTED {
                $crate::sample(&mut random, &mut x);
                $crate::begin();
                let result = predict(PARAMS, &x, &mut y, WORKSPACE);
                $crate::end();
                if result.is_err() {
                    $crate::stop(false);
                }
            }
            $crate::hprintln!("hash={:016x}", microprop::hash(&y));
            let (stack, _) = $crate::stack_of(|| predict(PARAMS, &x, &mut y, WORKSPACE));
            $crate::hprintln!("stack={}", stack);
            $crate::stop(true)
        }
    };
}
