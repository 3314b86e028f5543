//! Layers and layouts: sizes, offsets and buffer lengths, at compile time if you like.
#![forbid(unsafe_code)]

use crate::activation::Activation;
use crate::error::LayoutError;
use crate::init::Initializer;
use crate::optimizer::Optimizer;

/// One layer: how many units it has and what it applies.
///
/// ```
/// use microprop::{Activation, Initializer, Layer};
///
/// const HIDDEN: Layer = Layer::dense(64, Activation::Relu).with_init(Initializer::HeNormal);
/// assert_eq!(HIDDEN.units(), 64);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layer {
    units: usize,
    activation: Activation,
    init: Initializer,
}

impl Layer {
    /// A dense layer: `y = activation(x·W + b)` with `W: [in × units]` and `b: [units]`.
    /// Its weights start Glorot-uniform, its bias at zero.
    pub const fn dense(units: usize, activation: Activation) -> Self {
        Self { units, activation, init: Initializer::GlorotUniform }
    }

    /// The same layer with other initial weights.
    #[must_use]
    pub const fn with_init(self, init: Initializer) -> Self {
        Self { init, ..self }
    }

    /// Number of units: its outputs per sample.
    pub const fn units(&self) -> usize {
        self.units
    }

    /// Its activation.
    pub const fn activation(&self) -> Activation {
        self.activation
    }

    /// How its weights start.
    pub const fn init(&self) -> Initializer {
        self.init
    }
}

/// What a network looks like: its inputs and its layers. Holds no numbers of the network itself.
///
/// The parameters of all layers lie in one slice of [`params_len`](Self::params_len)
/// floats, layer after layer: weights `[in × out]`, row-major, then bias `[out]`.
///
/// ```
/// use microprop::{layout, Layout};
///
/// // A const layout: a mistake in it is a compile error.
/// const LAYOUT: Layout = layout!(20 => dense(64, Relu), dense(1, Sigmoid));
/// static WEIGHTS: [f32; LAYOUT.params_len()] = [0.0; LAYOUT.params_len()];
/// assert_eq!(WEIGHTS.len(), 20 * 64 + 64 + 64 + 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout<'a> {
    inputs: usize,
    layers: &'a [Layer],
    params_len: usize,
}

/// How a step runs through the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Schedule {
    /// Whole batches: activations and deltas of every sample are kept until
    /// the step ends, then each weight meets the gradient of the batch.
    #[default]
    Batch,
    /// One sample at a time, in place: one float of workspace per neuron. For
    /// microcontrollers, and for online learning anywhere.
    Lean,
}

/// Where a layer stands in its network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    /// Index of the layer.
    pub(crate) index: usize,
    /// Its inputs.
    pub(crate) inputs: usize,
    /// Its outputs.
    pub(crate) outputs: usize,
    /// Where its weights begin among the parameters.
    pub(crate) offset: usize,
    pub(crate) activation: Activation,
    pub(crate) init: Initializer,
}

impl Place {
    /// Number of weights.
    pub(crate) const fn weights(&self) -> usize {
        self.inputs * self.outputs
    }

    /// Number of parameters.
    pub(crate) const fn params(&self) -> usize {
        (self.inputs + 1) * self.outputs
    }

    /// Its weights and its bias.
    pub(crate) fn split<'p>(&self, params: &'p [f32]) -> (&'p [f32], &'p [f32]) {
        params[self.offset..self.offset + self.params()].split_at(self.weights())
    }
}

impl<'a> Layout<'a> {
    /// A network of `inputs` inputs and these layers, first to last.
    ///
    /// # Errors
    /// A [`LayoutError`] that names the layer, if a size is zero, a softmax is
    /// hidden, a leaky slope is out of range, or a length overflows `usize`.
    pub const fn new(inputs: usize, layers: &'a [Layer]) -> Result<Self, LayoutError> {
        if inputs == 0 {
            return Err(LayoutError::NoInputs);
        }
        if layers.is_empty() {
            return Err(LayoutError::NoLayers);
        }
        let (mut params_len, mut width, mut index) = (0_usize, inputs, 0);
        while index < layers.len() {
            let layer = &layers[index];
            if layer.units == 0 {
                return Err(LayoutError::NoUnits { layer: index });
            }
            match layer.activation {
                Activation::Softmax if index + 1 < layers.len() => {
                    return Err(LayoutError::HiddenSoftmax { layer: index });
                }
                Activation::LeakyRelu { slope } if !(slope >= 0.0 && slope <= 1.0) => {
                    return Err(LayoutError::LeakySlope { layer: index });
                }
                _ => {}
            }
            // (in + 1)·out, then the sum; Adam keeps twice that, in bytes four times.
            let Some(rows) = width.checked_add(1) else { return Err(LayoutError::TooLarge) };
            let Some(own) = rows.checked_mul(layer.units) else { return Err(LayoutError::TooLarge) };
            let Some(sum) = params_len.checked_add(own) else { return Err(LayoutError::TooLarge) };
            if sum > isize::MAX as usize / 8 {
                return Err(LayoutError::TooLarge);
            }
            params_len = sum;
            width = layer.units;
            index += 1;
        }
        Ok(Self { inputs, layers, params_len })
    }

    /// Inputs per sample.
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    /// Outputs per sample: the units of the last layer.
    pub const fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].units
    }

    /// The layers, first to last.
    pub const fn layers(&self) -> &'a [Layer] {
        self.layers
    }

    /// The activation of the last layer.
    pub const fn output_activation(&self) -> Activation {
        self.layers[self.layers.len() - 1].activation
    }

    /// Number of parameters: the floats of a whole model.
    pub const fn params_len(&self) -> usize {
        self.params_len
    }

    /// Number of parameters that training changes. They come first.
    pub const fn trainable_len(&self) -> usize {
        self.params_len
    }

    /// Floats of state that `optimizer` keeps for this network. They start at zero.
    pub const fn optimizer_len(&self, optimizer: &Optimizer) -> usize {
        self.trainable_len() * optimizer.state_per_parameter()
    }

    /// Where layer `index` stands.
    pub(crate) const fn place(&self, index: usize) -> Place {
        let (mut offset, mut inputs, mut l) = (0, self.inputs, 0);
        while l < index {
            offset += (inputs + 1) * self.layers[l].units;
            inputs = self.layers[l].units;
            l += 1;
        }
        let Layer { units, activation, init } = self.layers[index];
        Place { index, inputs, outputs: units, offset, activation, init }
    }

    /// The layers with their places, first to last.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> + 'a {
        let mut next = (0, self.inputs);
        self.layers.iter().enumerate().map(move |(index, &Layer { units, activation, init })| {
            let (offset, inputs) = next;
            next = (offset + (inputs + 1) * units, units);
            Place { index, inputs, outputs: units, offset, activation, init }
        })
    }
}

/// A `const` [`Layout`]: `layout!(20 => dense(64, Relu), dense(1, Sigmoid))`.
///
/// The part before `=>` is the number of inputs. Each layer is written as
/// `dense(units, Activation)` with a variant of [`Activation`], and may end in
/// `.init(Initializer)` with a variant of [`Initializer`]. A mistake is a compile error:
///
/// ```compile_fail
/// const LAYOUT: microprop::Layout = microprop::layout!(20 => dense(0, Relu)); // a layer has at least one unit
/// ```
#[macro_export]
macro_rules! layout {
    ($inputs:expr => $($kind:ident($units:expr, $activation:ident $({ $($field:ident: $value:expr),* })?) $(.init($init:ident))?),+ $(,)?) => {
        const {
            const LAYERS: &[$crate::Layer] = &[$(
                $crate::Layer::$kind($units, $crate::Activation::$activation $({ $($field: $value),* })?)
                    $(.with_init($crate::Initializer::$init))?
            ),+];
            match $crate::Layout::new($inputs, LAYERS) {
                ::core::result::Result::Ok(layout) => layout,
                ::core::result::Result::Err(error) => ::core::panic!("{}", error.message()),
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activation::*;

    #[test]
    fn lengths_and_places() {
        let layers = [Layer::dense(64, Relu), Layer::dense(3, Tanh), Layer::dense(1, Sigmoid)];
        let layout = Layout::new(20, &layers).unwrap();
        assert_eq!(layout.params_len(), 21 * 64 + 65 * 3 + 4);
        let places: [Place; 3] = core::array::from_fn(|l| layout.place(l));
        assert_eq!(places.map(|p| p.offset), [0, 21 * 64, 21 * 64 + 65 * 3]);
        assert_eq!(places.map(|p| (p.inputs, p.outputs)), [(20, 64), (64, 3), (3, 1)]);
        assert!(layout.places().eq(places));
    }

    #[test]
    fn mistakes_are_named() {
        let ok = Layer::dense(3, Relu);
        assert_eq!(Layout::new(0, &[ok]), Err(LayoutError::NoInputs));
        assert_eq!(Layout::new(1, &[]), Err(LayoutError::NoLayers));
        assert_eq!(Layout::new(1, &[ok, Layer::dense(0, Relu)]), Err(LayoutError::NoUnits { layer: 1 }));
        assert_eq!(Layout::new(1, &[Layer::dense(3, Softmax), ok]), Err(LayoutError::HiddenSoftmax { layer: 0 }));
        for slope in [-0.1, 1.5, f32::NAN] {
            assert_eq!(
                Layout::new(1, &[Layer::dense(3, LeakyRelu { slope })]),
                Err(LayoutError::LeakySlope { layer: 0 })
            );
        }
        for size in [usize::MAX, usize::MAX / 2, 1 << (usize::BITS / 2)] {
            assert_eq!(Layout::new(size, &[Layer::dense(size, Relu)]), Err(LayoutError::TooLarge));
        }
    }
}
