//! Predictions in the batch schedule: a block of samples at a time through all layers.

use super::Mlp;
use super::layers::pre_activations;
use super::plan::{LINE, Section, join, odd_lines, opposite, padding, part, product_len};
use crate::activation::Activation;
use crate::kernels::{self, Addend, Follow, Rows, RowsMut, forward_scratch_len};
use crate::layout::{Layout, Place, Source};

/// Samples that [`predict`] takes through the layers at a time.
const PREDICT_ROWS: usize = 128;

/// Floats of workspace for [`predict`]; `None` if that overflows.
pub(super) const fn workspace_len(layout: &Layout<'_>, batch: usize, threads: usize) -> Option<usize> {
    let Some(share) = predict_share(layout, batch) else { return None };
    let Some(all) = share.checked_mul(threads) else { return None };
    let Some(len) = all.checked_add(LINE) else { return None };
    if len > isize::MAX as usize / 4 { None } else { Some(len) }
}

/// Workspace of one thread: values of two neighbouring layers (of all, if a residual connection may
/// ask for them), and a packed panel.
const fn predict_share(layout: &Layout<'_>, batch: usize) -> Option<usize> {
    let rows = if batch < PREDICT_ROWS { batch } else { PREDICT_ROWS };
    let (last, mut place) = (layout.layers().len() - 1, layout.first());
    let mut widest = layout.inputs();
    let mut product = product_len(&place, rows, 0);
    while place.index < last {
        widest = if place.outputs > widest { place.outputs } else { widest };
        place = layout.next(&place);
        product = product_len(&place, rows, product);
    }
    let panel = forward_scratch_len(widest);
    let product = layout.widest_without_bias() + if product > panel { product } else { panel };
    let [even, odd] = strides(layout);
    let Some(banks) = (even + odd).checked_mul(rows) else { return None };
    banks.checked_add(product)
}

/// Floats from one sample to the next in the two banks.
const fn strides(layout: &Layout<'_>) -> [usize; 2] {
    let (last, mut place) = (layout.layers().len() - 1, layout.first());
    let (mut widest, mut sums) = (0, [0, 0]);
    while place.index < last {
        let section = place.outputs.next_multiple_of(LINE);
        widest = if section > widest { section } else { widest };
        sums[place.index % 2] += section;
        place = layout.next(&place);
    }
    if layout.has_residual() { [odd_lines(sums[0]), odd_lines(sums[1])] } else { [odd_lines(widest); 2] }
}

/// Where the values of hidden layer `l` lie in its bank.
fn section(layout: &Layout<'_>, l: usize) -> Section {
    let (mut place, mut offset) = (layout.first(), 0);
    while place.index < l {
        if layout.has_residual() && place.index % 2 == l % 2 {
            offset += place.outputs.next_multiple_of(LINE);
        }
        place = layout.next(&place);
    }
    Section { stride: strides(layout)[l % 2], offset, width: place.outputs }
}

/// Outputs only: a block of samples at a time through all layers.
pub(super) fn predict(mlp: &Mlp<'_>, params: &[f32], x: &[f32], y: &mut [f32], workspace: &mut [f32]) {
    let batch = x.len() / mlp.layout.inputs();
    let Some(share) = predict_share(&mlp.layout, batch) else {
        unreachable!("the caller has checked the workspace's length")
    };
    let start = padding(workspace);
    let workspace = &mut workspace[start..];
    predict_pieces(mlp, params, x, y, workspace, share, mlp.pieces(batch));
}

fn predict_pieces(
    mlp: &Mlp<'_>,
    params: &[f32],
    x: &[f32],
    y: &mut [f32],
    workspace: &mut [f32],
    share: usize,
    pieces: usize,
) {
    let (inputs, outputs) = (mlp.layout.inputs(), mlp.layout.outputs());
    let batch = x.len() / inputs;
    if pieces > 1 && batch > 1 {
        let first = pieces / 2;
        let rows = part(batch, first, pieces);
        let (x, other_x) = x.split_at(rows * inputs);
        let (y, other_y) = y.split_at_mut(rows * outputs);
        let (own, others) = workspace.split_at_mut(first * share);
        return join(
            || predict_pieces(mlp, params, x, y, own, share, first),
            || predict_pieces(mlp, params, other_x, other_y, others, share, pieces - first),
        );
    }
    let (x, y) = (x.chunks(PREDICT_ROWS.saturating_mul(inputs)), y.chunks_mut(PREDICT_ROWS.saturating_mul(outputs)));
    for (x, y) in x.zip(y) {
        predict_block(mlp, params, x, y, workspace);
    }
}

/// At most [`PREDICT_ROWS`] samples through all layers.
fn predict_block(mlp: &Mlp<'_>, params: &[f32], x: &[f32], y: &mut [f32], workspace: &mut [f32]) {
    let layout = &mlp.layout;
    let rows = x.len() / layout.inputs();
    let last = layout.layers().len() - 1;
    let [even, odd] = strides(layout);
    let (even, rest) = workspace.split_at_mut(even * rows);
    let (odd, scratch) = rest.split_at_mut(odd * rows);
    let mut banks = [even, odd];
    for place in layout.places() {
        if !layout.is_plain(&place) {
            any_block(mlp, &place, params, x, y, &mut banks, scratch);
            continue;
        }
        let (weights, bias) = place.split(params);
        let (from, to) = opposite(&mut banks, place.index);
        let x =
            if place.index == 0 { Rows::dense(x, place.inputs) } else { section(layout, place.index - 1).rows(from) };
        let to = if place.index == last {
            RowsMut::dense(y, place.outputs)
        } else {
            section(layout, place.index).rows_mut(to)
        };
        kernels::with_bias(mlp.engine, x, weights, bias, place.layer.activation, to, scratch);
    }
    if layout.output_activation() == Activation::Softmax {
        kernels::softmax(mlp.engine.isa, y, layout.outputs());
    }
}

/// A layer of any kind, with all that may follow.
fn any_block(
    mlp: &Mlp<'_>,
    place: &Place<'_>,
    params: &[f32],
    x: &[f32],
    y: &mut [f32],
    banks: &mut [&mut [f32]; 2],
    scratch: &mut [f32],
) {
    let (layout, l, isa) = (&mlp.layout, place.index, mlp.engine.isa);
    let (from, to) = opposite(banks, l);
    let of_inputs = Rows::dense(x, layout.inputs());
    let feed = if l == 0 { of_inputs } else { section(layout, l - 1).rows(from) };
    let last = l + 1 == layout.layers().len();
    let own =
        if last { Section { stride: place.outputs, offset: 0, width: place.outputs } } else { section(layout, l) };
    // Nothing goes back, so the moments of one sample may replace those of another.
    let mut unused = [0.0; 2];
    let moments = RowsMut { data: &mut unused, stride: 0, offset: 0, width: 2 };
    let z = own.rows_mut(if last { &mut *y } else { &mut *to });
    pre_activations(mlp.engine, place, params, feed, z, moments, scratch);
    let source = layout.residual_source(l);
    let activation = place.layer.activation;
    if source.is_none() && activation == Activation::Linear {
        return;
    }
    let follow = Follow { residual: None, activation, kept: None, dropout: None, first_row: 0 };
    if last {
        let residual = source.map(|source| match source {
            Source::Inputs => Addend::Rows(of_inputs),
            Source::Layer(k) => Addend::Rows(section(layout, k).rows(if k % 2 == l % 2 { to } else { from })),
        });
        return kernels::follow(isa, own.rows_mut(y), Follow { residual, ..follow });
    }
    let residual = source.map(|source| match source {
        Source::Inputs => Addend::Rows(of_inputs),
        Source::Layer(k) if k % 2 == l % 2 => Addend::Within(section(layout, k).offset),
        Source::Layer(k) => Addend::Rows(section(layout, k).rows(from)),
    });
    kernels::follow(isa, own.rows_mut(to), Follow { residual, ..follow });
}
