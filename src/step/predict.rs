//! Predictions in the batch schedule: a block of samples at a time through all layers.

use super::Mlp;
use super::plan::{LINE, join, odd_lines, opposite, padding, part};
use crate::activation::Activation;
use crate::kernels::{self, BLOCK, PANEL, Rows, RowsMut};
use crate::layout::Layout;

/// Samples that [`predict`] takes through the layers at a time.
const PREDICT_ROWS: usize = 128;

/// Floats of workspace for [`predict`]; `None` if that overflows.
pub(super) const fn workspace_len(layout: &Layout<'_>, batch: usize, threads: usize) -> Option<usize> {
    let Some(share) = predict_share(layout, batch) else { return None };
    let Some(all) = share.checked_mul(threads) else { return None };
    let Some(len) = all.checked_add(LINE) else { return None };
    if len > isize::MAX as usize / 4 { None } else { Some(len) }
}

/// Workspace of one thread: values of two neighbouring layers, and a packed panel.
const fn predict_share(layout: &Layout<'_>, batch: usize) -> Option<usize> {
    let layers = layout.layers();
    let (mut widest, mut inputs, mut l) = (0, layout.inputs(), 0);
    while l + 1 < layers.len() {
        let units = layers[l].units();
        widest = if units > widest { units } else { widest };
        inputs = if units > inputs { units } else { inputs };
        l += 1;
    }
    let rows = if batch < PREDICT_ROWS { batch } else { PREDICT_ROWS };
    let Some(bank) = odd_lines(widest.next_multiple_of(LINE)).checked_mul(rows) else { return None };
    let Some(banks) = bank.checked_mul(2) else { return None };
    banks.checked_add(PANEL * if inputs < BLOCK { inputs } else { BLOCK })
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
    let rows = x.len() / mlp.layout.inputs();
    let last = mlp.layout.layers().len() - 1;
    let widest = mlp.layout.layers()[..last].iter().map(|layer| layer.units()).max().unwrap_or(0);
    let stride = odd_lines(widest.next_multiple_of(LINE));
    let (even, rest) = workspace.split_at_mut(stride * rows);
    let (odd, scratch) = rest.split_at_mut(stride * rows);
    let mut banks = [even, odd];
    for place in mlp.layout.places() {
        let (weights, bias) = place.split(params);
        let (from, to) = opposite(&mut banks, place.index);
        let x = if place.index == 0 {
            Rows::dense(x, place.inputs)
        } else {
            Rows { data: from, stride, offset: 0, width: place.inputs }
        };
        let to = if place.index == last {
            RowsMut::dense(y, place.outputs)
        } else {
            RowsMut { data: to, stride, offset: 0, width: place.outputs }
        };
        kernels::forward(mlp.engine, x, weights, bias, place.activation, to, scratch);
    }
    if mlp.layout.output_activation() == Activation::Softmax {
        kernels::softmax(mlp.engine.isa, y, mlp.layout.outputs());
    }
}
