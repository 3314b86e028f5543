//! One register of `f32` lanes, whatever the instruction set.
//!
//! A type that implements [`Simd`] is a token: a value of it exists only where
//! its instructions run, so its methods are safe, and the kernels written over
//! it stand under `forbid(unsafe_code)`. Memory is reached through arrays of
//! `LANES` elements and through slices whose length is checked. What is done lane
//! by lane is in [`Lanes`], which a function of one number asks for: it then runs on
//! [`Four`] registers side by side, too.
//!
//! Each token comes in two arithmetics (WebAssembly's in one). In *fused* arithmetic
//! [`mul_add`](Lanes::mul_add) rounds once, in *portable* arithmetic it
//! multiplies, rounds, and adds: two operations that every CPU has. Nothing
//! else differs between them, and for one arithmetic all tokens give the same
//! bits (NaN payloads aside).

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod aarch64;
mod by_output;
mod columns;
mod four;
mod isa;
mod scalar;
// Of the hard-float ARMs without an operating system, Cortex-M is the profile without 64-bit atomics.
#[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(target_has_atomic = "64")))]
mod vfp;
#[cfg(not(all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(target_has_atomic = "64"))))]
#[path = "simd/without_vfp.rs"]
mod vfp;
mod walk;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm32;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub(crate) use four::Four;
pub use isa::{Arithmetic, Isa};
pub(crate) use isa::{Level, apart, dispatch, on_one_lane, within};
pub(crate) use scalar::Scalar;
pub(crate) use walk::{Strided, rows_at, tile_rows, walk};

/// `f32` lanes, and what is done with each by itself.
///
/// All floating-point operations round to nearest, ties to even, and keep subnormals.
pub(crate) trait Lanes: Copy {
    /// `f32` lanes.
    type Vector: Copy;
    /// `i32` lanes, as many as in `Vector`.
    type Ints: Copy;
    /// One truth value per lane.
    type Mask: Copy;

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::Vector;
    /// `a + b`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a - b`.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b`.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a / b`, correctly rounded.
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`: rounded once in fused arithmetic, twice in portable.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// √a, correctly rounded.
    fn sqrt(self, a: Self::Vector) -> Self::Vector;
    /// `-a`: flips the sign bit.
    fn neg(self, a: Self::Vector) -> Self::Vector;
    /// `|a|`: clears the sign bit.
    fn abs(self, a: Self::Vector) -> Self::Vector;
    /// `if a > b { a } else { b }`: the second when either is NaN or both are zero.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `if a < b { a } else { b }`: the second when either is NaN or both are zero.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a > b`; false where either is NaN.
    fn gt(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;
    /// `if mask { a } else { b }`.
    fn select(self, mask: Self::Mask, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// The bits of each lane.
    fn to_bits(self, a: Self::Vector) -> Self::Ints;
    /// The lanes that have these bits.
    #[expect(clippy::wrong_self_convention, reason = "the token comes first, as in every operation")]
    fn from_bits(self, a: Self::Ints) -> Self::Vector;
    /// `x` in every lane.
    fn splat_int(self, x: i32) -> Self::Ints;
    /// `a - b`, wrapping.
    fn sub_int(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a & b`.
    fn and_int(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a | b`.
    fn or_int(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a << 23`: an integer into the exponent's place.
    fn shl23(self, a: Self::Ints) -> Self::Ints;
    /// `a >> 23`, sign-extending: the exponent's place into an integer.
    fn shr23(self, a: Self::Ints) -> Self::Ints;
    /// Each integer as an `f32`, rounded to nearest.
    fn int_to_float(self, a: Self::Ints) -> Self::Vector;
}

/// [`Lanes`] of one register: how they get there from memory and back, and what is done with several of them.
pub(crate) trait Simd: Lanes + Send + Sync {
    /// Number of lanes: a power of two, at most 16.
    const LANES: usize;
    /// Rows of a GEMM tile that is [`TILE_VECTORS`](Self::TILE_VECTORS) wide: what the registers hold
    /// beside the vectors of B and one of A.
    const TILE_ROWS: usize;
    /// Vectors of a tile of so many rows side by side: 2, or 3 where there are registers for them.
    const TILE_VECTORS: usize;
    /// `[f32; LANES]`: what a `Vector` is loaded from and stored to.
    type Array: Copy + AsRef<[f32]> + AsMut<[f32]>;

    /// Runs `f` in a function of its own, compiled for this instruction set: for
    /// what is called from many places and need not be inlined into each.
    ///
    /// As it stands here, for one whose instructions the whole program has.
    #[inline(never)]
    fn outline<R>(self, f: impl FnOnce(Self) -> R) -> R {
        f(self)
    }

    /// Runs `f` in a function that is compiled by itself before it is inlined where it is called. Many passes of a compiler
    /// take a time that grows with the square of a function: a kernel with tiles of all sizes is made of parts.
    /// Without optimisation it stays a function, as the variables of all of them would overflow the stack.
    #[cfg_attr(debug_assertions, inline(never))]
    #[cfg_attr(not(debug_assertions), inline)]
    fn part<R>(self, f: impl FnOnce(Self) -> R) -> R {
        f(self)
    }

    /// Splits `x` into whole arrays and the rest.
    fn chunks(x: &[f32]) -> (&[Self::Array], &[f32]);
    /// Splits `x` into whole arrays and the rest, mutably.
    fn chunks_mut(x: &mut [f32]) -> (&mut [Self::Array], &mut [f32]);

    /// Asks for the start of `x` to be brought into the cache. It changes no result.
    fn prefetch(self, x: &[f32]);

    /// The lanes of `x`.
    fn load(self, x: &Self::Array) -> Self::Vector;
    /// Writes all lanes.
    fn store(self, v: Self::Vector, to: &mut Self::Array);
    /// The first `x.len()` lanes from `x`, the others +0; `x` has at most `LANES` elements.
    fn load_part(self, x: &[f32]) -> Self::Vector;
    /// Writes the first `to.len()` lanes; `to` has at most `LANES` elements.
    fn store_part(self, v: Self::Vector, to: &mut [f32]);
    /// As [`store_part`](Simd::store_part), where what lies beside `to` is read soon: in an update in place.
    #[inline(always)]
    fn store_part_in_place(self, v: Self::Vector, to: &mut [f32]) {
        self.store_part(v, to);
    }

    /// The first lane.
    fn first(self, v: Self::Vector) -> f32;
    /// Adds 16 partial sums, which lie in the first `16 / LANES` vectors, in the order of [`fold16`].
    fn fold(self, sums: [Self::Vector; 16]) -> f32;
    /// Lane r: the lanes of `rows[r]` joined by `f`, those LANES / 2 apart, then those half as far, down to 1. The
    /// first LANES rows are used.
    fn fold_rows(
        self,
        rows: [Self::Vector; 16],
        f: impl Fn(Self::Vector, Self::Vector) -> Self::Vector,
    ) -> Self::Vector;

    /// Rows to columns: lane r of vector c is lane c of `rows[r]`. The first LANES rows are used and given.
    fn transpose(self, rows: [Self::Vector; 16]) -> [Self::Vector; 16];
}

/// Adds 16 partial sums in the fixed order 8-4-2-1: `p[i] + p[i+8]`, then 4, 2, 1 apart.
#[inline(always)]
pub(crate) fn fold16(mut p: [f32; 16]) -> f32 {
    for i in 0..8 {
        p[i] += p[i + 8];
    }
    for i in 0..4 {
        p[i] += p[i + 4];
    }
    (p[0] + p[2]) + (p[1] + p[3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    /// Zeros, the smallest and the largest numbers, what is not one, and numbers whose products round.
    const NUMBERS: [f32; 13] = [
        0.0,
        -0.0,
        f32::from_bits(1),
        -1.1e-38,
        1.0e-20,
        -0.3,
        1.0,
        1.000_000_1,
        -8_388_609.0,
        f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];

    fn same(a: f32, b: f32) -> bool {
        a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
    }

    /// Each operation on all triples of [`NUMBERS`]: each lane gives what `one` gives.
    #[inline(always)]
    fn lanes_agree<S: Simd>(s: S, one: impl Simd<Vector = f32, Ints = i32, Mask = bool>) {
        let count = NUMBERS.len();
        for from in (0..count.pow(3)).step_by(S::LANES) {
            let digit = |place: usize| core::array::from_fn(|lane| NUMBERS[(from + lane) / place % count]);
            let operands: [[f32; 16]; 3] = [digit(1), digit(count), digit(count * count)];
            let load = |x: &[f32; 16]| s.load(&S::chunks(x).0[0]);
            macro_rules! agree {
                ($(|$s:ident, $($x:ident),+| $result:expr;)+) => {$({
                    let mut each = operands.each_ref().map(load).into_iter();
                    let $s = s;
                    $(let $x = each.next().unwrap();)+
                    let mut found = [0.0; 16];
                    s.store($result, &mut S::chunks_mut(&mut found).0[0]);
                    for lane in 0..S::LANES {
                        let x = operands.map(|x| x[lane]);
                        let mut each = x.into_iter();
                        let $s = one;
                        $(let $x = each.next().unwrap();)+
                        let (found, expected) = (found[lane], $result);
                        assert!(same(found, expected), "{}: {found:e}, not {expected:e}, of {x:?}", stringify!($result));
                    }
                })+};
            }
            agree! {
                |s, a, b| s.add(a, b);
                |s, a, b| s.sub(a, b);
                |s, a, b| s.mul(a, b);
                |s, a, b| s.div(a, b);
                |s, a, b, c| s.mul_add(a, b, c);
                |s, a| s.sqrt(a);
                |s, a| s.neg(a);
                |s, a| s.abs(a);
                |s, a, b| s.max(a, b);
                |s, a, b| s.min(a, b);
                |s, a, b, c| s.select(s.gt(a, b), c, a);
                |s, a, b| s.select(s.gt(a, b), s.splat(-0.3), b);
                |s, a, b| s.from_bits(s.sub_int(s.to_bits(a), s.to_bits(b)));
                |s, a, b| s.from_bits(s.and_int(s.to_bits(a), s.to_bits(b)));
                |s, a, b| s.from_bits(s.or_int(s.to_bits(a), s.to_bits(b)));
                |s, a| s.from_bits(s.shl23(s.to_bits(a)));
                |s, a| s.from_bits(s.shr23(s.to_bits(a)));
                |s, a| s.int_to_float(s.to_bits(a));
                |s, a| s.from_bits(s.or_int(s.to_bits(a), s.splat_int(1 << 22)));
            }
        }
    }

    /// Parts of each length read and write their elements, and no others.
    #[inline(always)]
    fn parts_are_parts<S: Simd>(s: S) {
        let x: [f32; 18] = core::array::from_fn(|i| i as f32 + 1.0);
        for len in 0..=S::LANES {
            let mut read = [f32::NAN; 16];
            s.store(s.load_part(&x[1..1 + len]), &mut S::chunks_mut(&mut read).0[0]);
            let mut written = [-1.0; 18];
            s.store_part(s.load(&S::chunks(&x).0[0]), &mut written[1..1 + len]);
            let mut in_place = [-1.0; 18];
            s.store_part_in_place(s.load(&S::chunks(&x).0[0]), &mut in_place[1..1 + len]);
            assert_eq!(in_place, written, "{len}");
            for lane in 0..S::LANES {
                assert_eq!(read[lane].to_bits(), if lane < len { x[1 + lane] } else { 0.0 }.to_bits(), "{len}, {lane}");
            }
            for (i, found) in written.into_iter().enumerate() {
                assert_eq!(found, if (1..1 + len).contains(&i) { x[i - 1] } else { -1.0 }, "{len}, {i}");
            }
        }
    }

    /// The order of [`fold16`]; another one gives other bits.
    #[inline(always)]
    fn folds_agree<S: Simd>(s: S) {
        let rng = &mut Rng::new(1);
        for _ in 0..100 {
            let partials: [f32; 16] = core::array::from_fn(|_| (rng.uniform() - 0.5) / (rng.uniform() + 0.1));
            let mut sums = [s.splat(f32::NAN); 16];
            for (sum, partials) in sums.iter_mut().zip(S::chunks(&partials).0) {
                *sum = s.load(partials);
            }
            assert_eq!(s.fold(sums).to_bits(), fold16(partials).to_bits());
        }
    }

    /// Rows fold in the order of [`fold16`], where the partials that a vector lacks are zeros, and change places with columns.
    #[inline(always)]
    fn rows_agree<S: Simd>(s: S) {
        let rng = &mut Rng::new(2);
        for _ in 0..100 {
            let numbers: [[f32; 16]; 16] =
                core::array::from_fn(|_| core::array::from_fn(|_| (rng.uniform() - 0.5) / (rng.uniform() + 0.1)));
            let mut rows = [s.splat(f32::NAN); 16];
            for (row, numbers) in rows.iter_mut().zip(&numbers).take(S::LANES) {
                *row = s.load(&S::chunks(numbers).0[0]);
            }
            let (mut sums, mut largest) = ([0.0; 16], [0.0; 16]);
            s.store(s.fold_rows(rows, |a, b| s.add(a, b)), &mut S::chunks_mut(&mut sums).0[0]);
            s.store(s.fold_rows(rows, |a, b| s.max(a, b)), &mut S::chunks_mut(&mut largest).0[0]);
            for (r, row) in numbers.iter().enumerate().take(S::LANES) {
                let row = &row[..S::LANES];
                let mut partials = [0.0; 16];
                partials[..S::LANES].copy_from_slice(row);
                assert_eq!(sums[r].to_bits(), fold16(partials).to_bits(), "sum {r}");
                assert_eq!(largest[r], row.iter().copied().fold(f32::NEG_INFINITY, f32::max), "largest {r}");
            }
            for (c, column) in s.transpose(rows).into_iter().enumerate().take(S::LANES) {
                let mut found = [0.0; 16];
                s.store(column, &mut S::chunks_mut(&mut found).0[0]);
                for r in 0..S::LANES {
                    assert_eq!(found[r].to_bits(), numbers[r][c].to_bits(), "row {r}, column {c}");
                }
            }
        }
    }

    #[test]
    fn every_operation_is_that_of_one_lane() {
        for isa in Isa::available() {
            println!("{isa}");
            match isa.arithmetic() {
                Arithmetic::Portable => dispatch!(isa, s => lanes_agree(s, Scalar::<false>)),
                Arithmetic::Fused => dispatch!(isa, s => lanes_agree(s, Scalar::<true>)),
            }
            dispatch!(isa, s => parts_are_parts(s));
            dispatch!(isa, s => folds_agree(s));
            dispatch!(isa, s => rows_agree(s));
        }
    }

    /// Of zeros, subnormals, numbers of all sizes, infinities and NaNs, beside one another and among their like.
    #[test]
    fn a_root_is_rounded_once() {
        #[inline(always)]
        fn roots<S: Simd>(s: S, of: &[f32; 16]) -> [f32; 16] {
            let mut roots = *of;
            for x in S::chunks_mut(&mut roots).0 {
                let root = s.sqrt(s.load(x));
                s.store(root, x);
            }
            roots
        }
        let borders = [0, 0x0d7f_fff8, 0x7f7f_fff8, 0xffff_fff8].map(|first| (first, 1));
        let all = (0_u32..1 << 31).step_by(65_537).flat_map(|first| [(first, 0), (first, 0x1000_0001)]);
        for (first, step) in borders.into_iter().chain(all) {
            let of = core::array::from_fn(|lane| f32::from_bits((lane as u32).wrapping_mul(step).wrapping_add(first)));
            for isa in Isa::available() {
                for (found, x) in dispatch!(isa, s => roots(s, &of)).into_iter().zip(of) {
                    assert!(same(found, x.sqrt()), "{isa}: √{x:e} is not {found:e}");
                }
            }
        }
    }

    #[cfg(panic = "unwind")]
    #[test]
    fn a_part_longer_than_the_vector_is_refused() {
        fn is_refused(isa: Isa, part: fn(Isa)) {
            let lanes = dispatch!(isa, s => lanes_of(s));
            assert!(lanes == 1 || std::panic::catch_unwind(|| part(isa)).is_err(), "{isa}");
        }
        fn lanes_of<S: Simd>(_: S) -> usize {
            S::LANES
        }
        #[inline(always)]
        fn load<S: Simd>(s: S) {
            s.store(s.load_part(&[1.0; 17][..S::LANES + 1]), &mut S::chunks_mut(&mut [0.0; 16]).0[0]);
        }
        #[inline(always)]
        fn store<S: Simd>(s: S) {
            s.store_part(s.splat(1.0), &mut [0.0; 17][..S::LANES + 1]);
        }
        #[inline(always)]
        fn store_in_place<S: Simd>(s: S) {
            s.store_part_in_place(s.splat(1.0), &mut [0.0; 17][..S::LANES + 1]);
        }
        for isa in Isa::available() {
            is_refused(isa, |isa| dispatch!(isa, s => load(s)));
            is_refused(isa, |isa| dispatch!(isa, s => store(s)));
            is_refused(isa, |isa| dispatch!(isa, s => store_in_place(s)));
        }
    }
}
