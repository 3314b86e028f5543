//! Activations and their slopes over runs of numbers: one copy of each for an instruction set, whoever has a run.
#![forbid(unsafe_code)]

use super::map::{Function, map_fours};
use crate::Isa;
use crate::activation::Activation;
use crate::parts;
use crate::simd::{Lanes, Simd, dispatch, within};

/// Replaces pre-activations by values. (Not for softmax, which is not element-wise.)
pub(crate) fn activate(isa: Isa, activation: Activation, z: &mut [f32]) {
    dispatch!(isa, s => activate_in(s, activation, z));
}

/// [`activate`] on an instruction set.
#[inline(always)]
pub(super) fn activate_in<S: Simd>(s: S, activation: Activation, z: &mut [f32]) {
    s.outline(
        #[inline(always)]
        |s| {
            activation.seen(
                s,
                #[inline(always)]
                |activation| within!(s => map_fours(s, z, &Value(activation))),
            );
        },
    );
}

/// An activation's value at a pre-activation.
struct Value(Activation);

impl Function for Value {
    #[inline(always)]
    fn at<L: Lanes>(&self, l: L, z: L::Vector) -> L::Vector {
        self.0.value(l, z)
    }
}

/// Multiplies ∂loss/∂values by the slope `at` these, or at the pre-activations where the activation takes it there.
/// (Not for softmax.)
#[inline(always)]
pub(super) fn slopes<S: Simd>(s: S, activation: Activation, delta: &mut [f32], at: &[f32]) {
    s.outline(
        #[inline(always)]
        |s| {
            activation.seen(
                s,
                #[inline(always)]
                |activation| within!(s => slopes_of(s, activation, delta, at)),
            );
        },
    );
}

/// [`slopes`] of an activation that the compiler sees.
#[inline(always)]
fn slopes_of<S: Simd>(s: S, activation: Activation, delta: &mut [f32], at: &[f32]) {
    let at = parts::part(at, 0..delta.len());
    let ((delta, delta_part), (at, at_part)) = (S::chunks_mut(delta), S::chunks(at));
    for (d, at) in delta.iter_mut().zip(at) {
        s.store(activation.delta(s, s.load(d), s.load(at)), d);
    }
    if !delta_part.is_empty() {
        let d = activation.delta(s, s.load_part(delta_part), s.load_part(at_part));
        s.store_part(d, delta_part);
    }
}
