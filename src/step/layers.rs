//! What a layer does in the batch schedule: forward, delta, update, each over rows of the banks.

use super::plan::{Banks, Plan, Section, opposite, statistics_len};
use super::{Mlp, Mode};
use crate::activation::Activation;
use crate::backend::Engine;
use crate::kernels::{self, Addend, Affine, Back, Band, Embedded, Features, Follow, Operands, Rows, RowsMut};
use crate::layer::Kind;
use crate::layout::{Place, Source};
use crate::optimizer::Rule;
use core::ops::Range;

/// A pass, or a step: what does not change on its way.
pub(super) struct Step<'a> {
    pub(super) mlp: &'a Mlp<'a>,
    pub(super) plan: &'a Plan,
    pub(super) mode: Mode,
    /// Where the last layer stops: before its activation if the loss takes it from there.
    pub(super) top: Activation,
    /// The inputs of all samples.
    pub(super) x: &'a [f32],
}

/// What all pieces of a phase share.
pub(super) struct Context<'a> {
    pub(super) step: &'a Step<'a>,
    /// What batch norms know of the batch: see [`statistics_len`].
    pub(super) statistics: &'a [f32],
}

impl Context<'_> {
    pub(super) fn last(&self) -> usize {
        self.step.mlp.layout.layers().len() - 1
    }

    /// The section of hidden layer `l`, of `width` units, in its bank.
    #[inline]
    fn section(&self, l: usize, width: usize) -> Section {
        self.step.plan.section(&self.step.mlp.layout, l, width)
    }

    /// The outputs' own bank.
    #[inline]
    fn outputs(&self) -> Section {
        Section { stride: self.step.plan.outputs, offset: 0, width: self.step.plan.outputs }
    }

    /// The moments of norm layer `l`.
    fn moments(&self, l: usize) -> Section {
        let below = self.step.mlp.layout.places().take(l).map(|place| super::plan::moments_len(&place)).sum();
        Section { stride: self.step.plan.moments, offset: below, width: 2 }
    }

    /// Where the statistics of batch norm `l` lie.
    pub(super) fn statistics_range(&self, l: usize) -> Range<usize> {
        let start = self.step.mlp.layout.places().take(l).map(|place| statistics_len(&place)).sum();
        start..start + statistics_len(&self.step.mlp.layout.place(l))
    }

    /// What batch norm `place` takes for mean and variance: the batch's in training, else the running ones.
    fn features<'f>(&'f self, place: &Place<'_>, epsilon: f32, params: &'f [f32]) -> Features<'f> {
        let (mean, variance) = match self.step.mode {
            Mode::Training { .. } => {
                self.statistics[self.statistics_range(place.index)][..2 * place.inputs].split_at(place.inputs)
            }
            Mode::Inference => place.statistics(params),
        };
        Features { mean, variance, epsilon }
    }

    /// What feeds a layer, of all samples.
    #[inline]
    pub(super) fn inputs_of<'r>(&'r self, place: &Place<'_>, banks: &'r Banks<'_>) -> Rows<'r> {
        match place.index {
            0 => Rows::dense(self.step.x, place.inputs),
            l => self.section(l - 1, place.inputs).rows(banks.values[(l - 1) % 2]),
        }
    }

    /// ∂loss/∂pre-activations of a layer.
    #[inline]
    pub(super) fn delta_of<'r>(&self, place: &Place<'_>, banks: &'r Banks<'_>) -> Rows<'r> {
        self.delta_at(place.index, place.outputs, banks)
    }

    /// The same of layer `l`, which has `width` units.
    #[inline]
    fn delta_at<'r>(&self, l: usize, width: usize, banks: &'r Banks<'_>) -> Rows<'r> {
        if l == self.last() {
            self.outputs().rows(banks.output_delta)
        } else {
            self.section(l, width).rows(banks.deltas[l % 2])
        }
    }

    /// Forward through some layers.
    pub(super) fn forward(
        &self,
        layers: Range<usize>,
        params: &[f32],
        x: &[f32],
        first_row: usize,
        banks: &mut Banks<'_>,
        scratch: &mut [f32],
    ) {
        let last = self.last();
        for place in self.step.mlp.layout.places() {
            if !layers.contains(&place.index) {
                continue;
            }
            if !self.step.mlp.layout.is_plain(&place) {
                self.any_forward(&place, params, x, first_row, banks, scratch);
                continue;
            }
            let (weights, bias) = place.split(params);
            let l = place.index;
            let (from, to) = opposite(&mut banks.values, l);
            let x = if l == 0 { Rows::dense(x, place.inputs) } else { self.section(l - 1, place.inputs).rows(from) };
            let (y, activation) = if l == last {
                (RowsMut::dense(banks.outputs, place.outputs), self.step.top)
            } else {
                (self.section(l, place.outputs).rows_mut(to), place.layer.activation)
            };
            kernels::with_bias(self.step.mlp.engine, x, weights, bias, activation, y, scratch);
        }
    }

    /// Forward through a layer of any kind, with all that may follow.
    fn any_forward(
        &self,
        place: &Place<'_>,
        params: &[f32],
        x: &[f32],
        first_row: usize,
        banks: &mut Banks<'_>,
        scratch: &mut [f32],
    ) {
        let (l, last) = (place.index, place.index == self.last());
        let (from, to) = opposite(&mut banks.values, l);
        let of_inputs = Rows::dense(x, self.step.mlp.layout.inputs());
        let x = if l == 0 { of_inputs } else { self.section(l - 1, place.inputs).rows(from) };
        let section = if last { self.outputs() } else { self.section(l, place.outputs) };
        let z = section.rows_mut(if last { &mut *banks.outputs } else { &mut *to });
        if let Kind::BatchNorm { epsilon, .. } = place.layer.kind {
            let affine = Affine::of(place.of(params), place.inputs);
            kernels::feature_norm(self.step.mlp.engine.isa, x, self.features(place, epsilon, params), affine, z);
        } else {
            let moments = self.moments(l).rows_mut(banks.moments);
            pre_activations(self.step.mlp.engine, place, params, x, z, moments, scratch);
        }
        let follow = Follow {
            residual: None,
            activation: if last { self.step.top } else { place.layer.activation },
            kept: (place.layer.keeps() && !last).then(|| section.kept().offset),
            dropout: self.step.mode.dropout(l, place.layer),
            first_row,
        };
        let source = self.step.mlp.layout.residual_source(l);
        if source.is_none() && follow.dropout.is_none() && follow.activation == Activation::Linear {
            return;
        }
        let isa = self.step.mlp.engine.isa;
        if last {
            let residual = source.map(|source| match source {
                Source::Inputs => Addend::Rows(of_inputs),
                Source::Layer(k) => {
                    Addend::Rows(self.section(k, place.outputs).rows(if k % 2 == l % 2 { to } else { from }))
                }
            });
            return kernels::follow(isa, section.rows_mut(banks.outputs), Follow { residual, ..follow });
        }
        let residual = source.map(|source| match source {
            Source::Inputs => Addend::Rows(of_inputs),
            Source::Layer(k) if k % 2 == l % 2 => Addend::Within(self.section(k, place.outputs).offset),
            Source::Layer(k) => Addend::Rows(self.section(k, place.outputs).rows(from)),
        });
        kernels::follow(isa, section.rows_mut(to), Follow { residual, ..follow });
    }

    /// From the deltas of layers `layers` to those of the layers below them, the upper first.
    pub(super) fn deltas(
        &self,
        layers: Range<usize>,
        params: &[f32],
        first_row: usize,
        banks: &mut Banks<'_>,
        scratch: &mut [f32],
    ) {
        let layout = &self.step.mlp.layout;
        for place in layout.places_down(layers) {
            let (l, below) = (place.index, &layout.layers()[place.index - 1]);
            let section = self.section(l - 1, place.inputs);
            let (from, to) = opposite(&mut banks.deltas, l - 1);
            let delta = if l == self.last() {
                Rows::dense(banks.output_delta, place.outputs)
            } else {
                self.section(l, place.outputs).rows(from)
            };
            let values = &*banks.values[(l - 1) % 2];
            let slope_at = if below.keeps() { section.kept() } else { section }.rows(values);
            let (activation, dropout) = (below.activation, self.step.mode.dropout(l - 1, below));
            let source = Source::Layer(l - 1);
            if matches!(place.layer.kind, Kind::Dense { .. }) && dropout.is_none() && !layout.is_source(source) {
                let (weights, _) = place.split(params);
                let to = section.rows_mut(to);
                kernels::delta(self.step.mlp.engine, delta, weights, slope_at, activation, to, scratch);
                continue;
            }
            let x = section.rows(values);
            let moments = self.moments(l).rows(banks.moments);
            self.any_delta(&place, params, delta, x, moments, section.rows_mut(to), scratch);
            for m in layout.residuals_from(source) {
                let addend = if m == self.last() {
                    Addend::Rows(self.outputs().rows(banks.output_delta))
                } else if m % 2 == (l - 1) % 2 {
                    Addend::Within(self.section(m, place.inputs).offset)
                } else {
                    Addend::Rows(self.section(m, place.inputs).rows(from))
                };
                kernels::add(self.step.mlp.engine.isa, section.rows_mut(to), addend);
            }
            if dropout.is_some() || activation != Activation::Linear {
                let back = Back { activation, at: slope_at, dropout, first_row };
                kernels::back(self.step.mlp.engine.isa, section.rows_mut(to), back);
            }
        }
    }

    /// From the delta of the first layer to ∂loss/∂inputs.
    pub(super) fn input_delta(
        &self,
        params: &[f32],
        x: &[f32],
        banks: &Banks<'_>,
        to: &mut [f32],
        scratch: &mut [f32],
    ) {
        let layout = &self.step.mlp.layout;
        let (place, width) = (layout.place(0), layout.inputs());
        let delta = self.delta_of(&place, banks);
        let moments = self.moments(0).rows(banks.moments);
        self.any_delta(&place, params, delta, Rows::dense(x, width), moments, RowsMut::dense(to, width), scratch);
        for m in layout.residuals_from(Source::Inputs) {
            let addend = Addend::Rows(self.delta_at(m, width, banks));
            kernels::add(self.step.mlp.engine.isa, RowsMut::dense(to, width), addend);
        }
    }

    /// The derivative of a layer's pre-activations by what feeds it, times their delta.
    #[expect(clippy::too_many_arguments, reason = "a layer, what has gone through it, and where its delta goes")]
    fn any_delta(
        &self,
        place: &Place<'_>,
        params: &[f32],
        delta: Rows<'_>,
        x: Rows<'_>,
        moments: Rows<'_>,
        below: RowsMut<'_>,
        scratch: &mut [f32],
    ) {
        let isa = self.step.mlp.engine.isa;
        match place.layer.kind {
            Kind::Dense { .. } => {
                let nothing = Rows::dense(&[], place.inputs);
                let (weights, _) = place.split(params);
                kernels::delta(self.step.mlp.engine, delta, weights, nothing, Activation::Linear, below, scratch);
            }
            Kind::Activation => kernels::copy_rows(delta, below),
            Kind::LayerNorm { .. } | Kind::RmsNorm { .. } => {
                let affine = Affine::of(place.of(params), place.inputs);
                kernels::sample_norm_delta(isa, delta, x, affine, moments, below);
            }
            Kind::BatchNorm { epsilon, .. } => {
                let gamma = &place.of(params)[..place.inputs];
                let sums = match self.step.mode {
                    Mode::Inference => None,
                    Mode::Training { .. } => {
                        let sums = &self.statistics[self.statistics_range(place.index)][2 * place.inputs..];
                        let (products, sums) = sums.split_at(place.inputs);
                        Some([products, sums])
                    }
                };
                let features = self.features(place, epsilon, params);
                kernels::feature_norm_delta(isa, delta, x, features, gamma, sums, self.step.plan.batch, below);
            }
            Kind::Normalization => kernels::standardize_delta(isa, delta, place.statistics(params).1, below),
            Kind::Embedding { column, categories, dimensions } => {
                kernels::embed_delta(delta, Embedded { column, categories, dimensions }, below);
            }
        }
    }

    /// Mean and variance of what feeds batch norm `l`, over the whole batch.
    pub(super) fn batch_moments(&self, l: usize, x: Rows<'_>, statistics: &mut [f32]) {
        let statistics = &mut statistics[self.statistics_range(l)];
        let (mean, rest) = statistics.split_at_mut(x.width);
        kernels::feature_moments(self.step.mlp.engine.isa, x, mean, &mut rest[..x.width]);
    }

    /// The gradients of γ and β of batch norm `l`, over the whole batch.
    pub(super) fn batch_sums(&self, l: usize, params: &[f32], x: Rows<'_>, delta: Rows<'_>, statistics: &mut [f32]) {
        let place = self.step.mlp.layout.place(l);
        let Kind::BatchNorm { epsilon, .. } = place.layer.kind else { return };
        let (moments, sums) = statistics[self.statistics_range(l)].split_at_mut(2 * x.width);
        let (mean, variance) = match self.step.mode {
            Mode::Training { .. } => moments.split_at(x.width),
            Mode::Inference => place.statistics(params),
        };
        let (gamma, beta) = sums.split_at_mut(x.width);
        let features = Features { mean, variance, epsilon };
        kernels::feature_sums(self.step.mlp.engine.isa, delta, x, features, gamma, beta);
    }

    /// Moves the running statistics, which lie behind the trainable parameters, towards those of the batch.
    pub(super) fn update_statistics(&self, running: &mut [f32]) {
        if !self.step.mlp.layout.has_batch_norm() || self.step.mode == Mode::Inference {
            return;
        }
        for place in self.step.mlp.layout.places() {
            if let Kind::BatchNorm { momentum, .. } = place.layer.kind {
                let start = place.statistics - self.step.mlp.layout.trainable_len();
                let batch = &self.statistics[self.statistics_range(place.index)][..2 * place.inputs];
                kernels::approach(self.step.mlp.engine.isa, &mut running[start..start + batch.len()], batch, momentum);
            }
        }
    }

    /// Updates some rows of a layer's parameters.
    #[inline]
    pub(super) fn update(
        &self,
        place: &Place<'_>,
        operands: Operands<'_>,
        moments: &[f32],
        rule: &Rule,
        band: Band<'_>,
        scratch: &mut [f32],
    ) {
        let isa = self.step.mlp.engine.isa;
        let Operands { x, delta } = operands;
        match place.layer.kind {
            Kind::Dense { .. } => kernels::update(self.step.mlp.engine, operands, rule, band, scratch),
            Kind::LayerNorm { .. } | Kind::RmsNorm { .. } => {
                let moments = self.moments(place.index).rows(moments);
                kernels::sample_norm_update(isa, delta, x, moments, rule, band);
            }
            Kind::BatchNorm { .. } => {
                let sums = &self.statistics[self.statistics_range(place.index)][2 * place.inputs..];
                let gradient = &sums[band.rows.start * place.inputs..band.rows.end * place.inputs];
                kernels::apply(isa, rule, gradient, band.params, band.state);
            }
            Kind::Embedding { column, categories, dimensions } => {
                let embedded = Embedded { column, categories, dimensions };
                kernels::embedding_update(isa, x, delta, embedded, rule, band);
            }
            Kind::Activation | Kind::Normalization => {}
        }
    }
}

/// A layer's pre-activations from its inputs and its parameters alone: a batch norm's with its running statistics.
pub(super) fn pre_activations(
    engine: Engine,
    place: &Place<'_>,
    params: &[f32],
    x: Rows<'_>,
    z: RowsMut<'_>,
    moments: RowsMut<'_>,
    scratch: &mut [f32],
) {
    match place.layer.kind {
        Kind::Dense { .. } => {
            let (weights, bias) = place.split(params);
            kernels::forward(engine, x, weights, bias, Activation::Linear, z, scratch);
        }
        Kind::Activation => kernels::copy_rows(x, z),
        Kind::LayerNorm { epsilon } | Kind::RmsNorm { epsilon } => {
            kernels::sample_norm(engine.isa, x, Affine::of(place.of(params), place.inputs), epsilon, z, moments);
        }
        Kind::BatchNorm { epsilon, .. } => {
            let (mean, variance) = place.statistics(params);
            let affine = Affine::of(place.of(params), place.inputs);
            kernels::feature_norm(engine.isa, x, Features { mean, variance, epsilon }, affine, z);
        }
        Kind::Normalization => {
            let (mean, scale) = place.statistics(params);
            kernels::standardize(engine.isa, x, mean, scale, z);
        }
        Kind::Embedding { column, categories, dimensions } => {
            kernels::embed(x, Embedded { column, categories, dimensions }, place.of(params), z);
        }
    }
}
