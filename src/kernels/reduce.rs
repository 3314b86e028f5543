//! Sums and dot products in 16 partial sums: element i goes into partial i mod 16,
//! the last group is filled up with zeros, and the partials fold 8-4-2-1.
#![forbid(unsafe_code)]

use crate::error::Buffer;
use crate::parts;
use crate::simd::{Simd, dispatch};
use crate::{Isa, StepError};

/// `Σ x[i]`, in 16 partial sums; +0 for an empty slice. The order of the
/// additions, and so every bit of the result, is the same on every machine.
///
/// ```
/// use microprop::{Isa, kernels};
///
/// assert_eq!(kernels::sum(Isa::detect(), &[1.0; 100]), 100.0);
/// ```
pub fn sum(isa: Isa, x: &[f32]) -> f32 {
    dispatch!(isa, s => sum_in(s, x))
}

/// `Σ x[i]·y[i]`, in 16 partial sums.
///
/// # Errors
/// [`StepError::Length`] if `y` is not as long as `x`.
pub fn dot(isa: Isa, x: &[f32], y: &[f32]) -> Result<f32, StepError> {
    StepError::check(Buffer::Inputs, x.len(), y.len())?;
    Ok(dispatch!(isa, s => dot_in(s, x, y)))
}

#[inline(always)]
pub(crate) fn sum_in<S: Simd>(s: S, x: &[f32]) -> f32 {
    partials(
        s,
        x,
        x,
        #[inline(always)]
        |x, _, sum| s.add(sum, x),
    )
}

#[inline(always)]
pub(crate) fn dot_in<S: Simd>(s: S, x: &[f32], y: &[f32]) -> f32 {
    partials(
        s,
        x,
        y,
        #[inline(always)]
        |x, y, sum| s.mul_add(x, y, sum),
    )
}

/// `Σ (x[i] − mean)²`.
#[inline(always)]
pub(crate) fn squares_in<S: Simd>(s: S, x: &[f32], mean: f32) -> f32 {
    partials_of(
        s,
        [x],
        [mean],
        #[inline(always)]
        |[x], sum| {
            let d = s.sub(x, s.splat(mean));
            s.mul_add(d, d, sum)
        },
    )
}

/// Folds `f(x, y, partial)` over both slices, 16 elements at a time.
#[inline(always)]
pub(crate) fn partials<S: Simd>(
    s: S,
    x: &[f32],
    y: &[f32],
    f: impl Fn(S::Vector, S::Vector, S::Vector) -> S::Vector,
) -> f32 {
    partials_of(
        s,
        [x, y],
        [0.0; 2],
        #[inline(always)]
        |[x, y], sum| f(x, y, sum),
    )
}

/// Folds `f(elements, partial)` over slices of one length, 16 elements at a time, the last
/// group filled up with `filler`.
#[inline(always)]
pub(crate) fn partials_of<S: Simd, const N: usize>(
    s: S,
    slices: [&[f32]; N],
    filler: [f32; N],
    f: impl Fn([S::Vector; N], S::Vector) -> S::Vector,
) -> f32 {
    // 16 / LANES of these are used; the rest vanish in compilation.
    let mut sums = [s.splat(0.0); 16];
    let len = slices[0].len();
    // No `map` over the slices: what a compiler leaves of it in a function of its own has no vectors.
    let mut whole: [&[[f32; 16]]; N] = [&[]; N];
    for n in 0..N {
        whole[n] = slices[n].as_chunks().0;
    }
    let groups = whole[0].len();
    for group in 0..groups {
        let mut of_group = [&[0.0; 16]; N];
        for n in 0..N {
            of_group[n] = parts::chunk(whole[n], group);
        }
        add_group(s, of_group, &mut sums, &f);
    }
    if len > 16 * groups && S::LANES > 4 && filler == [0.0; N] {
        // The vectors of AVX load a part under a mask: a vector of floats that were just copied would be waited for until
        // they have left the core.
        for (v, sum) in sums.iter_mut().take(16 / S::LANES).enumerate() {
            let from = len.min(16 * groups + v * S::LANES);
            let to = len.min(from + S::LANES);
            let mut elements = [s.splat(0.0); N];
            for n in 0..N {
                elements[n] = s.load_part(parts::part(slices[n], from..to));
            }
            *sum = f(elements, *sum);
        }
    } else if len > 16 * groups {
        let mut rest = [[0.0; 16]; N];
        for n in 0..N {
            rest[n] = [filler[n]; 16];
            parts::copy(parts::from(slices[n], 16 * groups), parts::part_mut(&mut rest[n], 0..len - 16 * groups));
        }
        add_group(s, rest.each_ref(), &mut sums, &f);
    }
    s.fold(sums)
}

/// The 16 partial sums in the first 16 / LANES vectors, those 8 apart added and so on down to LANES: a row that
/// [`Simd::fold_rows`] takes.
#[inline(always)]
pub(crate) fn join<S: Simd>(s: S, mut sums: [S::Vector; 16]) -> S::Vector {
    let mut vectors = 16 / S::LANES;
    while vectors > 1 {
        vectors /= 2;
        for v in 0..vectors {
            sums[v] = s.add(sums[v], sums[v + vectors]);
        }
    }
    sums[0]
}

#[expect(clippy::needless_range_loop, reason = "v indexes registers")]
#[inline(always)]
fn add_group<S: Simd, const N: usize>(
    s: S,
    group: [&[f32; 16]; N],
    sums: &mut [S::Vector; 16],
    f: &impl Fn([S::Vector; N], S::Vector) -> S::Vector,
) {
    for v in 0..16 / S::LANES {
        let mut elements = [s.splat(0.0); N];
        for n in 0..N {
            elements[n] = s.load(&S::chunks(group[n]).0[v]);
        }
        sums[v] = f(elements, sums[v]);
    }
}
