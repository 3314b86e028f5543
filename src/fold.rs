//! Batch normalisation folded into the dense layers below it, for inference.
#![forbid(unsafe_code)]

use crate::activation::Activation;
use crate::error::{Buffer, StepError};
use crate::layer::{Kind, Layer};
use crate::layout::{Layout, Place, Source};

/// Folds each batch normalisation, with its running statistics, into the dense layer right below it: the network
/// that is left predicts the same, up to rounding, and has fewer layers.
///
/// With `f = γ / √(variance + ε)`, in `f64`, the dense layer's weights become `W·f` and its bias
/// `(b − mean)·f + β`; what followed the normalisation (activation, residual connection, dropout) follows the dense layer.
/// A normalisation stays where nothing can take it: above another kind of layer, or above a dense layer with an
/// activation, dropout, a residual connection or a penalty of its own, or whose values a residual connection adds elsewhere.
///
/// `params`: [`Layout::params_len`]. Writes the layers to the front of `layers`, at least as many as the layout
/// has, and their parameters to the front of `folded`, at least `params_len`; returns how many there are of both.
///
/// # Errors
/// [`StepError::Length`]; nothing is written then.
///
/// ```
/// use microprop::{Isa, Layer, Layout, Mlp, fold_batch_norm, init, layout};
///
/// const LAYOUT: Layout = layout!(3 => dense(8, Linear).without_bias(), batch_norm(Relu), dense(1, Linear));
/// let mut params = [0.0; LAYOUT.params_len()];
/// init(&LAYOUT, 7, &mut params)?;
/// // … training …
/// let mut layers = LAYOUT.layers().to_vec();
/// let mut folded = vec![0.0; LAYOUT.params_len()];
/// let (layer_count, params_len) = fold_batch_norm(&LAYOUT, &params, &mut layers, &mut folded)?;
/// let small = Layout::new(3, &layers[..layer_count])?; // 3 → 8 ReLU → 1 linear
/// assert_eq!((layer_count, params_len), (2, small.params_len()));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub fn fold_batch_norm(
    layout: &Layout<'_>,
    params: &[f32],
    layers: &mut [Layer],
    folded: &mut [f32],
) -> Result<(usize, usize), StepError> {
    StepError::check(Buffer::Parameters, layout.params_len(), params.len())?;
    StepError::check_at_least(Buffer::Layers, layout.layers().len(), layers.len())?;
    StepError::check_at_least(Buffer::FoldedParameters, layout.params_len(), folded.len())?;
    let (mut count, mut len) = (0, 0);
    for place in layout.places() {
        let norm = norm_above(layout, &place);
        if place.index > 0 && norm_above(layout, &layout.place(place.index - 1)).is_some() {
            continue;
        }
        let own = place.of(params);
        let to = &mut folded[len..];
        let layer = match &norm {
            Some(norm) => {
                len += fold(&place, norm, params, to);
                Layer { kind: with_bias(place.layer.kind), penalty: place.layer.penalty, ..*norm.layer }
            }
            None => {
                to[..own.len()].copy_from_slice(own);
                len += own.len();
                *place.layer
            }
        };
        let last = norm.map_or(place.index, |norm| norm.index);
        layers[count] = layer.with_residual(layer.residual - folded_within(layout, last, layer.residual));
        count += 1;
    }
    for place in layout.places() {
        let is_folded = place.index > 0 && norm_above(layout, &layout.place(place.index - 1)).is_some();
        if matches!(place.layer.kind, Kind::Normalization | Kind::BatchNorm { .. }) && !is_folded {
            let statistics = &params[place.statistics..place.statistics + 2 * place.inputs];
            folded[len..len + statistics.len()].copy_from_slice(statistics);
            len += statistics.len();
        }
    }
    Ok((count, len))
}

/// The batch norm right above a dense layer that can take it.
fn norm_above<'a>(layout: &Layout<'a>, place: &Place<'a>) -> Option<Place<'a>> {
    if place.index + 1 == layout.layers().len() {
        return None;
    }
    let norm = layout.next(place);
    let dense = matches!(place.layer.kind, Kind::Dense { .. }) && place.layer.is_bare();
    let plain = place.layer.activation == Activation::Linear && place.layer.penalty().some().is_none();
    let taken = layout.is_source(Source::Layer(place.index));
    (dense && plain && !taken && matches!(norm.layer.kind, Kind::BatchNorm { .. })).then_some(norm)
}

/// How many of the `span` layers that end with layer `last` are folded away.
fn folded_within(layout: &Layout<'_>, last: usize, span: usize) -> usize {
    let layers = (last + 1 - span..=last).filter(|&l| l > 0);
    layers.filter(|&l| norm_above(layout, &layout.place(l - 1)).is_some()).count()
}

const fn with_bias(kind: Kind) -> Kind {
    match kind {
        Kind::Dense { units, init, by_output, .. } => Kind::Dense { units, bias: true, init, by_output },
        kind => kind,
    }
}

/// Writes weights and bias of a dense layer that has taken `norm`; returns how many.
fn fold(dense: &Place<'_>, norm: &Place<'_>, params: &[f32], to: &mut [f32]) -> usize {
    let Kind::BatchNorm { epsilon, .. } = norm.layer.kind else { return 0 };
    let (weights, bias) = dense.split(params);
    let (gamma, beta) = norm.of(params).split_at(norm.inputs);
    let (mean, variance) = norm.statistics(params);
    let units = dense.outputs;
    for j in 0..units {
        let factor = f64::from(gamma[j]) / libm::sqrt(f64::from(variance[j]) + f64::from(epsilon));
        for (to, &w) in to[j..weights.len()].iter_mut().zip(&weights[j..]).step_by(units) {
            *to = (f64::from(w) * factor) as f32;
        }
        let b = bias.get(j).map_or(0.0, |&b| f64::from(b));
        to[weights.len() + j] = ((b - f64::from(mean[j])) * factor + f64::from(beta[j])) as f32;
    }
    weights.len() + units
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Mlp, Rng};

    #[test]
    fn a_folded_network_predicts_the_same() {
        use Activation::{Gelu, Linear, Relu, Tanh};
        let linear = Layer::dense(6, Linear);
        let layers = [
            Layer::normalization(),
            Layer::batch_norm(Linear),
            linear.without_bias(),
            Layer::batch_norm(Relu),
            linear,
            Layer::batch_norm(Gelu).with_residual(2),
            Layer::dense(6, Tanh),
            Layer::batch_norm(Tanh).with_residual(4),
            linear,
            Layer::batch_norm(Linear).with_residual(1),
            Layer::dense(2, Linear),
            Layer::batch_norm(Linear),
        ];
        let layout = Layout::new(5, &layers).unwrap();
        let mut rng = Rng::new(1);
        let params: Vec<f32> = (0..layout.params_len()).map(|_| 0.2 + rng.uniform()).collect();
        let x: Vec<f32> = (0..5 * 4).map(|_| 2.0 * rng.uniform() - 1.0).collect();
        let mut folded = vec![f32::NAN; params.len()];
        let mut small = layers;
        let (count, len) = fold_batch_norm(&layout, &params, &mut small, &mut folded).unwrap();
        let small = Layout::new(5, &small[..count]).unwrap();
        // Three are folded; those above the inputs, above a tanh and above a layer that is added elsewhere stay.
        assert_eq!((count, len), (9, small.params_len()));
        assert_eq!(small.layers()[3].residual, 1);
        assert_eq!(small.layers()[5].residual, 3);

        let predict = |layout: Layout<'_>, params: &[f32]| {
            let mlp = Mlp::new(layout, Isa::SCALAR);
            let (mut y, mut workspace) = ([0.0; 8], vec![0.0; mlp.predict_workspace_len(4).unwrap()]);
            mlp.predict(params, &x, &mut y, &mut workspace).unwrap();
            y
        };
        let (expected, found) = (predict(layout, &params), predict(small, &folded[..len]));
        for (expected, found) in expected.iter().zip(found) {
            approx::assert_relative_eq!(*expected, found, max_relative = 1e-5);
        }
    }
}
