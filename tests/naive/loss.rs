//! Section 4 of docs/ARITHMETIC.md: losses, their deltas, weights and masks.

use super::Activation::{Relu, Softmax};
use super::Loss::*;
use super::math::{max, min, select};
use super::{Goal, Loss, Network, Sample, Target, at, sixteen, sum};

const EPSILON: f32 = 1e-7;

impl Loss {
    /// Rule 4.1: whether N counts samples.
    fn is_over_samples(self) -> bool {
        matches!(
            self,
            HalfMeanSquaredError
                | CrossEntropy
                | SmoothedCrossEntropy(_)
                | CrossEntropyOfProbabilities
                | KullbackLeibler
        )
    }
}

impl Network<'_> {
    /// Rules 4.1 and 4.10: N.
    pub fn count(&self, goals: &[Goal<'_>]) -> f32 {
        let (n, outputs) = (goals.len() as f32, self.places()[self.layers.len() - 1].outputs as f32);
        let left: Option<Vec<usize>> =
            goals.iter().map(|goal| goal.mask.map(|mask| mask.iter().filter(|&&m| m == 1.0).count())).collect();
        match (left, self.loss.is_over_samples()) {
            (None, true) => n,
            (None, false) => n * outputs,
            (Some(left), true) => left.iter().filter(|&&left| left > 0).count().max(1) as f32,
            (Some(left), false) => left.iter().sum::<usize>().max(1) as f32,
        }
    }

    /// Rule 4.1: c.
    pub(super) fn scale(&self, count: f32) -> f32 {
        match self.loss {
            MeanSquaredError => 2.0 / count,
            _ => 1.0 / count,
        }
    }

    /// Rule 4.6: the loss.
    pub(super) fn loss(&self, samples: &[Sample], count: f32) -> f32 {
        let terms: Vec<f32> = samples.iter().flat_map(|sample| &sample.terms).copied().collect();
        sum(&terms)
            / match self.loss {
                HalfMeanSquaredError => 2.0 * count,
                _ => count,
            }
    }

    /// Rules 4.2 to 4.11: the delta of the last layer and the addends of the loss, from its pre-activations.
    pub(super) fn top(&self, z: &[f32], goal: Goal<'_>, scale: f32) -> (Vec<f32>, Vec<f32>) {
        let masked = |j: usize| goal.mask.is_some_and(|mask| mask[j] == 0.0);
        let (mut delta, mut terms) = match (self.loss, goal.target) {
            (BinaryCrossEntropy, Target::Values(t)) => self.binary_cross_entropy(z, t, scale),
            (SmoothedBinaryCrossEntropy(smoothing), Target::Values(t)) => {
                // Rule 4.11, as below.
                let t: Vec<f32> = t.iter().map(|t| t * (1.0 - smoothing) + smoothing * 0.5).collect();
                self.binary_cross_entropy(z, &t, scale)
            }
            (CrossEntropy, Target::Class(class)) if goal.mask.is_none() => {
                let (p, largest, total) = self.softmax(z);
                let class = class as usize;
                let delta = |j: usize| (if j == class { p[j] - 1.0 } else { p[j] }) * scale;
                let term = self.arithmetic.ln(total) + (largest - z[class]);
                ((0..z.len()).map(delta).collect(), vec![term])
            }
            (CrossEntropy | SmoothedCrossEntropy(_), Target::Values(_) | Target::Class(_)) => {
                let target = |j: usize| {
                    let t = match goal.target {
                        Target::Class(class) => f32::from(class as usize == j),
                        Target::Values(t) | Target::Delta(t) => t[j],
                    };
                    match self.loss {
                        _ if masked(j) => 0.0,
                        SmoothedCrossEntropy(smoothing) => t * (1.0 - smoothing) + smoothing / z.len() as f32,
                        _ => t,
                    }
                };
                let t: Vec<f32> = (0..z.len()).map(target).collect();
                let (p, largest, total) = self.softmax(z);
                let (ln, weight) = (self.arithmetic.ln(total), sum(&t));
                let delta = |j: usize| (p[j] * weight - t[j]) * scale;
                let term = sixteen(t.len(), |p, j| p + at(&t, j) * (ln + (largest - at(z, j))));
                ((0..t.len()).map(delta).collect(), vec![term])
            }
            (_, target) => {
                let y = self.output(z);
                let (mut d, terms): (Vec<f32>, Vec<f32>) = match target {
                    Target::Values(t) => y.iter().zip(t).map(|(&y, &t)| self.element(y, t, scale)).unzip(),
                    Target::Delta(d) => (d.to_vec(), vec![]),
                    Target::Class(_) => panic!("classes are for cross-entropy"),
                };
                let delta = match self.output_activation() {
                    Softmax => {
                        (0..d.len()).filter(|&j| masked(j)).for_each(|j| d[j] = 0.0);
                        let mean = self.dot(&d, &y);
                        y.iter().zip(&d).map(|(y, d)| y * (d - mean)).collect()
                    }
                    activation => {
                        let units = y.iter().zip(&d).zip(z);
                        units.map(|((&y, &d), &z)| self.slope(activation, d, y, z)).collect()
                    }
                };
                (delta, terms)
            }
        };
        // Rule 4.10.
        let is_softmax = self.output_activation() == Softmax;
        for j in (0..z.len()).filter(|&j| masked(j)) {
            if !is_softmax {
                delta[j] = 0.0;
            }
            if terms.len() == z.len() && !matches!(self.loss, CrossEntropy | SmoothedCrossEntropy(_)) {
                terms[j] = 0.0;
            }
        }
        // Rule 4.9.
        let weight = match (goal.weight, goal.class_weight) {
            (Some(sample), Some(class)) => Some(sample * class),
            (weight, class) => weight.or(class),
        };
        if let Some(weight) = weight {
            delta.iter_mut().chain(&mut terms).for_each(|x| *x *= weight);
        }
        (delta, terms)
    }

    /// Rule 4.3.
    fn binary_cross_entropy(&self, z: &[f32], t: &[f32], scale: f32) -> (Vec<f32>, Vec<f32>) {
        let delta = |(&z, &t): (&f32, &f32)| (self.arithmetic.sigmoid(z) - t) * scale;
        let term = |(&z, &t): (&f32, &f32)| (self.activate(Relu, z) - z * t) + self.arithmetic.softplus_of_negative(z);
        (z.iter().zip(t).map(delta).collect(), z.iter().zip(t).map(term).collect())
    }

    /// Rules 4.2 and 4.7: d and the addend of one output.
    fn element(&self, y: f32, t: f32, c: f32) -> (f32, f32) {
        let e = y - t;
        let sign = |above: f32, below: f32| select(e > 0.0, above, select(0.0 > e, below, 0.0));
        let limited = |y: f32, highest: f32| min(highest, max(EPSILON, y));
        let within = |highest: f32, d: f32| select(EPSILON > y, 0.0, select(y > highest, 0.0, d));
        match self.loss {
            HalfMeanSquaredError | MeanSquaredError => (e * c, e * e),
            MeanAbsoluteError => (sign(c, -c), e.abs()),
            Huber(delta) => {
                let term = select(e.abs() > delta, delta * (e.abs() - 0.5 * delta), 0.5 * e * e);
                (min(delta, max(-delta, e)) * c, term)
            }
            LogCosh => (self.arithmetic.tanh(e) * c, self.log_cosh(e)),
            Quantile(q) => (sign((1.0 - q) * c, -q * c), max((1.0 - q) * e, -q * e)),
            Poisson => {
                let m = y + EPSILON;
                ((1.0 - t / m) * c, y - t * self.arithmetic.ln(m))
            }
            Hinge => {
                let m = 1.0 - t * y;
                (select(m > 0.0, -t * c, 0.0), max(0.0, m))
            }
            BinaryCrossEntropyOfProbabilities => {
                let (h, p) = (1.0 - EPSILON, limited(y, 1.0 - EPSILON));
                let ln = |x: f32| self.arithmetic.ln(x);
                (within(h, e / (y * (1.0 - y)) * c), -(t * ln(p) + (1.0 - t) * ln(1.0 - p)))
            }
            CrossEntropyOfProbabilities => {
                let h = 1.0 - EPSILON;
                (within(h, -t / y * c), -t * self.arithmetic.ln(limited(y, h)))
            }
            KullbackLeibler => {
                let t = limited(t, 1.0);
                (within(1.0, -t / y * c), t * self.arithmetic.ln(t / limited(y, 1.0)))
            }
            loss => panic!("{loss:?} is not worked out element by element"),
        }
    }

    /// Rule 4.8.
    fn log_cosh(&self, e: f32) -> f32 {
        const C: [u32; 8] =
            [0x3f00_0000, 0xbdaa_aaaa, 0x3cb6_0a9d, 0xbbdc_e71c, 0x3b0d_cf90, 0xba32_62b8, 0x3937_cadc, 0xb7d1_27aa];
        let a = e.abs();
        if a > 1.0 {
            (a - f32::from_bits(0x3f31_7218)) + self.arithmetic.softplus_of_negative(a + a)
        } else {
            e * e * self.arithmetic.polynomial(&C, e * e)
        }
    }
}
