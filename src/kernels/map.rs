//! temporary
use crate::simd::{Simd, dispatch};
use crate::{Isa, math};
#[inline(always)]
pub(crate) fn map<S: Simd>(s: S, x: &mut [f32], f: impl Fn(S::Vector) -> S::Vector) {
    let (body, tail) = S::chunks_mut(x);
    for x in body {
        let v = f(s.load(x));
        s.store(v, x);
    }
    if !tail.is_empty() {
        let v = f(s.load_part(tail));
        s.store_part(v, tail);
    }
}
/// exp
pub fn exp(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, s => map(s, x, |v| math::exp(s, v)))
}
/// exp
pub fn ln(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, s => map(s, x, |v| math::ln(s, v)))
}
/// exp
pub fn sigmoid(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, s => map(s, x, |v| math::sigmoid(s, v)))
}
/// exp
pub fn tanh(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, s => map(s, x, |v| math::tanh(s, v)))
}
