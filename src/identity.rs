//! One number for what a network is.
#![forbid(unsafe_code)]

use crate::activation::Activation;
use crate::hash::{OFFSET_BASIS, absorb};
use crate::layer::{Kind, Layer};
use crate::layout::Layout;

impl Layout<'_> {
    /// A number for what the parameters mean: two layouts that predict alike with the same parameters
    /// have the same, two that don't have another. On every target the same, and `const`.
    ///
    /// It is FNV-1a, 64 bits, over inputs and layers: their kind, sizes and ε, order of weights, activation, residual connection. What only
    /// training knows (initialiser, dropout, penalty, momentum of a normalisation) does not count.
    ///
    /// ```
    /// use microprop::layout;
    ///
    /// let (narrow, wide) = (layout!(3 => dense(8, Tanh)), layout!(3 => dense(9, Tanh)));
    /// assert_ne!(narrow.identity(), wide.identity());
    /// assert_eq!(narrow.identity(), layout!(3 => dense(8, Tanh).with_init(HeNormal)).identity());
    /// ```
    pub const fn identity(&self) -> u64 {
        layers(self, true)
    }
}

/// The same whether or not the first layer is stored by output.
pub(crate) const fn but_for_order(layout: &Layout<'_>) -> u64 {
    layers(layout, false)
}

const fn layers(layout: &Layout<'_>, with_order: bool) -> u64 {
    let mut hash = size(OFFSET_BASIS, layout.inputs());
    let mut index = 0;
    while index < layout.layers().len() {
        hash = layer(hash, &layout.layers()[index], with_order);
        index += 1;
    }
    hash
}

/// The same with what else the slices of a training step depend on: dropout.
pub(crate) const fn in_training(layout: &Layout<'_>) -> u64 {
    let (mut hash, mut index) = (layout.identity(), 0);
    while index < layout.layers().len() {
        hash = absorb(hash, layout.layers()[index].dropout.to_bits());
        index += 1;
    }
    hash
}

const fn layer(hash: u64, layer: &Layer, with_order: bool) -> u64 {
    let hash = match layer.kind {
        Kind::Dense { units, bias, by_output, .. } => {
            size(absorb(absorb(hash, 0), bias as u32 + 2 * (by_output && with_order) as u32), units)
        }
        Kind::Activation => absorb(hash, 1),
        Kind::LayerNorm { epsilon } => absorb(absorb(hash, 2), epsilon.to_bits()),
        Kind::RmsNorm { epsilon } => absorb(absorb(hash, 3), epsilon.to_bits()),
        Kind::BatchNorm { epsilon, .. } => absorb(absorb(hash, 4), epsilon.to_bits()),
        Kind::Normalization => absorb(hash, 5),
        Kind::Embedding { column, categories, dimensions } => {
            size(size(size(absorb(hash, 6), column), categories), dimensions)
        }
    };
    size(activation(hash, layer.activation), layer.residual)
}

/// The numbers are for ever: models are stored with them.
const fn activation(hash: u64, activation: Activation) -> u64 {
    match activation {
        Activation::Linear => absorb(hash, 0),
        Activation::Relu => absorb(hash, 1),
        Activation::LeakyRelu { slope } => absorb(absorb(hash, 2), slope.to_bits()),
        Activation::Elu { alpha } => absorb(absorb(hash, 3), alpha.to_bits()),
        Activation::Selu => absorb(hash, 4),
        Activation::Gelu => absorb(hash, 5),
        Activation::GeluTanh => absorb(hash, 6),
        Activation::Silu => absorb(hash, 7),
        Activation::Mish => absorb(hash, 8),
        Activation::Softplus => absorb(hash, 9),
        Activation::Softsign => absorb(hash, 10),
        Activation::Sigmoid => absorb(hash, 11),
        Activation::HardSigmoid => absorb(hash, 12),
        Activation::HardSwish => absorb(hash, 13),
        Activation::Tanh => absorb(hash, 14),
        Activation::Softmax => absorb(hash, 15),
    }
}

/// As two words, whatever a `usize` has.
const fn size(hash: u64, size: usize) -> u64 {
    absorb(absorb(hash, size as u32), (size as u64 >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use crate::layout;
    use std::collections::HashSet;

    #[test]
    fn what_predicts_differently_is_told_apart() {
        let layouts = [
            layout!(3 => dense(3, Relu), dense(3, Relu)),
            layout!(3 => dense(3, Relu)),
            layout!(4 => dense(3, Relu), dense(3, Relu)),
            layout!(3 => dense(4, Relu), dense(3, Relu)),
            layout!(3 => dense(3, Tanh), dense(3, Relu)),
            layout!(3 => dense(3, LeakyRelu { slope: 0.1 }), dense(3, Relu)),
            layout!(3 => dense(3, LeakyRelu { slope: 0.2 }), dense(3, Relu)),
            layout!(3 => dense(3, Elu { alpha: 0.2 }), dense(3, Relu)),
            layout!(3 => dense(3, Relu).without_bias(), dense(3, Relu)),
            layout!(3 => dense(3, Relu).with_residual(1), dense(3, Relu)),
            layout!(3 => dense(3, Relu), dense(3, Relu).with_residual(1)),
            layout!(3 => dense(3, Relu), dense(3, Relu).with_residual(2)),
            layout!(3 => layer_norm(Relu), dense(3, Relu)),
            layout!(3 => rms_norm(Relu), dense(3, Relu)),
            layout!(3 => rms_norm(Relu).with_epsilon(1e-3), dense(3, Relu)),
            layout!(3 => batch_norm(Relu), dense(3, Relu)),
            layout!(3 => elementwise(Relu), dense(3, Relu)),
            layout!(3 => normalization(), dense(3, Relu)),
            layout!(3 => embedding(0, 5, 2), dense(3, Relu)),
            layout!(3 => embedding(1, 5, 2), dense(3, Relu)),
            layout!(3 => embedding(0, 6, 2), dense(3, Relu)),
            layout!(3 => embedding(0, 5, 3), dense(3, Relu)),
        ];
        let identities: HashSet<u64> = layouts.iter().map(|layout| layout.identity()).collect();
        assert_eq!(identities.len(), layouts.len());
    }

    #[test]
    fn what_only_training_knows_does_not_count() {
        let plain = layout!(3 => dense(8, Relu), batch_norm(Linear), dense(1, Linear));
        let trained = layout!(
            3 => dense(8, Relu).with_init(HeNormal).with_dropout(0.5).with_penalty(Penalty::l2(0.1)),
            batch_norm(Linear).with_momentum(0.5), dense(1, Linear)
        );
        assert_eq!(plain.identity(), trained.identity());
    }

    /// Stored models carry it. Worked out by the definition, byte by byte, outside this crate.
    #[test]
    fn it_stays_what_it_is() {
        assert_eq!(layout!(20 => dense(64, Relu), dense(1, Sigmoid)).identity(), 0x031e_1ba4_6119_e9ea);
    }
}
