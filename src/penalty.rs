//! Penalties on weights: L1, L2, and both.
#![forbid(unsafe_code)]

use crate::simd::Simd;

/// What keeps a layer's weights small: `l1·Σ|w| + ½·l2·Σw²` is added to the loss, and so
/// `l1·sign(w) + l2·w` to the gradient of each weight, with sign(0) = 0. The bias is left alone.
///
/// L2 pulls a weight the harder the larger it is; L1 pulls all alike, until they are as good as zero (they
/// step over it and back, within `lr·l1`). The penalty is part of the gradient that the optimizer gets
/// (regularisation): momentum and Adam's moments see it, which is not AdamW's decoupled decay
/// (Loshchilov, Hutter 2019).
///
/// Elsewhere:
///
/// | there | here |
/// |---|---|
/// | PyTorch's `weight_decay=d` of `SGD` and `Adam` (which decays the bias too, and reports the loss without it) | `l2(d)` |
/// | Keras's `kernel_regularizer=l1(a)`, `l2(a)`, `l1_l2(a, b)` | `l1(a)`, `l2(2·a)`, `elastic_net(a, 2·b)` |
/// | scikit-learn's `alpha=a` of `MLPClassifier`, which divides it by the batch size n | `l2(a/n)` |
///
/// ```
/// use microprop::{Isa, Layout, Mlp, init, layout};
///
/// const LAYOUT: Layout = layout!(64 => dense(128, Relu).with_penalty(Penalty::l2(1e-3)), dense(10, Softmax));
/// let mut params = [0.0; LAYOUT.params_len()];
/// init(&LAYOUT, 7, &mut params)?;
/// let half_sum: f32 = params[..64 * 128].iter().map(|w| 0.5 * w * w).sum();
/// let penalty = Mlp::new(LAYOUT, Isa::detect()).penalty(&params)?; // part of every loss
/// assert!((penalty - 1e-3 * half_sum).abs() < 1e-4 * penalty);
/// # Ok::<(), microprop::StepError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalty {
    /// The factor of Σ|w|, finite and not negative.
    pub l1: f32,
    /// The factor of ½·Σw², finite and not negative.
    pub l2: f32,
}

impl Penalty {
    /// None: what a layer has unless it is told otherwise.
    pub const NONE: Self = Self { l1: 0.0, l2: 0.0 };

    /// `l1·Σ|w|` (the lasso; Tibshirani 1996).
    pub const fn l1(l1: f32) -> Self {
        Self { l1, l2: 0.0 }
    }

    /// `½·l2·Σw²` (weight decay, ridge regression).
    pub const fn l2(l2: f32) -> Self {
        Self { l1: 0.0, l2 }
    }

    /// `l1·Σ|w| + ½·l2·Σw²` (the elastic net; Zou, Hastie 2005).
    pub const fn elastic_net(l1: f32, l2: f32) -> Self {
        Self { l1, l2 }
    }

    /// Whether both factors are finite and not negative.
    pub(crate) const fn is_valid(&self) -> bool {
        self.l1 >= 0.0 && self.l1 < f32::INFINITY && self.l2 >= 0.0 && self.l2 < f32::INFINITY
    }

    /// This, unless it is none.
    pub(crate) const fn some(self) -> Option<Self> {
        if self.l1 == 0.0 && self.l2 == 0.0 { None } else { Some(self) }
    }

    /// The gradient of weights `w`, `gradient` without the penalty: `mul_add(l2, w, gradient) + l1·sign(w)`.
    #[inline(always)]
    pub(crate) fn gradient<S: Simd>(self, s: S, gradient: S::Vector, w: S::Vector) -> S::Vector {
        let (zero, l1) = (s.splat(0.0), s.splat(self.l1));
        let below = s.select(s.gt(zero, w), s.neg(l1), zero);
        let signed = s.select(s.gt(w, zero), l1, below);
        s.add(s.mul_add(s.splat(self.l2), w, gradient), signed)
    }
}
