//! The one place where an instruction set is chosen.

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
use super::aarch64::Neon;
use super::scalar::Scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::wasm32::Simd128;
#[cfg(target_arch = "x86_64")]
use super::x86_64::{Avx2, Avx512};
use crate::error::IsaError;
use core::fmt;

/// How `a * b + c` rounds. Results differ between the two in the last bits;
/// within one of them they are the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// Once, by a hardware fused multiply-add.
    Fused,
    /// Twice: multiply, then add. Any CPU can do that, down to a Cortex-M0.
    Portable,
}

/// The instruction set and arithmetic that kernels run in: picked once, held by value.
///
/// ```
/// use microprop::{Arithmetic, Isa};
///
/// let best = Isa::detect();
/// let replay = Isa::new(Arithmetic::Portable)?; // what a microcontroller computes, at vector speed
/// println!("{best} and {replay}");
/// # Ok::<(), microprop::IsaError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(pub(crate) Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Scalar(Scalar<false>),
    #[cfg(any(
        feature = "std",
        all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(target_has_atomic = "64"))
    ))]
    ScalarFused(Scalar<true>),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2<false>),
    #[cfg(target_arch = "x86_64")]
    Avx2Fused(Avx2<true>),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512<false>),
    #[cfg(target_arch = "x86_64")]
    Avx512Fused(Avx512<true>),
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    Neon(Neon<false>),
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    NeonFused(Neon<true>),
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128(Simd128),
}

impl Isa {
    /// One lane in portable arithmetic: what a microcontroller runs. Known at compile time.
    pub const SCALAR: Self = Self(Level::Scalar(Scalar));

    /// One lane in fused arithmetic, on a Cortex-M with a single-precision FPU (M4F, M7, M33, M55). Known at compile time.
    ///
    /// Fewer instructions than [`SCALAR`](Self::SCALAR) and the bits of a desktop's fused arithmetic; by Arm's timings for the
    /// Cortex-M4 not fewer cycles, since VFMA takes three, and a multiply and an add two.
    /// With the `std` feature it is there on other targets, too, in software: slow, and for tests.
    #[cfg(any(
        feature = "std",
        all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(target_has_atomic = "64"))
    ))]
    pub const SCALAR_FUSED: Self = Self(Level::ScalarFused(Scalar));

    /// The fastest that this CPU has: fused where its vectors have a fused
    /// multiply-add, else portable.
    pub fn detect() -> Self {
        let fused = Self::widest(Arithmetic::Fused).filter(|isa| !isa.is_scalar_fused());
        fused.or(Self::widest(Arithmetic::Portable)).unwrap_or(Self::SCALAR)
    }

    /// The fastest that this CPU has in `arithmetic`.
    ///
    /// # Errors
    /// [`IsaError::NoFusedMultiplyAdd`] where fused arithmetic is asked for and
    /// the CPU (or, without the `std` feature, the compile target) lacks it.
    pub fn new(arithmetic: Arithmetic) -> Result<Self, IsaError> {
        Self::widest(arithmetic).filter(|isa| !isa.is_software()).ok_or(IsaError::NoFusedMultiplyAdd)
    }

    /// All that this CPU has, in both arithmetics, narrowest first. [`SCALAR_FUSED`](Self::SCALAR_FUSED) is among them
    /// where it is there.
    pub fn available() -> impl Iterator<Item = Self> {
        let all = core::iter::once(Self::SCALAR.0);
        #[cfg(any(
            feature = "std",
            all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(target_has_atomic = "64"))
        ))]
        let all = all.chain([Level::ScalarFused(Scalar)]);
        #[cfg(target_arch = "x86_64")]
        let all = all
            .chain(Avx2::new().map(Level::Avx2))
            .chain(Avx2::new().map(Level::Avx2Fused))
            .chain(Avx512::new().map(Level::Avx512))
            .chain(Avx512::new().map(Level::Avx512Fused));
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        let all = all.chain([Level::Neon(Neon), Level::NeonFused(Neon)]);
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        let all = all.chain([Level::Simd128(Simd128)]);
        all.map(Self)
    }

    /// The arithmetic it computes in.
    pub const fn arithmetic(self) -> Arithmetic {
        match self.0 {
            Level::Scalar(_) => Arithmetic::Portable,
            #[cfg(any(
                feature = "std",
                all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(target_has_atomic = "64"))
            ))]
            Level::ScalarFused(_) => Arithmetic::Fused,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) | Level::Avx512(_) => Arithmetic::Portable,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2Fused(_) | Level::Avx512Fused(_) => Arithmetic::Fused,
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Level::Neon(_) => Arithmetic::Portable,
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Level::NeonFused(_) => Arithmetic::Fused,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Level::Simd128(_) => Arithmetic::Portable,
        }
    }

    /// Its name: `scalar`, `avx2`, `avx512`, `neon` or `simd128`, then `-fused` or `-portable`.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar(_) => "scalar-portable",
            #[cfg(any(
                feature = "std",
                all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(target_has_atomic = "64"))
            ))]
            Level::ScalarFused(_) => "scalar-fused",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "avx2-portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2Fused(_) => "avx2-fused",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => "avx512-portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Fused(_) => "avx512-fused",
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Level::Neon(_) => "neon-portable",
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Level::NeonFused(_) => "neon-fused",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Level::Simd128(_) => "simd128-portable",
        }
    }

    fn widest(arithmetic: Arithmetic) -> Option<Self> {
        Self::available().filter(|isa| isa.arithmetic() == arithmetic).last()
    }

    /// Whether its fused multiply-add is emulated.
    fn is_software(self) -> bool {
        cfg!(feature = "std") && self.is_scalar_fused()
    }

    fn is_scalar_fused(self) -> bool {
        #[cfg(any(
            feature = "std",
            all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(target_has_atomic = "64"))
        ))]
        let found = matches!(self.0, Level::ScalarFused(_));
        #[cfg(not(any(
            feature = "std",
            all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(target_has_atomic = "64"))
        )))]
        let found = false;
        found
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({})", self.name())
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Calls a kernel with the token of an [`Isa`]: `dispatch!(isa, s => kernel(s, …))`.
macro_rules! dispatch {
    ($isa:expr, $s:ident => $call:expr) => {
        match $isa.0 {
            $crate::simd::Level::Scalar($s) => $call,
            #[cfg(any(
                feature = "std",
                all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(target_has_atomic = "64"))
            ))]
            $crate::simd::Level::ScalarFused($s) => $call,
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Level::Avx2(token) => token.run(
                #[inline(always)]
                |$s| $call,
            ),
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Level::Avx2Fused(token) => token.run(
                #[inline(always)]
                |$s| $call,
            ),
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Level::Avx512(token) => token.run(
                #[inline(always)]
                |$s| $call,
            ),
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Level::Avx512Fused(token) => token.run(
                #[inline(always)]
                |$s| $call,
            ),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            $crate::simd::Level::Neon(token) => token.run(
                #[inline(always)]
                |$s| $call,
            ),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            $crate::simd::Level::NeonFused(token) => token.run(
                #[inline(always)]
                |$s| $call,
            ),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            $crate::simd::Level::Simd128(token) => token.run(
                #[inline(always)]
                |$s| $call,
            ),
        }
    };
}
pub(crate) use dispatch;

/// Calls part of a kernel: `apart!(s => part(s, …))`, in [`Simd::part`](crate::simd::Simd::part).
macro_rules! apart {
    ($s:ident => $part:expr) => {
        $s.part(
            #[inline(always)]
            |$s| $part,
        )
    };
}
pub(crate) use apart;

/// Calls the part of a kernel where it spends its time: in it, or without optimisation [`apart!`].
#[cfg(debug_assertions)]
macro_rules! within {
    ($s:ident => $part:expr) => {
        $crate::simd::apart!($s => $part)
    };
}
#[cfg(not(debug_assertions))]
macro_rules! within {
    ($s:ident => $part:expr) => {
        $part
    };
}
pub(crate) use within;

/// Calls what is there for one lane, if that is what the [`Isa`] has, else something else:
/// `on_one_lane!(isa, s => kernel(s, …); kernel_of_many(isa, …))`.
macro_rules! on_one_lane {
    ($isa:expr, $s:ident => $call:expr; $otherwise:expr) => {
        match $isa.0 {
            $crate::simd::Level::Scalar($s) => $call,
            #[cfg(any(
                feature = "std",
                all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(target_has_atomic = "64"))
            ))]
            $crate::simd::Level::ScalarFused($s) => $call,
            #[allow(unreachable_patterns, reason = "some targets have nothing else")]
            _ => $otherwise,
        }
    };
}
pub(crate) use on_one_lane;
