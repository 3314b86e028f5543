//! Initial weights: Glorot, He, LeCun, into a caller's slice.
#![forbid(unsafe_code)]

use crate::error::{Buffer, StepError};
use crate::layer::Kind;
use crate::layout::Layout;
use crate::math;
use crate::rng::Rng;
use crate::simd::Scalar;
use core::ops::Range;

/// How a layer's weights start. Its bias starts at zero.
///
/// With `in` and `out` the layer's inputs and outputs, the variance σ² of a weight is
/// 2/(in + out) for Glorot (Glorot and Bengio 2010; sigmoid, tanh, softmax),
/// 2/in for He (He et al. 2015; the ReLU family) and 1/in for LeCun (LeCun et al. 1998; SELU).
/// The uniform forms draw from −√3·σ to √3·σ, the normal ones from N(0, σ²), not truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Initializer {
    /// Glorot (Xavier), uniform: Keras's default, and ours.
    #[default]
    GlorotUniform,
    /// Glorot (Xavier), normal.
    GlorotNormal,
    /// He (Kaiming), uniform.
    HeUniform,
    /// He (Kaiming), normal.
    HeNormal,
    /// LeCun, uniform.
    LecunUniform,
    /// LeCun, normal.
    LecunNormal,
    /// All zero.
    Zeros,
}

impl Initializer {
    /// (gain, fan) of the variance `gain / fan`, and whether the draw is normal.
    fn variance(self, inputs: usize, outputs: usize) -> Option<(f32, f32, bool)> {
        let (inputs, outputs) = (inputs as f32, outputs as f32);
        match self {
            Self::GlorotUniform => Some((2.0, inputs + outputs, false)),
            Self::GlorotNormal => Some((2.0, inputs + outputs, true)),
            Self::HeUniform => Some((2.0, inputs, false)),
            Self::HeNormal => Some((2.0, inputs, true)),
            Self::LecunUniform => Some((1.0, inputs, false)),
            Self::LecunNormal => Some((1.0, inputs, true)),
            Self::Zeros => None,
        }
    }

    /// Fills a dense layer's weights, or the next of them.
    fn draw<'w>(self, inputs: usize, outputs: usize, rng: &mut Rng, weights: impl Iterator<Item = &'w mut f32>) {
        let Some((gain, fan, normal)) = self.variance(inputs, outputs) else {
            return weights.for_each(|w| *w = 0.0);
        };
        if normal {
            let deviation = libm::sqrtf(gain / fan);
            weights.for_each(|w| *w = deviation * standard_normal(rng));
        } else {
            let limit = libm::sqrtf(3.0 * gain / fan);
            weights.for_each(|w| *w = limit * (2.0 * rng.uniform() - 1.0));
        }
    }
}

/// Fills `params` with the initial parameters of `layout` under `seed`.
///
/// The same seed gives the same parameters on every target: they are computed
/// in portable arithmetic whatever the training runs in. Layer l draws from stream l.
///
/// # Errors
/// [`StepError::Length`] if `params` is not [`Layout::params_len`] long.
pub fn init(layout: &Layout<'_>, seed: u64, params: &mut [f32]) -> Result<(), StepError> {
    StepError::check(Buffer::Parameters, layout.params_len(), params.len())?;
    init_strided::<1>(layout, seed, params);
    Ok(())
}

/// The same for parameters of which one lies every `STRIDE` floats, the length checked by the caller.
pub(crate) fn init_strided<const STRIDE: usize>(layout: &Layout<'_>, seed: u64, params: &mut [f32]) {
    for place in layout.places() {
        let mut rng = Rng::with_stream(seed, place.index as u64);
        let (all, width) = (place.range(), place.inputs);
        match place.layer.kind {
            Kind::Dense { init, by_output, .. } => {
                let weights = place.weights();
                every::<STRIDE>(params, weights.end..all.end).for_each(|b| *b = 0.0);
                if by_output {
                    let start = STRIDE * weights.start;
                    // In the order of the other, so that the same seed gives the same network.
                    let apart = STRIDE * place.inputs.max(1);
                    for i in 0..place.inputs {
                        let column = params.iter_mut().skip(start + STRIDE * i).step_by(apart).take(place.outputs);
                        init.draw(place.inputs, place.outputs, &mut rng, column);
                    }
                } else {
                    init.draw(place.inputs, place.outputs, &mut rng, every::<STRIDE>(params, weights));
                }
            }
            Kind::LayerNorm { .. } | Kind::RmsNorm { .. } | Kind::BatchNorm { .. } => {
                let gamma = all.start..all.start + width;
                every::<STRIDE>(params, gamma.clone()).for_each(|gamma| *gamma = 1.0);
                every::<STRIDE>(params, gamma.end..all.end).for_each(|beta| *beta = 0.0);
            }
            Kind::Embedding { .. } => {
                every::<STRIDE>(params, all).for_each(|w| *w = 0.05 * (2.0 * rng.uniform() - 1.0));
            }
            Kind::Activation | Kind::Normalization => {}
        }
        if matches!(place.layer.kind, Kind::BatchNorm { .. } | Kind::Normalization) {
            // Mean 0, variance or scale 1.
            let start = place.statistics;
            every::<STRIDE>(params, start..start + width).for_each(|mean| *mean = 0.0);
            every::<STRIDE>(params, start + width..start + 2 * width).for_each(|scale| *scale = 1.0);
        }
    }
}

/// The parameters of a range, of which one lies every `STRIDE` floats.
#[inline(always)]
fn every<const STRIDE: usize>(params: &mut [f32], range: Range<usize>) -> impl Iterator<Item = &mut f32> {
    params.iter_mut().skip(STRIDE * range.start).step_by(STRIDE).take(range.len())
}

/// A draw from N(0, 1) by Marsaglia's polar method: of each point in the unit
/// disc, the first coordinate.
fn standard_normal(rng: &mut Rng) -> f32 {
    loop {
        let u = 2.0 * rng.uniform() - 1.0;
        let v = 2.0 * rng.uniform() - 1.0;
        let square = u * u + v * v;
        if square > 0.0 && square < 1.0 {
            let ln = math::ln(Scalar::<false>, square);
            return u * libm::sqrtf(-2.0 * ln / square);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Layer};

    const ALL: [Initializer; 7] = [
        Initializer::GlorotUniform,
        Initializer::GlorotNormal,
        Initializer::HeUniform,
        Initializer::HeNormal,
        Initializer::LecunUniform,
        Initializer::LecunNormal,
        Initializer::Zeros,
    ];

    #[test]
    fn moments_are_those_of_the_papers() {
        const IN: usize = 150;
        const OUT: usize = 250;
        for init_kind in ALL {
            let layers = [Layer::dense(OUT, Activation::Tanh).with_init(init_kind)];
            let layout = Layout::new(IN, &layers).unwrap();
            let mut params = [f32::NAN; (IN + 1) * OUT];
            init(&layout, 42, &mut params).unwrap();
            let (weights, bias) = params.split_at(IN * OUT);
            assert!(bias.iter().all(|&b| b == 0.0));
            let n = weights.len() as f64;
            let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / n;
            let moment = |k: i32| weights.iter().map(|&w| (f64::from(w) - mean).powi(k)).sum::<f64>() / n;
            let expected = match init_kind {
                Initializer::GlorotUniform | Initializer::GlorotNormal => 2.0 / 400.0,
                Initializer::HeUniform | Initializer::HeNormal => 2.0 / 150.0,
                Initializer::LecunUniform | Initializer::LecunNormal => 1.0 / 150.0,
                Initializer::Zeros => 0.0,
            };
            if init_kind == Initializer::Zeros {
                assert!(weights.iter().all(|&w| w == 0.0));
                continue;
            }
            // 37,500 draws: a relative standard error of about 0.7% for the variance.
            approx::assert_relative_eq!(moment(2), expected, max_relative = 0.03);
            assert!(mean.abs() < 5.0 * (expected / n).sqrt());
            // Kurtosis tells a normal (3) from a uniform (9/5).
            let normal = init_kind.variance(1, 1).unwrap().2;
            let kurtosis = moment(4) / moment(2).powi(2);
            approx::assert_relative_eq!(kurtosis, if normal { 3.0 } else { 1.8 }, max_relative = 0.06);
        }
    }

    #[test]
    fn layers_draw_from_streams_of_their_own() {
        let layers = [Layer::dense(8, Activation::Tanh), Layer::dense(8, Activation::Tanh)];
        let layout = Layout::new(8, &layers).unwrap();
        let mut params = [0.0; 144];
        init(&layout, 1, &mut params).unwrap();
        assert_ne!(params[..64], params[72..136]);
        assert_eq!(
            init(&layout, 1, &mut params[1..]),
            Err(StepError::Length { buffer: Buffer::Parameters, expected: 144, found: 143 })
        );
    }
}
