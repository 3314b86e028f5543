//! A dense layer, forward and backward, for one sample on one lane: what a microcontroller runs.
//!
//! The same sums as in [`dense_forward`](super::dense_forward) and [`lean`](super::lean), in loops cut for a
//! CPU without vectors.
#![forbid(unsafe_code)]

use super::dense_forward::has_own_pass;
use super::lean::{Columns, Gradient, Neurons};
use super::narrow::NARROW;
use super::rows::BLOCK;
use crate::activation::{Activation, Activations};
use crate::optimizer::{AdamScalars, Rule};
use crate::parts;
use crate::simd::{Lanes, Scalar, Simd};

/// `y = activation(x·W + b)`, for some columns of W, one at least. Softmax is left to the caller.
#[inline(always)]
pub(crate) fn forward<const FUSED: bool>(
    s: Scalar<FUSED>,
    x: &[f32],
    Columns { weights, width, first }: Columns<'_>,
    bias: &[f32],
    activation: Activation,
    among: Activations,
    y: &mut [f32],
) {
    if width == 1 {
        if let Some(y) = y.first_mut() {
            *y = s.dot(x, weights);
        }
    } else {
        // A block of inputs, to sums from a column on.
        let sums = |begin: usize, column: usize, sums: &mut [f32]| {
            let Some(x) = x.get(begin..x.len().min(begin + BLOCK)) else { return };
            let Some(weights) = weights.get(begin * width + first + column..) else { return };
            match width {
                ..=NARROW => s.four_chain_sums(x, weights, width, sums),
                _ => s.column_sums(x, weights, width, sums),
            }
        };
        in_blocks(x.len(), y, sums);
    }
    finish(s, bias, activation, among, y);
}

/// Sums over all terms, block after block: `sums(begin, first, to)` are those of a block that begins at term `begin`, of the outputs
/// from `first` on.
#[inline(always)]
fn in_blocks(terms: usize, y: &mut [f32], sums: impl Fn(usize, usize, &mut [f32])) {
    sums(0, 0, y);
    for begin in (BLOCK..terms).step_by(BLOCK) {
        for (part, y) in y.chunks_mut(NARROW).enumerate() {
            let mut more = [0.0; NARROW];
            let more = parts::part_mut(&mut more, 0..y.len());
            sums(begin, NARROW * part, more);
            for (y, &more) in y.iter_mut().zip(&*more) {
                *y += more;
            }
        }
    }
}

/// Bias and activation.
#[inline(always)]
fn finish<const FUSED: bool>(
    s: Scalar<FUSED>,
    bias: &[f32],
    activation: Activation,
    among: Activations,
    y: &mut [f32],
) {
    s.add_bias(y, bias, activation == Activation::Relu);
    if has_own_pass(activation) {
        let activation = among.known(activation);
        for y in y {
            *y = activation.value(s, *y);
        }
    }
}

/// As [`forward`], of weights that are stored by output: `weights: [y.len() × x.len()]`, rows of a layer of `width` outputs.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as `forward`, which has three of them in one")]
pub(crate) fn forward_by_output<const FUSED: bool>(
    s: Scalar<FUSED>,
    x: &[f32],
    weights: &[f32],
    width: usize,
    bias: &[f32],
    activation: Activation,
    among: Activations,
    y: &mut [f32],
) {
    if activation == Activation::Relu && width > NARROW && x.len() <= BLOCK {
        s.row_sums_relu(x, weights, x.len(), bias, y);
    } else {
        sums_by_output(s, x, weights, width, y);
        finish(s, bias, activation, among, y);
    }
}

/// The sums of [`forward_by_output`].
#[inline(never)]
fn sums_by_output<const FUSED: bool>(s: Scalar<FUSED>, x: &[f32], weights: &[f32], width: usize, y: &mut [f32]) {
    if width == 1 {
        if let Some(y) = y.first_mut() {
            *y = s.dot(x, weights);
        }
    } else {
        // A block of inputs, to sums from an output on.
        let sums = |begin: usize, output: usize, sums: &mut [f32]| {
            let Some(weights) = weights.get(output * x.len() + begin..) else { return };
            let Some(block) = x.get(begin..x.len().min(begin + BLOCK)) else { return };
            match width {
                ..=NARROW => s.row_four_chain_sums(block, weights, x.len(), sums),
                _ => s.row_sums(block, weights, x.len(), sums),
            }
        };
        in_blocks(x.len(), y, sums);
    }
}

/// Some outputs of a layer backwards whose weights are stored by output: of `delta`, and behind their rows of weights, if the
/// gradient has so many parameters, the bias of the outputs `all`. What is wanted below goes to `below`: it is then of the whole layer.
#[inline(always)]
pub(crate) fn layer_by_output<const FUSED: bool>(
    s: Scalar<FUSED>,
    delta: &[f32],
    all: &[f32],
    x: &[f32],
    below: Option<&mut [f32]>,
    gradient: Gradient<'_>,
) {
    if let Some(below) = below {
        delta_by_output(s, delta, gradient.params(), below);
    }
    match gradient {
        Gradient::Apply(Rule::Sgd { minus_rate }, params, _) => sgd_by_output(s, delta, all, x, minus_rate, params),
        Gradient::Apply(Rule::Adam(rule), params, state) => {
            adam_by_output(s, delta, all, x, &rule, params, state);
        }
        gradient => any_rule_by_output(s, delta, all, x, gradient),
    }
}

/// What is wanted below: sixteen partial sums down each column.
#[inline(never)]
fn delta_by_output<const FUSED: bool>(s: Scalar<FUSED>, delta: &[f32], weights: &[f32], below: &mut [f32]) {
    let inputs = below.len();
    for (i, below) in below.iter_mut().enumerate() {
        let mut sums = [0.0; 16];
        for (j, &delta) in delta.iter().enumerate() {
            let w = parts::element(weights, j * inputs + i);
            sums[j % 16] = s.mul_add(w, delta, sums[j % 16]);
        }
        *below = s.fold(sums);
    }
}

#[inline(never)]
fn sgd_by_output<const FUSED: bool>(
    s: Scalar<FUSED>,
    delta: &[f32],
    all: &[f32],
    x: &[f32],
    minus_rate: f32,
    params: &mut [f32],
) {
    let Some((weights, bias)) = params.split_at_mut_checked(delta.len() * x.len()) else { return };
    s.update_rows_by_output(x, minus_rate, delta, weights);
    if !bias.is_empty() {
        s.add_scaled(minus_rate, all, bias);
    }
}

#[inline(never)]
fn adam_by_output<const FUSED: bool>(
    s: Scalar<FUSED>,
    delta: &[f32],
    all: &[f32],
    x: &[f32],
    rule: &AdamScalars,
    params: &mut [f32],
    [m, v]: [&mut [f32]; 2],
) {
    let split = [params, m, v].map(|part| part.split_at_mut_checked(delta.len() * x.len()));
    let [Some((params, bias)), Some((m, bias_m)), Some((v, bias_v))] = split else { return };
    if !params.is_empty() {
        s.adam(rule, delta, x, params, m, v);
    }
    if !bias.is_empty() {
        s.adam(rule, &[1.0], all, bias, bias_m, bias_v);
    }
}

/// Whatever becomes of the gradient.
#[inline(never)]
fn any_rule_by_output<const FUSED: bool>(
    s: Scalar<FUSED>,
    delta: &[f32],
    all: &[f32],
    x: &[f32],
    mut gradient: Gradient<'_>,
) {
    for (j, &delta) in delta.iter().enumerate() {
        gradient.row(s, x, j, delta, None);
    }
    let weights = delta.len() * x.len();
    if gradient.params().len() > weights {
        bias_by_output(s, all, weights, gradient);
    }
}

/// The bias behind `weights` parameters.
fn bias_by_output<const FUSED: bool>(s: Scalar<FUSED>, delta: &[f32], weights: usize, gradient: Gradient<'_>) {
    let mut gradient = match gradient {
        Gradient::Apply(rule, params, state) => {
            let [first, second] = state.map(|state| parts::from_mut(state, weights.min(state.len())));
            Gradient::Apply(rule, parts::from_mut(params, weights), [first, second])
        }
        Gradient::Add(params, sums) => Gradient::Add(parts::from(params, weights), parts::from_mut(sums, weights)),
    };
    gradient.row(s, delta, 0, 1.0, None);
}

/// A layer backwards: see [`lean::layer`](super::lean::layer).
#[inline(always)]
pub(crate) fn layer<const FUSED: bool>(
    s: Scalar<FUSED>,
    delta: &[f32],
    neurons: Neurons<'_>,
    among: Activations,
    gradient: Gradient<'_>,
) {
    match gradient {
        Gradient::Apply(Rule::Sgd { minus_rate }, params, _) => match neurons {
            Neurons::Inputs(x) => sgd_of_inputs(s, delta, x, minus_rate, params),
            neurons => sgd(s, delta, neurons, among, minus_rate, params),
        },
        Gradient::Apply(Rule::Adam(rule), params, state) => match neurons {
            Neurons::Inputs(x) => adam_of_inputs(s, delta, x, &rule, params, state),
            neurons => adam(s, delta, neurons, among, &rule, params, state),
        },
        gradient => any_rule(s, delta, neurons, among, gradient),
    }
}

/// Whatever becomes of the gradient.
#[inline(never)]
fn any_rule<const FUSED: bool>(
    s: Scalar<FUSED>,
    delta: &[f32],
    neurons: Neurons<'_>,
    among: Activations,
    mut gradient: Gradient<'_>,
) {
    let inputs = neurons.count();
    over_rows(
        s,
        neurons,
        among,
        #[inline(always)]
        |i, x, wanted| {
            let w = parts::span(gradient.params(), i * delta.len(), delta.len());
            let dot = if wanted { s.dot(w, delta) } else { 0.0 };
            gradient.row(s, delta, i, x, None);
            dot
        },
    );
    if gradient.has_bias(inputs, delta) {
        gradient.row(s, delta, inputs, 1.0, None);
    }
}

/// Adam, where nothing is wanted below.
#[inline(never)]
fn adam_of_inputs<const FUSED: bool>(
    s: Scalar<FUSED>,
    delta: &[f32],
    x: &[f32],
    rule: &AdamScalars,
    params: &mut [f32],
    state: [&mut [f32]; 2],
) {
    let weights = x.len() * delta.len();
    let [m, v] = state;
    let split = [params, m, v].map(|all| all.split_at_mut_checked(weights));
    let [Some((params, bias)), Some((m, bias_m)), Some((v, bias_v))] = split else { return };
    s.adam(rule, x, delta, params, m, v);
    if !bias.is_empty() {
        s.adam(rule, &[1.0], delta, bias, bias_m, bias_v);
    }
}

/// Adam, and what is passed on below.
#[inline(never)]
fn adam<const FUSED: bool>(
    s: Scalar<FUSED>,
    delta: &[f32],
    neurons: Neurons<'_>,
    among: Activations,
    rule: &AdamScalars,
    params: &mut [f32],
    [m, v]: [&mut [f32]; 2],
) {
    let width = delta.len();
    let weights = neurons.count() * width;
    let split = [params, m, v].map(|all| all.split_at_mut_checked(weights));
    let [Some((params, bias)), Some((m, bias_m)), Some((v, bias_v))] = split else { return };
    match neurons {
        // These have a function of their own.
        Neurons::Inputs(_) => {}
        Neurons::Below(values, Activation::Relu) => s.adam_relu_rows(rule, values, delta, [params, m, v]),
        neurons => adam_by_some(s, delta, neurons, among, rule, [params, m, v]),
    }
    if !bias.is_empty() {
        s.adam(rule, &[1.0], delta, bias, bias_m, bias_v);
    }
}

/// Adam's step for rows some at a time, whose products wait meanwhile.
#[inline(never)]
fn adam_by_some<const FUSED: bool>(
    s: Scalar<FUSED>,
    delta: &[f32],
    neurons: Neurons<'_>,
    among: Activations,
    rule: &AdamScalars,
    [params, m, v]: [&mut [f32]; 3],
) {
    let width = delta.len();
    let mut products = [0.0; ROWS];
    let mut update = |first: usize, x: &[f32], products: &mut [f32; ROWS]| {
        let rows = first * width..(first + x.len()) * width;
        let Some(w) = params.get_mut(rows.clone()) else { return };
        let (Some(m), Some(v)) = (m.get_mut(rows.clone()), v.get_mut(rows)) else { return };
        s.adam_rows(rule, x, delta, [w, m, v], products);
    };
    match neurons {
        Neurons::Inputs(_) => {}
        Neurons::InputsAndDelta(x, below) => {
            for (index, (x, below)) in x.chunks(ROWS).zip(below.chunks_mut(ROWS)).enumerate() {
                update(index * ROWS, x, &mut products);
                for (below, &product) in below.iter_mut().zip(&products) {
                    *below = product;
                }
            }
        }
        Neurons::Below(values, activation) => {
            let activation = among.known(activation);
            for (index, values) in values.chunks_mut(ROWS).enumerate() {
                update(index * ROWS, values, &mut products);
                for (value, &product) in values.iter_mut().zip(&products) {
                    *value = activation.delta(s, product, *value);
                }
            }
        }
    }
}

/// How many rows' products with the delta wait, on the stack, until these rows have been updated.
const ROWS: usize = 16;

/// Plain gradient descent, in which an input of ±0 leaves its row alone: part of the arithmetic, not only a shortcut. This
/// is where nothing is wanted below.
#[inline(never)]
fn sgd_of_inputs<const FUSED: bool>(s: Scalar<FUSED>, delta: &[f32], x: &[f32], minus_rate: f32, params: &mut [f32]) {
    let Some((weights, bias)) = params.split_at_mut_checked(x.len() * delta.len()) else { return };
    s.update_rows(x, minus_rate, delta, weights, bias);
}

/// As [`sgd_of_inputs`], and what is passed on below.
// Inlined, sizes are constants and a Cortex-M needs less stack; RISC-V runs out of registers.
#[cfg_attr(not(target_arch = "arm"), inline(never))]
fn sgd<const FUSED: bool>(
    s: Scalar<FUSED>,
    delta: &[f32],
    neurons: Neurons<'_>,
    among: Activations,
    minus_rate: f32,
    params: &mut [f32],
) {
    let width = delta.len();
    let Some((weights, bias)) = params.split_at_mut_checked(neurons.count() * width) else { return };
    match neurons {
        // These have a function of their own.
        Neurons::Inputs(_) => return,
        Neurons::Below(values, Activation::Relu) if width == 1 => {
            s.one_output_relu(values, minus_rate, parts::element(delta, 0), weights);
        }
        Neurons::Below(values, Activation::Relu) => s.relu_rows(values, minus_rate, delta, weights),
        neurons if width > 0 => {
            let mut rows = weights.chunks_exact_mut(width);
            over_rows(
                s,
                neurons,
                among,
                #[inline(always)]
                |_, x, wanted| {
                    let Some(w) = rows.next() else { return 0.0 };
                    let dot = if wanted { s.dot(w, delta) } else { 0.0 };
                    if x != 0.0 {
                        s.add_scaled(minus_rate * x, delta, w);
                    }
                    dot
                },
            );
        }
        _ => return,
    }
    if !bias.is_empty() {
        s.add_scaled(minus_rate, delta, bias);
    }
}

/// Passes each row's dot product with the delta on below. `row` gives it, of the row's index, its input, and whether the
/// product matters, and updates the row.
#[inline(always)]
fn over_rows<const FUSED: bool>(
    s: Scalar<FUSED>,
    neurons: Neurons<'_>,
    among: Activations,
    mut row: impl FnMut(usize, f32, bool) -> f32,
) {
    match neurons {
        Neurons::Inputs(x) => {
            for (i, &x) in x.iter().enumerate() {
                row(i, x, false);
            }
        }
        Neurons::InputsAndDelta(x, below) => {
            for (i, (&x, below)) in x.iter().zip(below).enumerate() {
                *below = row(i, x, true);
            }
        }
        Neurons::Below(values, Activation::Relu) => {
            for (i, value) in values.iter_mut().enumerate() {
                // A slope of zero makes +0 of whatever the product is.
                let above = *value > 0.0;
                let dot = row(i, *value, above);
                *value = if above { dot } else { 0.0 };
            }
        }
        Neurons::Below(values, activation) => {
            let activation = among.known(activation);
            for (i, value) in values.iter_mut().enumerate() {
                let y = *value;
                *value = activation.delta(s, row(i, y, true), y);
            }
        }
    }
}
