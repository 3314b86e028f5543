//! temporary
use crate::simd::Simd;
fn each<S: Simd>(s: S, x: S::Vector, f: impl Fn(f32) -> f32) -> S::Vector {
    let mut a = [0.0f32; 16];
    s.store(x, &mut S::chunks_mut(&mut a).0[0]);
    for v in &mut a {
        *v = f(*v);
    }
    s.load(&S::chunks(&a).0[0])
}
pub(crate) fn exp<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    each(s, x, libm::expf)
}
pub(crate) fn ln<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    each(s, x, libm::logf)
}
pub(crate) fn tanh<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    each(s, x, libm::tanhf)
}
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    each(s, x, |x| 1.0 / (1.0 + libm::expf(-x)))
}
pub(crate) fn softplus_tail<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    each(s, x, |x| libm::log1pf(libm::expf(-x)))
}
