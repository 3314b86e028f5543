//! The normalisation of inputs, adapted to data.
#![forbid(unsafe_code)]

use crate::error::{Buffer, StepError};
use crate::kernels;
use crate::layer::Kind;
use crate::layout::Layout;

/// Adapts the normalisation that `layout` begins with to the samples `x: [samples × inputs]`: each input will have mean
/// 0 and (biased) variance 1 over them. An input that is constant keeps its scale, and so do mean and scale of
/// those that an embedding takes for categories.
///
/// `params`: [`Layout::params_len`]. Sums are in `f64`, so the order of magnitude of the inputs does not matter.
///
/// # Errors
/// [`StepError::NoNormalization`], [`StepError::Length`], [`StepError::Batch`], or [`StepError::NonFiniteInput`] if an
/// input is NaN or infinite; `params` is then as it was.
///
/// ```
/// use microprop::{Isa, Layout, Mlp, adapt, init, layout};
///
/// const LAYOUT: Layout = layout!(2 => normalization(), dense(4, Tanh), dense(1, Linear));
/// let mut params = [0.0; LAYOUT.params_len()];
/// init(&LAYOUT, 7, &mut params)?;
/// // Degrees and pascals.
/// let x = [18.0, 101_300.0, 22.0, 99_800.0, 20.0, 100_550.0];
/// adapt(&LAYOUT, &x, &mut params)?;
/// let [mean, scale] = [&params[LAYOUT.trainable_len()..][..2], &params[LAYOUT.trainable_len() + 2..]];
/// assert_eq!(mean, [20.0, 100_550.0]);
/// assert!((22.0 - mean[0]) * scale[0] > 1.2 && (22.0 - mean[0]) * scale[0] < 1.3);
/// # Ok::<(), microprop::StepError>(())
/// ```
pub fn adapt(layout: &Layout<'_>, x: &[f32], params: &mut [f32]) -> Result<(), StepError> {
    let place = layout.first();
    if place.layer.kind != Kind::Normalization {
        return Err(StepError::NoNormalization);
    }
    StepError::check(Buffer::Parameters, layout.params_len(), params.len())?;
    let inputs = layout.inputs();
    let samples = kernels::batch_of(x, inputs)? as f64;
    if let Some(at) = x.iter().position(|x| !x.is_finite()) {
        return Err(StepError::NonFiniteInput { sample: at / inputs, input: at % inputs, found: x[at] });
    }
    let (means, scales) = params[place.statistics..][..2 * inputs].split_at_mut(inputs);
    for (input, (to_mean, to_scale)) in means.iter_mut().zip(scales).enumerate() {
        if layout.categories().any(|(category, _)| category == input) {
            continue;
        }
        let column = || x[input..].iter().step_by(inputs).map(|&x| f64::from(x));
        let mean = column().fold(0.0, |sum, x| sum + x) / samples;
        let variance = column().fold(0.0, |sum, x| sum + (x - mean) * (x - mean)) / samples;
        *to_mean = mean as f32;
        *to_scale = if variance > 0.0 { (1.0 / libm::sqrt(variance)) as f32 } else { 1.0 };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Layer};

    #[test]
    fn inputs_have_mean_0_and_variance_1_but_categories_stay() {
        let layers = [Layer::normalization(), Layer::embedding(1, 3, 2), Layer::dense(1, Activation::Linear)];
        let layout = Layout::new(4, &layers).unwrap();
        let mut params = [0.0; 64];
        let params = &mut params[..layout.params_len()];
        crate::init(&layout, 1, params).unwrap();
        let x = [1e6, 0.0, 7.0, -3.0, 1e6 + 4.0, 2.0, 7.0, 5.0];
        adapt(&layout, &x, params).unwrap();
        let statistics = &params[layout.trainable_len()..];
        assert_eq!(statistics, [1e6 + 2.0, 0.0, 7.0, 1.0, 0.5, 1.0, 1.0, 0.25]);
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_written() {
        let layers = [Layer::normalization(), Layer::dense(1, Activation::Linear)];
        let layout = Layout::new(2, &layers).unwrap();
        let mut params = [3.0; 7];
        let x = [1.0, 2.0, 3.0, f32::INFINITY];
        let error = StepError::NonFiniteInput { sample: 1, input: 1, found: f32::INFINITY };
        assert_eq!(adapt(&layout, &x, &mut params), Err(error));
        assert_eq!(adapt(&layout, &x[..3], &mut params), Err(StepError::Batch { inputs: 2, found: 3 }));
        let length = StepError::Length { buffer: Buffer::Parameters, expected: 7, found: 6 };
        assert_eq!(adapt(&layout, &x, &mut params[1..]), Err(length));
        assert_eq!(params, [3.0; 7]);
        let layout = Layout::new(2, &layers[1..]).unwrap();
        assert_eq!(adapt(&layout, &x, &mut params), Err(StepError::NoNormalization));
    }
}
