//! Where a step's numbers lie in its workspace, and how it is cut into pieces.
//!
//! Values and deltas of the hidden layers lie in banks: layer l in bank l mod 2, so
//! that a layer reads from one slice and writes to another. In a bank the sections
//! of a sample's layers are neighbours, each on a line of 64 bytes, and a sample's
//! stride is an odd number of lines: the column of a tile then never falls into one
//! set of a cache, as it would with strides that are powers of two.

use crate::backend::Backend;
use crate::kernels::{Rows, RowsMut, forward_scratch_len, product_scratch_len, update_scratch_len};
use crate::layer::Kind;
use crate::layout::{Layout, Place};

/// Floats in a line of 64 bytes.
pub(super) const LINE: usize = 16;

/// Where everything lies in the workspace of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) batch: usize,
    pub(super) outputs: usize,
    /// Floats from one sample to the next in each bank.
    pub(super) strides: [usize; 2],
    /// Floats of moments for each sample: two for each norm over features.
    pub(super) moments: usize,
    /// Floats of statistics for all samples: four for each input of a batch norm.
    pub(super) statistics: usize,
    /// How many pieces the step is cut into.
    pub(super) pieces: usize,
    /// Floats of scratch for each piece.
    pub(super) scratch: usize,
    pub(super) workspace_len: usize,
}

/// `a · b` rounded up to whole lines. What overflows is more than any workspace is long, and stays so in sums that saturate.
const fn lines(a: usize, b: usize) -> usize {
    a.saturating_mul(b).saturating_add(LINE - 1) / LINE * LINE
}

/// Floats of scratch for the products with a layer's weights, if they are more than `least`.
pub(super) const fn product_len(place: &Place<'_>, batch: usize, least: usize) -> usize {
    if !matches!(place.layer.kind, Kind::Dense { .. }) {
        return least;
    }
    let forward = product_scratch_len(batch, place.inputs, place.outputs);
    let delta = product_scratch_len(batch, place.outputs, place.inputs);
    let most = if forward > delta { forward } else { delta };
    if most > least { most } else { least }
}

/// An odd number of lines, none if there is nothing in them.
pub(super) const fn odd_lines(floats: usize) -> usize {
    if (floats / LINE).is_multiple_of(2) && floats > 0 { floats + LINE } else { floats }
}

impl Plan {
    /// `None` if a length overflows.
    pub(super) const fn new(layout: &Layout<'_>, batch: usize, pieces: usize, backend: Backend) -> Option<Self> {
        let (outputs, mut strides, mut widest) = (layout.outputs(), [0, 0], layout.inputs());
        let (mut moments, mut statistics, mut update, mut product) = (0, 0, batch, 0);
        let (last, mut place) = (layout.layers().len() - 1, layout.first());
        loop {
            widest = if place.outputs > widest { place.outputs } else { widest };
            let packed = update_scratch_len(batch, place.inputs, place.outputs);
            update = if packed > update { packed } else { update };
            product = product_len(&place, batch, product);
            if !layout.is_plain(&place) {
                moments += moments_len(&place);
                statistics += statistics_len(&place);
            }
            if place.index == last {
                break;
            }
            strides[place.index % 2] += section_len(&place);
            place = layout.next(&place);
        }
        let strides = [odd_lines(strides[0]), odd_lines(strides[1])];
        // What a product packs, what an update needs, a sample's outputs, or a band of the gradient.
        let panel = forward_scratch_len(widest);
        let product = layout.widest_without_bias() + if product > panel { product } else { panel };
        let scratch = if update > product { update } else { product };
        let scratch = if outputs > scratch { outputs } else { scratch };
        let gradient = backend.scratch_len(widest);
        let scratch = if gradient > scratch { gradient } else { scratch };
        let scratch = lines(scratch, 1);
        let hidden = lines(2 * (strides[0] + strides[1]), batch);
        let (top, pieces_scratch) = (lines(outputs, batch).saturating_mul(3), lines(scratch, pieces));
        let mut workspace_len = LINE.saturating_add(hidden).saturating_add(top).saturating_add(pieces_scratch);
        if !layout.is_all_plain() {
            workspace_len = workspace_len.saturating_add(lines(moments, batch)).saturating_add(lines(statistics, 1));
        }
        if workspace_len > isize::MAX as usize / 4 {
            return None;
        }
        Some(Self { batch, outputs, strides, moments, statistics, pieces, scratch, workspace_len })
    }

    /// Cuts the workspace into its parts.
    pub(super) fn split<'w>(&self, workspace: &'w mut [f32]) -> Parts<'w> {
        let start = padding(workspace);
        let mut rest = &mut workspace[start..];
        let mut cut = |len: usize| {
            let (part, after) = core::mem::take(&mut rest).split_at_mut(len.next_multiple_of(LINE));
            rest = after;
            &mut part[..len]
        };
        let ([even, odd], outputs) = (self.strides.map(|stride| stride * self.batch), self.outputs * self.batch);
        let banks = Banks {
            values: [cut(even), cut(odd)],
            deltas: [cut(even), cut(odd)],
            outputs: cut(outputs),
            output_delta: cut(outputs),
            terms: cut(outputs),
            moments: if self.moments > 0 { cut(self.moments * self.batch) } else { &mut [] },
        };
        Parts { banks, statistics: if self.statistics > 0 { cut(self.statistics) } else { &mut [] }, scratch: rest }
    }

    /// The outputs that a pass has left in the workspace.
    pub(super) fn outputs<'w>(&self, workspace: &'w [f32]) -> &'w [f32] {
        &workspace[self.outputs_start(workspace)..][..self.outputs * self.batch]
    }

    /// Where they begin.
    pub(super) fn outputs_start(&self, workspace: &[f32]) -> usize {
        padding(workspace) + 2 * (self.strides[0] + self.strides[1]) * self.batch
    }
}

/// Floats from the start of `workspace` to the next line of 64 bytes. (The address
/// decides only where things lie, never what is computed.)
pub(crate) fn padding(workspace: &[f32]) -> usize {
    let address = workspace.as_ptr().addr() / size_of::<f32>();
    address.wrapping_neg() % LINE
}

/// A layer's section of a bank.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub(super) stride: usize,
    pub(super) offset: usize,
    pub(super) width: usize,
}

impl Section {
    pub(super) fn rows<'b>(self, data: &'b [f32]) -> Rows<'b> {
        let Self { stride, offset, width } = self;
        Rows { data, stride, offset, width }
    }

    pub(super) fn rows_mut<'b>(self, data: &'b mut [f32]) -> RowsMut<'b> {
        let Self { stride, offset, width } = self;
        RowsMut { data, stride, offset, width }
    }

    /// The section behind it, where what the slope is taken at is kept.
    pub(super) fn kept(self) -> Self {
        Self { offset: self.offset + self.width.next_multiple_of(LINE), ..self }
    }
}

impl Plan {
    /// The section of hidden layer `l`, of `width` units, in its bank.
    #[inline]
    pub(super) fn section(&self, layout: &Layout<'_>, l: usize, width: usize) -> Section {
        // The first of each bank begins with it.
        let offset = if l > 1 { section_offset(layout, l) } else { 0 };
        Section { stride: self.strides[l % 2], offset, width }
    }
}

/// Where the section of layer `l` begins.
#[inline(never)]
fn section_offset(layout: &Layout<'_>, l: usize) -> usize {
    let (mut place, mut offset) = (layout.first(), 0);
    while place.index + 1 < l {
        if place.index % 2 == l % 2 {
            offset += section_len(&place);
        }
        place = layout.next(&place);
    }
    offset
}

/// Floats of a hidden layer's section: its values, and what its slope is taken at if it isn't these.
const fn section_len(place: &Place<'_>) -> usize {
    place.outputs.next_multiple_of(LINE) * if place.layer.keeps() { 2 } else { 1 }
}

/// Mean and inv of a sample's features.
pub(super) const fn moments_len(place: &Place<'_>) -> usize {
    match place.layer.kind {
        Kind::LayerNorm { .. } | Kind::RmsNorm { .. } => 2,
        _ => 0,
    }
}

/// Mean and variance over the batch, and the sums that δ goes back through.
pub(super) const fn statistics_len(place: &Place<'_>) -> usize {
    match place.layer.kind {
        Kind::BatchNorm { .. } => 4 * place.inputs,
        _ => 0,
    }
}

/// What a workspace is cut into.
pub(super) struct Parts<'w> {
    pub(super) banks: Banks<'w>,
    pub(super) statistics: &'w mut [f32],
    pub(super) scratch: &'w mut [f32],
}

/// The values and deltas of some samples.
pub(super) struct Banks<'w> {
    pub(super) values: [&'w mut [f32]; 2],
    pub(super) deltas: [&'w mut [f32]; 2],
    pub(super) outputs: &'w mut [f32],
    pub(super) output_delta: &'w mut [f32],
    pub(super) terms: &'w mut [f32],
    pub(super) moments: &'w mut [f32],
}

impl Banks<'_> {
    /// The first `rows` samples, and the others; each has `terms` addends of the loss.
    pub(super) fn split_at(&mut self, rows: usize, plan: &Plan, terms: usize) -> (Banks<'_>, Banks<'_>) {
        let [v0, v1] = &mut self.values;
        let [d0, d1] = &mut self.deltas;
        let [even, odd] = plan.strides.map(|stride| stride * rows);
        let (v0, w0) = v0.split_at_mut(even);
        let (v1, w1) = v1.split_at_mut(odd);
        let (d0, e0) = d0.split_at_mut(even);
        let (d1, e1) = d1.split_at_mut(odd);
        let (outputs, other_outputs) = self.outputs.split_at_mut(rows * plan.outputs);
        let (output_delta, other_delta) = self.output_delta.split_at_mut(rows * plan.outputs);
        let (own_terms, other_terms) = self.terms.split_at_mut(rows * terms);
        let (moments, other_moments) = self.moments.split_at_mut(rows * plan.moments);
        (
            Banks { values: [v0, v1], deltas: [d0, d1], outputs, output_delta, terms: own_terms, moments },
            Banks {
                values: [w0, w1],
                deltas: [e0, e1],
                outputs: other_outputs,
                output_delta: other_delta,
                terms: other_terms,
                moments: other_moments,
            },
        )
    }
}

/// How many of `rows` samples go to the first `first` of `pieces` pieces: at least one.
pub(crate) fn part(rows: usize, first: usize, pieces: usize) -> usize {
    // In 64 bits: the product of two lengths overflows 32.
    ((rows as u64 * first as u64 / pieces as u64) as usize).max(1)
}

/// The bank that layer `to` does not write to, which it reads, and the one that it writes to.
pub(super) fn opposite<'b>(banks: &'b mut [&mut [f32]; 2], to: usize) -> (&'b [f32], &'b mut [f32]) {
    let [even, odd] = banks;
    if to.is_multiple_of(2) { (odd, even) } else { (even, odd) }
}

/// Runs both, at the same time where there are threads for it.
#[cfg(feature = "rayon")]
pub(crate) fn join(left: impl FnOnce() + Send, right: impl FnOnce() + Send) {
    rayon::join(left, right);
}

/// Runs both.
#[cfg(not(feature = "rayon"))]
pub(crate) fn join(left: impl FnOnce(), right: impl FnOnce()) {
    left();
    right();
}
