//! Layouts: sizes, offsets and buffer lengths, at compile time if you like.
#![forbid(unsafe_code)]

use crate::activation::{Activation, Activations};
use crate::error::{LayoutError, StepError};
use crate::layer::{Kind, Layer};
use crate::optimizer::Optimizer;
use crate::parts;
use crate::penalty::Penalty;
use core::ops::Range;

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
    outputs: usize,
    trainable_len: usize,
    params_len: usize,
    /// Whether a layer normalises over the batch.
    batch_norm: bool,
    /// Whether a layer has a residual connection.
    residual: bool,
    /// Outputs of the widest dense layer without bias.
    widest_without_bias: usize,
    /// Whether all layers are plain. A `static` network of these leaves what others need out of the binary.
    plain: bool,
    /// Whether a layer has a penalty.
    penalized: bool,
    /// The lowest layer that has parameters.
    lowest: usize,
    /// The activations of its layers.
    activations: Activations,
    /// Where the last layer's block begins in the workspace of the lean schedule, and where it ends.
    lean_top: [usize; 2],
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
pub(crate) struct Place<'a> {
    /// Index of the layer.
    pub(crate) index: usize,
    pub(crate) layer: &'a Layer,
    /// Its inputs.
    pub(crate) inputs: usize,
    /// Its outputs.
    pub(crate) outputs: usize,
    /// Where its parameters begin.
    pub(crate) offset: usize,
    /// Number of parameters.
    pub(crate) params: usize,
    /// Where its statistics begin.
    pub(crate) statistics: usize,
}

impl Place<'_> {
    /// Rows of its parameters.
    pub(crate) const fn rows(&self) -> usize {
        rows(self.layer, self.inputs)
    }

    /// Parameters in a row.
    pub(crate) const fn row_len(&self) -> usize {
        match self.layer.kind {
            Kind::Embedding { dimensions, .. } => dimensions,
            _ => self.outputs,
        }
    }

    /// Where its weights lie: the parameters that are no bias, scale or shift.
    pub(crate) const fn weights(&self) -> Range<usize> {
        let count = match self.layer.kind {
            Kind::Dense { .. } => self.inputs * self.outputs,
            Kind::Embedding { .. } => self.params,
            _ => 0,
        };
        self.offset..self.offset + count
    }

    /// Where its parameters lie.
    pub(crate) const fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.params
    }

    /// Its parameters.
    pub(crate) fn of<'p>(&self, params: &'p [f32]) -> &'p [f32] {
        parts::part(params, self.range())
    }

    /// A dense layer's weights and its bias, empty if it has none.
    pub(crate) fn split<'p>(&self, params: &'p [f32]) -> (&'p [f32], &'p [f32]) {
        parts::split(self.of(params), self.inputs * self.outputs)
    }

    /// Floats of its statistics.
    pub(crate) const fn statistics_len(&self) -> usize {
        if has_statistics(self.layer) { 2 * self.inputs } else { 0 }
    }

    /// Its statistics: two rows, as wide as its inputs.
    pub(crate) fn statistics<'p>(&self, params: &'p [f32]) -> (&'p [f32], &'p [f32]) {
        parts::split(parts::span(params, self.statistics, 2 * self.inputs), self.inputs)
    }
}

/// Rows of a layer's parameters, each of [`row_len`].
const fn rows(layer: &Layer, inputs: usize) -> usize {
    match layer.kind {
        Kind::Dense { bias, .. } => inputs + bias as usize,
        Kind::LayerNorm { .. } | Kind::BatchNorm { .. } => 2,
        Kind::RmsNorm { .. } => 1,
        Kind::Embedding { categories, .. } => categories,
        Kind::Activation | Kind::Normalization => 0,
    }
}

const fn row_len(layer: &Layer, inputs: usize) -> usize {
    match layer.kind {
        Kind::Embedding { dimensions, .. } => dimensions,
        _ => layer.outputs(inputs),
    }
}

/// Whether a layer has statistics: two rows, as wide as its inputs.
const fn has_statistics(layer: &Layer) -> bool {
    matches!(layer.kind, Kind::BatchNorm { .. } | Kind::Normalization)
}

impl<'a> Layout<'a> {
    /// A network of `inputs` inputs and these layers, first to last.
    ///
    /// # Errors
    /// A [`LayoutError`] that names the layer, if a size is zero, a setting is out of range, a layer
    /// cannot stand where it does, or a length overflows `usize`.
    pub const fn new(inputs: usize, layers: &'a [Layer]) -> Result<Self, LayoutError> {
        if inputs == 0 {
            return Err(LayoutError::NoInputs);
        }
        if layers.is_empty() {
            return Err(LayoutError::NoLayers);
        }
        let (mut trainable_len, mut statistics, mut width, mut index) = (0_usize, 0_usize, inputs, 0);
        let (mut batch_norm, mut residual, mut plain, mut neurons) = (false, false, true, inputs);
        let mut widest_without_bias = 0;
        let mut lowest = layers.len() - 1;
        let mut penalized = false;
        let mut activations = Activations::NONE;
        while index < layers.len() {
            let layer = &layers[index];
            if let Err(error) = check(inputs, layers, index, width) {
                return Err(error);
            }
            batch_norm |= matches!(layer.kind, Kind::BatchNorm { .. });
            residual |= layer.residual > 0;
            plain &= layer.is_plain();
            activations = activations.with(layer.activation);
            if let Kind::Dense { units, bias: false, .. } = layer.kind
                && units > widest_without_bias
            {
                widest_without_bias = units;
            }
            penalized |= layer.penalty().some().is_some();
            if layer.is_by_output() && (index > 0 || !layer.is_plain() || penalized) {
                return Err(LayoutError::ByOutput { layer: index });
            }
            let rows_of_statistics = if has_statistics(layer) { 2 } else { 0 };
            let Some(own) = width.checked_mul(rows_of_statistics) else { return Err(LayoutError::TooLarge) };
            let Some(sum) = statistics.checked_add(own) else { return Err(LayoutError::TooLarge) };
            statistics = sum;
            // Rows and their length, their product, then the sum; Adam keeps twice that, in bytes four times.
            let (Some(_), Some(outputs)) = (width.checked_add(1), layer.checked_outputs(width)) else {
                return Err(LayoutError::TooLarge);
            };
            let Some(own) = rows(layer, width).checked_mul(row_len(layer, width)) else {
                return Err(LayoutError::TooLarge);
            };
            if trainable_len == 0 && own > 0 {
                lowest = index;
            }
            let Some(sum) = trainable_len.checked_add(own) else { return Err(LayoutError::TooLarge) };
            trainable_len = sum;
            let Some(all) = trainable_len.checked_add(statistics) else { return Err(LayoutError::TooLarge) };
            let Some(sum) = neurons.checked_add(outputs) else { return Err(LayoutError::TooLarge) };
            neurons = sum;
            if all > isize::MAX as usize / 8 || neurons > isize::MAX as usize / 8 {
                return Err(LayoutError::TooLarge);
            }
            width = outputs;
            index += 1;
        }
        if (residual || batch_norm) && layers[0].is_by_output() {
            return Err(LayoutError::ByOutput { layer: 0 });
        }
        let params_len = trainable_len + statistics;
        let mut layout = Self {
            inputs,
            layers,
            outputs: width,
            trainable_len,
            params_len,
            batch_norm,
            residual,
            widest_without_bias,
            plain,
            penalized,
            lowest,
            activations,
            lean_top: [0; 2],
        };
        let last = layers.len() - 1;
        layout.lean_top = [layout.lean_offset(last), layout.lean_end(last)];
        Ok(layout)
    }

    /// Inputs per sample.
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    /// Outputs per sample: those of the last layer.
    pub const fn outputs(&self) -> usize {
        self.outputs
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

    /// Number of parameters that training changes by their gradient. They come first; statistics follow.
    pub const fn trainable_len(&self) -> usize {
        self.trainable_len
    }

    /// Floats of state that `optimizer` keeps for this network. They start at zero.
    pub const fn optimizer_len(&self, optimizer: &Optimizer) -> usize {
        self.trainable_len() * optimizer.state_per_parameter()
    }

    /// Floats of workspace in the lean schedule: one per neuron; two where a slope does not follow from the
    /// value, that is for GELU, SiLU, mish and hard swish, and for most activations under
    /// dropout; and two for each norm over features.
    pub const fn lean_workspace_len(&self) -> usize {
        self.lean_top[1]
    }

    /// Where the values of the last layer begin in the workspace of the lean schedule.
    pub(crate) const fn lean_top(&self) -> usize {
        self.lean_top[0]
    }

    /// The activations of its layers.
    pub(crate) const fn activations(&self) -> Activations {
        self.activations
    }

    /// Outputs of the widest dense layer that has no bias.
    pub(crate) const fn widest_without_bias(&self) -> usize {
        self.widest_without_bias
    }

    /// Whether a layer is plain: see [`Layer::is_plain`].
    pub(crate) const fn is_plain(&self, place: &Place) -> bool {
        self.plain || place.layer.is_plain()
    }

    /// Whether the first layer stores its weights by output.
    #[inline(always)]
    pub(crate) const fn is_by_output(&self) -> bool {
        matches!(self.layers, [first, ..] if first.is_by_output())
    }

    /// Whether all layers are plain.
    pub(crate) const fn is_all_plain(&self) -> bool {
        self.plain
    }

    /// Whether a layer normalises over the batch.
    pub(crate) const fn has_batch_norm(&self) -> bool {
        self.batch_norm
    }

    /// Whether a layer has a penalty.
    pub(crate) const fn is_penalized(&self) -> bool {
        self.penalized
    }

    /// The penalty on a layer's weights. (A `static` network without any leaves its code out of the binary.)
    pub(crate) const fn penalty(&self, place: &Place<'_>) -> Option<Penalty> {
        if self.penalized { place.layer.penalty().some() } else { None }
    }

    /// The activation of a layer.
    #[inline(always)]
    pub(crate) fn activation_of(&self, index: usize) -> Activation {
        self.layers.get(index).map_or(Activation::Linear, |layer| layer.activation)
    }

    /// Where the first layer stands.
    #[inline(always)]
    pub(crate) const fn first(&self) -> Place<'a> {
        // There is a first layer; without one there is none to look at, and no panic either.
        let layer = if let [first, ..] = self.layers { first } else { &const { Layer::dense(0, Activation::Linear) } };
        let (inputs, statistics) = (self.inputs, self.trainable_len);
        let (outputs, params) = self.extent(layer, inputs);
        Place { index: 0, layer, inputs, outputs, offset: 0, params, statistics }
    }

    /// Outputs and parameters of a layer. (A step of a small network feels what it takes to tell kinds apart.)
    #[inline(always)]
    const fn extent(&self, layer: &Layer, inputs: usize) -> (usize, usize) {
        match layer.kind {
            Kind::Dense { units, .. } if self.plain => (units, (inputs + 1) * units),
            _ => (layer.outputs(inputs), rows(layer, inputs) * row_len(layer, inputs)),
        }
    }

    /// Where the layer above `place` stands. (Inlined, so that it stays in registers.)
    #[inline(always)]
    pub(crate) const fn next(&self, place: &Place<'a>) -> Place<'a> {
        let (index, inputs, layer) = (place.index + 1, place.outputs, &self.layers[place.index + 1]);
        let statistics = place.statistics + if self.plain { 0 } else { place.statistics_len() };
        let offset = place.offset + place.params;
        let (outputs, params) = self.extent(layer, inputs);
        Place { index, layer, inputs, outputs, offset, params, statistics }
    }

    /// Where the layer above `place` stands, if there is one.
    #[inline(always)]
    pub(crate) const fn above(&self, place: &Place<'a>) -> Option<Place<'a>> {
        if place.index + 1 < self.layers.len() { Some(self.next(place)) } else { None }
    }

    /// Where layer `index` stands.
    pub(crate) const fn place(&self, index: usize) -> Place<'a> {
        let mut place = self.first();
        while place.index < index
            && let Some(above) = self.above(&place)
        {
            place = above;
        }
        place
    }

    /// The layers with their places, first to last.
    pub(crate) fn places<'l>(&'l self) -> impl Iterator<Item = Place<'a>> + use<'l, 'a> {
        let mut next = Some(self.first());
        core::iter::from_fn(move || {
            let place = next?;
            next = self.above(&place);
            Some(place)
        })
    }

    /// Some layers with their places, last to first.
    pub(crate) fn places_down(&self, layers: Range<usize>) -> impl Iterator<Item = Place<'a>> {
        let mut above: Option<Place<'a>> = None;
        layers.rev().map(move |index| {
            let place = match above {
                Some(above) => self.below(index, above.offset),
                None if index + 1 == self.layers.len() => self.below(index, self.trainable_len),
                None => self.place(index),
            };
            above = Some(place);
            place
        })
    }

    /// Where layer `index` stands, whose parameters end at `end`.
    #[inline(always)]
    pub(crate) fn below(&self, index: usize, end: usize) -> Place<'a> {
        let layer = &self.layers[index];
        let inputs = match index {
            0 => Some(self.inputs),
            _ => self.layers[index - 1].units(),
        };
        match inputs {
            Some(inputs) if self.plain => {
                let (outputs, params) = self.extent(layer, inputs);
                Place { index, layer, inputs, outputs, offset: end - params, params, statistics: self.trainable_len }
            }
            // How wide it is, the layers below say.
            _ => self.place(index),
        }
    }

    /// The input columns that embeddings take for categories, with the number of categories.
    pub(crate) fn categories(&self) -> impl Iterator<Item = (usize, usize)> + 'a {
        let layers = self.layers;
        layers.iter().enumerate().filter_map(move |(index, layer)| match layer.kind {
            Kind::Embedding { column, categories, .. } => Some((input_column(layers, index, column)?, categories)),
            _ => None,
        })
    }

    /// Checks what embeddings take for categories in `x: [batch × inputs]`.
    #[inline(always)]
    pub(crate) fn check_categories(&self, x: &[f32]) -> Result<(), StepError> {
        if self.plain { Ok(()) } else { self.check_each_category(x) }
    }

    fn check_each_category(&self, x: &[f32]) -> Result<(), StepError> {
        for (input, categories) in self.categories() {
            for (sample, x) in x.chunks_exact(self.inputs.max(1)).enumerate() {
                let found = parts::element(x, input);
                // A whole number is what a cast to an integer and back leaves alone.
                if !(found >= 0.0 && found < categories as f32 && found as u32 as f32 == found) {
                    return Err(StepError::Category { sample, input, found, categories });
                }
            }
        }
        Ok(())
    }

    /// Whose values a residual connection of layer `index` adds: of the layer below it in the list, or the inputs.
    pub(crate) const fn residual_source(&self, index: usize) -> Option<Source> {
        let span = if index < self.layers.len() { self.layers[index].residual } else { 0 };
        match span {
            0 => None,
            span if span > index => Some(Source::Inputs),
            span => Some(Source::Layer(index - span)),
        }
    }

    /// The lowest layer that has parameters: a delta is wanted down to it, unless inputs have one.
    pub(crate) const fn lowest(&self) -> usize {
        self.lowest
    }

    /// Whether a layer has a residual connection.
    pub(crate) const fn has_residual(&self) -> bool {
        self.residual
    }

    /// Whether a residual connection adds what `source` gives.
    pub(crate) fn is_source(&self, source: Source) -> bool {
        self.residual && self.residuals_from(source).next().is_some()
    }

    /// The layers whose residual connection adds what `source` gives, first to last.
    pub(crate) fn residuals_from(&self, source: Source) -> impl Iterator<Item = usize> + 'a {
        let layout = *self;
        let layers = if layout.residual { layout.layers.len() } else { 0 };
        (0..layers).filter(move |&index| layout.residual_source(index) == Some(source))
    }
}

/// Where values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The network's inputs.
    Inputs,
    /// The values of a layer.
    Layer(usize),
}

/// Whether layer `index`, fed by `width` inputs, is right where it stands.
const fn check(inputs: usize, layers: &[Layer], index: usize, width: usize) -> Result<(), LayoutError> {
    let layer = &layers[index];
    match layer.kind {
        Kind::Dense { units: 0, .. } => return Err(LayoutError::NoUnits { layer: index }),
        Kind::LayerNorm { epsilon } | Kind::RmsNorm { epsilon } | Kind::BatchNorm { epsilon, .. }
            if !(epsilon > 0.0 && epsilon < f32::INFINITY) =>
        {
            return Err(LayoutError::Epsilon { layer: index });
        }
        Kind::BatchNorm { momentum, .. } if !(momentum > 0.0 && momentum <= 1.0) => {
            return Err(LayoutError::Momentum { layer: index });
        }
        Kind::Normalization if index > 0 => return Err(LayoutError::LateNormalization { layer: index }),
        Kind::Embedding { column, categories, dimensions } => {
            if categories == 0 || dimensions == 0 {
                return Err(LayoutError::NoUnits { layer: index });
            }
            // An f32 counts to 2²⁴.
            if categories > 1 << 24 {
                return Err(LayoutError::TooLarge);
            }
            if column >= width {
                return Err(LayoutError::Column { layer: index, column, inputs: width });
            }
            let mut below = 0;
            while below < index {
                if !matches!(layers[below].kind, Kind::Normalization | Kind::Embedding { .. })
                    || !layers[below].is_bare()
                {
                    return Err(LayoutError::LateEmbedding { layer: index });
                }
                below += 1;
            }
            if input_column(layers, index, column).is_none() {
                return Err(LayoutError::EmbeddedColumn { layer: index, column });
            }
        }
        _ => {}
    }
    match layer.activation {
        Activation::Softmax if index + 1 < layers.len() => return Err(LayoutError::HiddenSoftmax { layer: index }),
        Activation::LeakyRelu { slope } if !(slope >= 0.0 && slope <= 1.0) => {
            return Err(LayoutError::LeakySlope { layer: index });
        }
        Activation::Elu { alpha } if !(alpha >= 0.0 && alpha <= f32::MAX) => {
            return Err(LayoutError::EluAlpha { layer: index });
        }
        _ => {}
    }
    if !layer.penalty().is_valid() {
        return Err(LayoutError::Penalty { layer: index });
    }
    if !(layer.dropout >= 0.0 && layer.dropout < 1.0) {
        return Err(LayoutError::DropoutRate { layer: index });
    }
    if layer.dropout > 0.0 && index + 1 == layers.len() {
        return Err(LayoutError::LastDropout { layer: index });
    }
    let span = layer.residual;
    if span > index + 1 {
        return Err(LayoutError::ResidualSpan { layer: index, span });
    }
    if span > 0 {
        let (mut from, mut below) = (inputs, 0);
        while below + span <= index {
            from = layers[below].outputs(from);
            below += 1;
        }
        let to = layer.outputs(width);
        if from != to {
            return Err(LayoutError::ResidualWidth { layer: index, from, to });
        }
    }
    Ok(())
}

/// The network's input that is column `column` of the inputs of layer `index`; `None` if an embedding has made it.
const fn input_column(layers: &[Layer], index: usize, column: usize) -> Option<usize> {
    let (mut index, mut column) = (index, column);
    while index > 0 && index <= layers.len() {
        index -= 1;
        if let Kind::Embedding { column: embedded, dimensions, .. } = layers[index].kind {
            if column >= embedded + dimensions {
                column = column - dimensions + 1;
            } else if column >= embedded {
                return None;
            }
        }
    }
    Some(column)
}

/// A `const` [`Layout`]: `layout!(20 => dense(64, Relu), dense(1, Sigmoid))`.
///
/// The part before `=>` is the number of inputs. Each layer is written as the constructor of
/// [`Layer`] and what follows it, with the variants of [`Activation`] and [`Initializer`](crate::Initializer), and
/// [`Penalty`], in scope. A mistake is a compile error:
///
/// ```
/// use microprop::{Layout, layout};
///
/// const LAYOUT: Layout = layout!(
///     20 => dense(64, Relu).with_init(HeNormal).with_dropout(0.2),
///     dense(64, LeakyRelu { slope: 0.1 }).with_residual(1).with_penalty(Penalty::l2(1e-4)),
///     dense(1, Sigmoid)
/// );
/// ```
/// ```compile_fail
/// const LAYOUT: microprop::Layout = microprop::layout!(20 => dense(0, Relu)); // a layer has at least one unit
/// ```
#[macro_export]
macro_rules! layout {
    ($inputs:expr => $($kind:ident($($of:tt)*) $(.$with:ident($($what:tt)*))*),+ $(,)?) => {
        const {
            const LAYERS: &[$crate::Layer] = {
                #[allow(unused_imports, reason = "a layer may name any of these, or none")]
                use $crate::{Activation::*, Initializer::*, Penalty};
                &[$($crate::Layer::$kind($($of)*)$(.$with($($what)*))*),+]
            };
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

    const HIDDEN: Layer = Layer::dense(3, Relu);
    const OUTPUT: Layer = Layer::dense(1, Linear);

    #[test]
    fn lengths_and_places() {
        let layers = [Layer::dense(64, Relu), Layer::dense(3, Tanh), Layer::dense(1, Sigmoid)];
        let layout = Layout::new(20, &layers).unwrap();
        assert_eq!(layout.params_len(), 21 * 64 + 65 * 3 + 4);
        let places: [Place<'_>; 3] = core::array::from_fn(|l| layout.place(l));
        assert_eq!(places.map(|p| p.offset), [0, 21 * 64, 21 * 64 + 65 * 3]);
        assert_eq!(places.map(|p| (p.inputs, p.outputs)), [(20, 64), (64, 3), (3, 1)]);
        assert!(layout.places().eq(places));
    }

    #[test]
    fn every_kind_has_its_parameters_and_statistics() {
        let layers = [
            Layer::normalization(),
            Layer::embedding(1, 4, 3),
            Layer::embedding(4, 5, 2),
            Layer::dense(6, Relu).without_bias(),
            Layer::batch_norm(Tanh),
            Layer::layer_norm(Linear),
            Layer::rms_norm(Linear),
            Layer::elementwise(Relu),
            Layer::dense(2, Linear),
        ];
        let layout = Layout::new(3, &layers).unwrap();
        let widths: Vec<usize> = layout.places().map(|place| place.outputs).collect();
        assert_eq!(widths, [3, 5, 6, 6, 6, 6, 6, 6, 2]);
        let params: Vec<usize> = layout.places().map(|place| place.params).collect();
        assert_eq!(params, [0, 12, 10, 36, 12, 12, 6, 0, 14]);
        assert_eq!(layout.trainable_len(), 102);
        assert_eq!(layout.lowest(), 1);
        assert_eq!(layout.params_len(), 102 + 2 * 3 + 2 * 6);
        assert_eq!((layout.place(0).statistics, layout.place(4).statistics), (102, 108));
        // Column 4 of what the first embedding has made is the input's last.
        assert_eq!(layout.categories().collect::<Vec<_>>(), [(1, 4), (2, 5)]);
    }

    #[test]
    fn residual_connections_know_where_they_come_from() {
        let layers = [HIDDEN, HIDDEN.with_residual(1), HIDDEN.with_residual(3), HIDDEN.with_residual(2), OUTPUT];
        let layout = Layout::new(3, &layers).unwrap();
        let sources: [_; 5] = core::array::from_fn(|index| layout.residual_source(index));
        assert_eq!(sources, [None, Some(Source::Layer(0)), Some(Source::Inputs), Some(Source::Layer(1)), None]);
        assert!(layout.residuals_from(Source::Inputs).eq([2]));
        assert!(layout.residuals_from(Source::Layer(1)).eq([3]));
    }

    #[test]
    fn layers_stand_where_they_can() {
        use LayoutError::*;
        let error = |inputs, layers: &[Layer]| Layout::new(inputs, layers).unwrap_err();
        assert_eq!(error(3, &[HIDDEN, Layer::normalization()]), LateNormalization { layer: 1 });
        assert_eq!(error(3, &[HIDDEN, Layer::embedding(0, 2, 2)]), LateEmbedding { layer: 1 });
        assert_eq!(error(3, &[Layer::embedding(3, 2, 2)]), Column { layer: 0, column: 3, inputs: 3 });
        assert_eq!(
            error(3, &[Layer::embedding(1, 2, 2), Layer::embedding(2, 2, 2)]),
            EmbeddedColumn { layer: 1, column: 2 }
        );
        assert_eq!(error(3, &[Layer::embedding(1, 0, 2)]), NoUnits { layer: 0 });
        assert_eq!(error(3, &[HIDDEN.with_residual(2), OUTPUT]), ResidualSpan { layer: 0, span: 2 });
        assert_eq!(error(4, &[HIDDEN.with_residual(1), OUTPUT]), ResidualWidth { layer: 0, from: 4, to: 3 });
        assert_eq!(error(3, &[HIDDEN.with_dropout(0.5)]), LastDropout { layer: 0 });
        for rate in [-0.1, 1.0, f32::NAN] {
            assert_eq!(error(3, &[HIDDEN.with_dropout(rate), OUTPUT]), DropoutRate { layer: 0 });
        }
        for epsilon in [0.0, -1.0, f32::INFINITY, f32::NAN] {
            assert_eq!(error(3, &[Layer::layer_norm(Relu).with_epsilon(epsilon)]), Epsilon { layer: 0 });
        }
        for bad in [-0.1, f32::INFINITY, f32::NAN] {
            for penalty in [crate::Penalty::l1(bad), crate::Penalty::l2(bad)] {
                assert_eq!(error(3, &[HIDDEN.with_penalty(penalty), OUTPUT]), Penalty { layer: 0 });
                assert_eq!(error(3, &[Layer::embedding(1, 2, 2).with_penalty(penalty)]), Penalty { layer: 0 });
            }
        }
        for momentum in [0.0, 1.1, f32::NAN] {
            assert_eq!(error(3, &[Layer::batch_norm(Relu).with_momentum(momentum)]), Momentum { layer: 0 });
        }
    }

    #[test]
    fn penalties_are_for_weights() {
        let penalty = Penalty::elastic_net(0.5, 0.25);
        let layers = [
            Layer::embedding(0, 4, 3).with_penalty(penalty),
            Layer::dense(3, Relu).with_penalty(penalty),
            Layer::layer_norm(Relu).with_penalty(penalty),
            Layer::dense(3, Relu).with_penalty(Penalty::NONE),
            OUTPUT.with_penalty(Penalty::l2(-0.0)),
        ];
        let layout = Layout::new(1, &layers).unwrap();
        assert!(layout.places().map(|place| place.weights().len()).eq([12, 9, 0, 9, 3]));
        assert!(layout.places().map(|place| layout.penalty(&place)).eq([
            Some(penalty),
            Some(penalty),
            None,
            None,
            None
        ]));
        assert!(layout.is_penalized() && !Layout::new(3, &layers[2..]).unwrap().is_penalized());
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
