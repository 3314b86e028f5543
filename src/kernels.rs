//! The kernels: safe functions from slices to slices, each run on the
//! instruction set and in the arithmetic of an [`Isa`](crate::Isa). They allocate nothing.
#![forbid(unsafe_code)]

mod activate;
mod ahead;
mod apply;
mod dense_delta;
mod dense_forward;
mod dense_update;
mod dropout;
mod embedding;
mod few;
mod follow;
mod gemm;
mod lean;
mod lean_layers;
mod map;
#[cfg(feature = "alloc")]
mod matrixmultiply;
mod members;
mod narrow;
mod norm;
mod one_lane;
mod one_sample;
mod output;
mod pack;
mod penalty;
mod reduce;
mod rows;
mod single;
mod swapped;
mod tiles;
mod transposed;

pub use dense_delta::dense_delta;
pub use dense_forward::{dense_forward, forward_scratch_len};
pub use dense_update::{dense_update, update_scratch_len};
pub use gemm::product_scratch_len;
pub use map::{
    exp, expm1, gelu, gelu_tanh, hard_sigmoid, hard_swish, ln, mish, sigmoid, silu, softplus, softplus_of_negative,
    softsign, tanh,
};
pub use reduce::{dot, sum};

pub(crate) use activate::activate;
pub(crate) use apply::apply;
pub(crate) use dense_delta::delta;
pub(crate) use dense_forward::{NO_BIAS, forward, with_bias};
pub(crate) use dense_update::{Band, Operands, split_state, update};
pub(crate) use dropout::Dropout;
pub(crate) use embedding::{Embedded, embed, embed_delta, embedding_update};
pub(crate) use follow::{Addend, Back, Follow, add, back, follow};
pub(crate) use lean::{Columns, Gradient, Neurons, layer as lean_layer};
pub(crate) use lean_layers::{Below, LeanKind, Residuals, Values, any_layer as lean_any_layer};
pub(crate) use members::{
    Backward, MemberDropout, Row, members_back, members_backward, members_follow, members_forward, members_penalty,
};
pub(crate) use norm::{
    Affine, Features, approach, feature_moments, feature_norm, feature_norm_delta, feature_sums, sample_norm,
    sample_norm_delta, sample_norm_update, standardize, standardize_delta,
};
pub(crate) use one_lane::{forward as one_lane_forward, layer as one_lane_layer};
pub(crate) use one_lane::{forward_by_output, layer_by_output};
pub(crate) use one_sample::forward as one_sample_forward;
pub(crate) use output::{
    MembersOutput, Output, lean_loss, lean_slope, loss_and_delta, members_loss, members_scratch_len, members_softmax,
    slope, softmax,
};
pub(crate) use penalty::{penalize, penalty};
pub(crate) use rows::{Rows, RowsMut, copy_rows};
pub(crate) use single::{first_layer as single_first_layer, layer as single_layer};

use crate::error::{Buffer, StepError};

/// Rows of a matrix as wide as a layer's outputs; an error unless there are `least` whole ones.
fn rows_of(buffer: Buffer, matrix: &[f32], outputs: usize, least: usize) -> Result<usize, StepError> {
    if outputs == 0 {
        return Err(StepError::NoOutputs);
    }
    let rows = (matrix.len() / outputs).max(least);
    StepError::check(buffer, length(rows, outputs)?, matrix.len())?;
    Ok(rows)
}

/// Samples in `x`; an error if there is none, or a part of one.
pub(crate) const fn batch_of(x: &[f32], width: usize) -> Result<usize, StepError> {
    // A single prediction feels a division. (On a device a width that is known makes it a multiplication, and with two ways
    // to a batch the compiler would no longer see that its samples lie in range.)
    if cfg!(feature = "std") && x.len() == width && width > 0 {
        return Ok(1);
    }
    if width == 0 || x.is_empty() || !x.len().is_multiple_of(width) {
        return Err(StepError::Batch { inputs: width, found: x.len() });
    }
    Ok(x.len() / width)
}

/// `rows · columns`.
pub(crate) const fn length(rows: usize, columns: usize) -> Result<usize, StepError> {
    match rows.checked_mul(columns) {
        Some(length) => Ok(length),
        None => Err(StepError::TooLarge),
    }
}
