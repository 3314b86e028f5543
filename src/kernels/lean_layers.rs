//! A layer of any kind backwards for one sample, with all that can lie below it: see [`lean`](super::lean) for
//! the usual case, a dense layer without penalty above another whose value gives its slope.
#![forbid(unsafe_code)]

use super::dropout::Dropout;
use super::embedding::Embedded;
use super::lean::Gradient;
use super::norm::{Affine, delta_below, hat, means_of};
use crate::Isa;
use crate::activation::Activation;
use crate::layout::{Layout, Source};
use crate::parts;
use crate::penalty::Penalty;
use crate::simd::{Simd, dispatch};
use core::ops::Range;

/// What feeds a layer, and where its delta goes.
pub(crate) enum Below<'a> {
    /// The network's inputs; nothing is wanted below them.
    Inputs(&'a [f32]),
    /// The network's inputs, and where ∂loss/∂inputs goes.
    InputsAndDelta(&'a [f32], &'a mut [f32], Residuals<'a>),
    /// A layer's values, which its deltas replace.
    Values(Values<'a>),
}

/// A layer's values, and what its deltas go through.
pub(crate) struct Values<'a> {
    pub(crate) values: &'a mut [f32],
    /// What the slope is taken at, if it isn't the value.
    pub(crate) kept: Option<&'a [f32]>,
    pub(crate) activation: Activation,
    pub(crate) dropout: Option<Dropout>,
    pub(crate) residuals: Residuals<'a>,
}

/// The deltas that residual connections bring from further up.
#[derive(Clone, Copy)]
pub(crate) struct Residuals<'a> {
    pub(crate) layout: Layout<'a>,
    pub(crate) source: Source,
    /// The workspace from `start` on.
    pub(crate) above: &'a [f32],
    pub(crate) start: usize,
}

impl Residuals<'_> {
    /// d, and what the connections add to element `i`, the lowest layer's first.
    fn added(&self, d: f32, i: usize) -> f32 {
        let deltas = self.layout.residuals_from(self.source);
        deltas.fold(d, |sum, layer| sum + parts::element(self.above, self.layout.lean_offset(layer) - self.start + i))
    }
}

impl Below<'_> {
    /// The layer's inputs.
    #[inline(always)]
    fn all_x(&self) -> &[f32] {
        match self {
            Self::Inputs(x) | Self::InputsAndDelta(x, ..) => x,
            Self::Values(below) => below.values,
        }
    }

    #[inline(always)]
    fn is_wanted(&self) -> bool {
        !matches!(self, Self::Inputs(_))
    }

    /// Takes ∂loss/∂x of input `i` down.
    #[inline(always)]
    fn set<S: Simd>(&mut self, s: S, i: usize, d: f32) {
        match self {
            Self::Inputs(_) => {}
            Self::InputsAndDelta(_, to, residuals) => parts::set(to, i, residuals.added(d, i)),
            Self::Values(Values { values, kept, activation, dropout, residuals }) => {
                let mut d = residuals.added(d, i);
                if let Some(dropout) = dropout {
                    let factor = dropout.factor(i as u64);
                    d = if factor > 0.0 { d * factor } else { 0.0 };
                }
                let slope_at = parts::element(kept.unwrap_or(values), i);
                parts::set(values, i, s.first(activation.delta(s, s.splat(d), s.splat(slope_at))));
            }
        }
    }

    /// Takes all of them down.
    #[inline(always)]
    fn set_all<S: Simd>(&mut self, s: S, d: impl Fn(usize) -> f32) {
        if self.is_wanted() {
            for i in 0..self.all_x().len() {
                self.set(s, i, d(i));
            }
        }
    }
}

/// What a layer does on the way back.
#[derive(Clone, Copy)]
pub(crate) enum LeanKind<'a> {
    Dense(Option<Penalty>),
    Activation,
    /// With a sample's mean and inv, and whether it has a shift.
    SampleNorm([f32; 2], bool),
    Standardize(&'a [f32]),
    Embedding(Embedded, Option<Penalty>),
}

/// Passes a layer's delta on below, and lets its gradient do its work: all of it, unless it is dense, and this is about
/// some of its rows only, of which the bias is the last.
pub(crate) fn any_layer(
    isa: Isa,
    kind: LeanKind<'_>,
    rows: Range<usize>,
    delta: &[f32],
    below: Below<'_>,
    gradient: Gradient<'_>,
) {
    dispatch!(isa, s => any_layer_in(s, kind, rows, delta, below, gradient));
}

#[inline(always)]
fn any_layer_in<S: Simd>(
    s: S,
    kind: LeanKind<'_>,
    rows: Range<usize>,
    delta: &[f32],
    mut below: Below<'_>,
    mut gradient: Gradient<'_>,
) {
    match kind {
        // Apart, so that a layer without a penalty does not ask for one in each vector.
        LeanKind::Dense(None) => dense_layer(s, rows, delta, below, gradient, None),
        LeanKind::Dense(penalty) => dense_layer(s, rows, delta, below, gradient, penalty),
        LeanKind::Activation => below.set_all(s, |i| parts::element(delta, i)),
        LeanKind::Standardize(scale) => below.set_all(s, |i| parts::element(delta, i) * parts::element(scale, i)),
        LeanKind::SampleNorm(moments, shift) => {
            let width = delta.len();
            let gamma_only = Affine { gamma: parts::part(gradient.params(), 0..width), beta: shift.then_some(&[]) };
            let means = means_of(s, delta, below.all_x(), gamma_only, moments);
            for (i, &d) in delta.iter().enumerate() {
                let (x, d, gamma) = (
                    s.splat(parts::element(below.all_x(), i)),
                    s.splat(d),
                    s.splat(parts::element(gradient.params(), i)),
                );
                if below.is_wanted() {
                    below.set(s, i, s.first(delta_below(s, d, x, gamma, moments, means)));
                }
                let g = s.mul_add(hat(s, x, moments), d, s.splat(0.0));
                gradient.element(s, i, g, None);
                if shift {
                    gradient.element(s, width + i, s.add(s.splat(0.0), d), None);
                }
            }
        }
        LeanKind::Embedding(embedded, penalty) => {
            let category = embedded.category(below.all_x());
            let Embedded { column, categories, dimensions } = embedded;
            let coordinates = parts::span(delta, column, dimensions);
            for row in 0..categories {
                if row == category {
                    gradient.row(s, coordinates, row, 1.0, penalty);
                } else if gradient.moves_by_nothing() || penalty.is_some() {
                    for at in row * dimensions..(row + 1) * dimensions {
                        gradient.element(s, at, s.splat(0.0), penalty);
                    }
                }
            }
            below.set_all(s, |i| {
                if i < column {
                    parts::element(delta, i)
                } else if i == column {
                    0.0
                } else {
                    parts::element(delta, i + dimensions - 1)
                }
            });
        }
    }
}

/// A dense layer, whatever lies below it.
#[inline(always)]
fn dense_layer<S: Simd>(
    s: S,
    rows: Range<usize>,
    delta: &[f32],
    mut below: Below<'_>,
    mut gradient: Gradient<'_>,
    penalty: Option<Penalty>,
) {
    let inputs = below.all_x().len();
    for i in rows.start..rows.end.min(inputs) {
        let x = parts::element(below.all_x(), i);
        if below.is_wanted() {
            below.set(s, i, gradient.dot(s, delta, i));
        }
        gradient.row(s, delta, i, x, penalty);
    }
    if rows.end > inputs && gradient.has_bias(inputs, delta) {
        gradient.row(s, delta, inputs, 1.0, None);
    }
}
