//! What a network takes of a computer's memory: known at compile time, so that a board that is too small is a compile error.
#![forbid(unsafe_code)]

use crate::error::LayoutError;
use crate::layout::Layout;
use crate::optimizer::Optimizer;
use crate::simd::Isa;
use crate::step::{Mlp, Trainer};
use crate::{Adam, Schedule, Sgd};
use core::fmt;

/// Bytes of the buffers that a prediction or a training step works on: [`Mlp::memory`], [`Trainer::memory`].
///
/// A `const` of it, and the build fails where the network does not fit:
///
/// ```
/// use microprop::{Isa, Layout, Loss, Memory, Mlp, Optimizer, Schedule, Sgd, Trainer, layout};
///
/// const LAYOUT: Layout = layout!(64 => dense(16, Tanh), dense(10, Softmax));
/// const MLP: Mlp = Mlp::new(LAYOUT, Isa::SCALAR).with_schedule(Schedule::Lean);
/// const SGD: Optimizer = Optimizer::Sgd(Sgd::new(0.05).momentum(0.9));
/// const MEMORY: Memory = match Trainer::new(MLP, Loss::CrossEntropy, SGD) {
///     Ok(trainer) => match trainer.memory(1) {
///         Ok(memory) => memory,
///         Err(_) => panic!("counts in bytes fit usize"),
///     },
///     Err(_) => panic!("cross-entropy fits softmax"),
/// };
/// const _: () = assert!(MEMORY.total() <= 12 * 1024, "4 of the micro:bit's 16 KiB are for the rest");
///
/// assert_eq!(MEMORY, Memory { params: 4 * 1210, state: 4 * 1210, workspace: 4 * 26 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The parameters. Where nothing is trained they can lie in flash.
    pub params: usize,
    /// The optimizer's state; none in a prediction.
    pub state: usize,
    /// The workspace. It holds nothing between two calls: networks that take turns can share one.
    pub workspace: usize,
}

impl Memory {
    /// Bytes in all.
    pub const fn total(self) -> usize {
        self.params.saturating_add(self.state).saturating_add(self.workspace)
    }

    const fn of(params: usize, state: usize, workspace: usize) -> Result<Self, LayoutError> {
        const FLOAT: usize = size_of::<f32>();
        match (params.checked_mul(FLOAT), state.checked_mul(FLOAT), workspace.checked_mul(FLOAT)) {
            (Some(params), Some(state), Some(workspace)) => Ok(Self { params, state, workspace }),
            _ => Err(LayoutError::TooLarge),
        }
    }
}

impl Mlp<'_> {
    /// Bytes for [`predict`](Self::predict) over `batch` samples (in the lean schedule any number of them).
    ///
    /// # Errors
    /// [`LayoutError::TooLarge`] if they overflow.
    pub const fn memory(&self, batch: usize) -> Result<Memory, LayoutError> {
        match self.predict_workspace_len(batch) {
            Ok(workspace) => Memory::of(self.layout().params_len(), 0, workspace),
            Err(error) => Err(error),
        }
    }
}

impl Trainer<'_> {
    /// Bytes for [`train_step`](Self::train_step) over `batch` samples, one in the lean schedule.
    ///
    /// # Errors
    /// [`LayoutError::TooLarge`] if they overflow.
    pub const fn memory(&self, batch: usize) -> Result<Memory, LayoutError> {
        let layout = self.mlp().layout();
        match self.workspace_len(batch) {
            Ok(workspace) => Memory::of(layout.params_len(), layout.optimizer_len(self.optimizer()), workspace),
            Err(error) => Err(error),
        }
    }
}

/// A network's layers and what it costs on a board, as a table: [`Layout::summary`], `Network::summary`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary<'a> {
    layout: Layout<'a>,
    batch: usize,
}

impl<'a> Layout<'a> {
    /// The layers with their outputs and parameters, and the bytes that predicting and training take, one sample at a time as on a
    /// microcontroller and in batches. For display; it needs no allocator.
    ///
    /// Where nothing is trained, the parameters can lie in flash. The batches are run on one thread; a
    /// [custom loss](crate::Loss::Custom) adds what [`Trainer::memory`] says.
    ///
    /// ```
    /// use microprop::{Layout, layout};
    ///
    /// const LAYOUT: Layout = layout!(64 => dense(16, Tanh), dense(10, Softmax));
    /// let expected = "\
    /// outputs  parameters  layer
    ///      64           0  inputs
    ///      16        1040  16 tanh
    ///      10         170  10 softmax
    ///                1210  in all, 1210 of them trained
    ///
    ///   parameters       state   workspace      in all  bytes
    ///         4840           0         104        4944  predict, one sample at a time
    ///         4840           0         104        4944  train by SGD, one sample at a time
    ///         4840        4840         104        9784  train by momentum, one sample at a time
    ///         4840        9680         104       14624  train by Adam, one sample at a time
    ///         4840           0       16448       21288  predict, in batches of 32
    ///         4840           0       20288       25128  train by SGD, in batches of 32
    ///         4840        4840       20288       29968  train by momentum, in batches of 32
    ///         4840        9680       20288       34808  train by Adam, in batches of 32
    /// ";
    /// assert_eq!(LAYOUT.summary().to_string(), expected);
    /// ```
    pub const fn summary(&self) -> Summary<'a> {
        Summary { layout: *self, batch: 32 }
    }
}

impl Summary<'_> {
    /// The same for batches of another size than 32.
    #[must_use]
    pub const fn with_batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layout, batch } = *self;
        writeln!(f, "outputs  parameters  layer")?;
        writeln!(f, "{:7}  {:10}  inputs", layout.inputs(), 0)?;
        for place in layout.places() {
            writeln!(f, "{:7}  {:10}  {}", place.outputs, place.params + place.statistics_len(), place.layer)?;
        }
        writeln!(f, "{:19}  in all, {} of them trained\n", layout.params_len(), layout.trainable_len())?;

        writeln!(f, "{:>12}{:>12}{:>12}{:>12}  bytes", "parameters", "state", "workspace", "in all")?;
        let optimizers = [
            ("SGD", Optimizer::Sgd(Sgd::new(0.0))),
            ("momentum", Optimizer::Sgd(Sgd::new(0.0).momentum(0.0))),
            ("Adam", Optimizer::Adam(Adam::new(0.0))),
        ];
        // The batch schedule's workspace does not depend on the instruction set.
        let batched = Mlp::new(layout, Isa::SCALAR);
        for (mlp, batch) in [(batched.with_schedule(Schedule::Lean), 1), (batched, batch)] {
            let how = |f: &mut fmt::Formatter<'_>| match mlp.schedule() {
                Schedule::Lean => writeln!(f, ", one sample at a time"),
                Schedule::Batch => writeln!(f, ", in batches of {batch}"),
            };
            row(f, mlp.memory(batch))?;
            f.write_str("predict")?;
            how(f)?;
            if mlp.schedule() == Schedule::Lean && layout.has_batch_norm() {
                continue;
            }
            for (name, optimizer) in optimizers {
                let floats = mlp.workspace_len(batch);
                let (params, state) = (layout.params_len(), layout.optimizer_len(&optimizer));
                row(f, floats.and_then(|workspace| Memory::of(params, state, workspace)))?;
                write!(f, "train by {name}")?;
                how(f)?;
            }
        }
        Ok(())
    }
}

/// The columns before what they are for.
fn row(f: &mut fmt::Formatter<'_>, memory: Result<Memory, LayoutError>) -> fmt::Result {
    match memory {
        Ok(memory) => {
            let Memory { params, state, workspace } = memory;
            write!(f, "{params:12}{state:12}{workspace:12}{:12}  ", memory.total())
        }
        Err(error) => write!(f, "{error}: "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Layer, Loss};

    /// Bytes are those of the buffers that a step accepts; one float less is an error.
    #[test]
    fn bytes_are_what_a_step_needs() {
        let layers = [
            Layer::dense(7, Activation::Gelu),
            Layer::layer_norm(Activation::Relu),
            Layer::dense(3, Activation::Softmax),
        ];
        let layout = Layout::new(5, &layers).unwrap();
        let params = (5 + 1) * 7 + 2 * 7 + (7 + 1) * 3;
        // GELU keeps its pre-activations, the norm two moments.
        let neurons = 2 * 7 + (7 + 2) + 3;
        for (optimizer, states) in
            [(Sgd::new(0.1).into(), 0), (Sgd::new(0.1).nesterov(0.9).into(), 1), (Adam::new(0.1).into(), 2)]
        {
            let mlp = Mlp::new(layout, Isa::SCALAR).with_schedule(Schedule::Lean);
            let trainer = Trainer::new(mlp, Loss::CrossEntropy, optimizer).unwrap();
            let expected = Memory { params: 4 * params, state: 4 * states * params, workspace: 4 * neurons };
            assert_eq!(trainer.memory(1), Ok(expected));
            assert_eq!(expected.total(), 4 * ((1 + states) * params + neurons));
            assert_eq!(mlp.memory(9), Ok(Memory { state: 0, ..expected }));
        }
    }

    /// The layers' parameters add up, whatever their kind.
    #[test]
    fn parameters_add_up() {
        let layers = [
            Layer::normalization(),
            Layer::dense(6, Activation::Silu).with_dropout(0.5),
            Layer::batch_norm(Activation::Relu),
            Layer::rms_norm(Activation::Linear),
            Layer::dense(6, Activation::Tanh).with_residual(1),
            Layer::layer_norm(Activation::Linear),
        ];
        let embedding = [Layer::embedding(1, 5, 3), Layer::dense(2, Activation::Softmax)];
        for layout in [Layout::new(4, &layers).unwrap(), Layout::new(4, &embedding).unwrap()] {
            let text = layout.summary().to_string();
            let rows = text.lines().skip(1).take(1 + layout.layers().len());
            let found: usize = rows.map(|row| row.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()).sum();
            assert_eq!(found, layout.params_len(), "{text}");
        }
    }

    #[test]
    fn no_samples_need_no_panic() {
        let layers = [Layer::dense(3, Activation::Softmax)];
        let layout = Layout::new(2, &layers).unwrap();
        assert!(layout.summary().with_batch(0).to_string().ends_with("train by Adam, in batches of 0\n"));
    }

    #[test]
    fn an_overflow_is_an_error() {
        let layers = [Layer::dense(1 << 20, Activation::Linear)];
        let mlp = Mlp::new(Layout::new(1, &layers).unwrap(), Isa::SCALAR);
        let trainer = Trainer::new(mlp, Loss::MeanSquaredError, Sgd::new(0.1).into()).unwrap();
        assert_eq!(trainer.memory(usize::MAX / 8), Err(LayoutError::TooLarge));
        assert!(mlp.layout().summary().with_batch(usize::MAX / 8).to_string().contains("overflows usize"));
    }

    /// Batch norm has no row for training by single samples, and its statistics count as parameters.
    #[test]
    fn batch_norm_wants_batches() {
        let layers = [Layer::dense(4, Activation::Linear), Layer::batch_norm(Activation::Relu)];
        let text = Layout::new(3, &layers).unwrap().summary().with_batch(8).to_string();
        assert!(text.contains("      4          16  batch norm, ReLU\n"), "{text}");
        assert!(text.contains("                 32  in all, 24 of them trained\n"), "{text}");
        assert_eq!(text.matches("one sample at a time").count(), 1, "{text}");
        assert_eq!(text.matches("in batches of 8").count(), 4, "{text}");
    }
}
