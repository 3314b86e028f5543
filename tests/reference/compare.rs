//! Comparing f32 results with [`Number`]s, and drawing what they are worked out from.

use super::Number;

/// Standard deviations that an element may be off.
pub(crate) const DEVIATIONS: f64 = 6.0;

/// A comparison claims something only where numbers are this many times the standard deviation of their error.
pub(crate) const TELLING: f64 = 300.0;

/// SplitMix64 (Steele et al. 2014).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Between −1 and 1.
    pub(crate) fn signed(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn vec(&mut self, len: usize, limit: f32) -> Vec<f32> {
        (0..len).map(|_| limit * self.signed()).collect()
    }
}

pub(crate) fn numbers(floats: &[f32]) -> Vec<Number> {
    floats.iter().map(|&x| Number::from(x)).collect()
}

/// That `reference` is not all zeros and errors.
pub(crate) fn telling(what: &str, reference: &[Number]) -> Result<(), String> {
    let norm = reference.iter().map(|r| r.value * r.value).sum::<f64>().sqrt();
    let deviation = reference.iter().map(|r| r.variance).sum::<f64>().sqrt();
    if norm >= TELLING * deviation && norm > 1e-9 {
        Ok(())
    } else {
        Err(format!("{what}: the norm {norm:e} says nothing beside its error {deviation:e}"))
    }
}

/// Compares ours with the reference; returns the largest error in standard deviations.
pub(crate) fn agree(what: &str, ours: &[f32], reference: &[Number]) -> Result<f64, String> {
    agree_within(DEVIATIONS, what, ours, reference)
}

/// The same with `most` standard deviations.
pub(crate) fn agree_within(most: f64, what: &str, ours: &[f32], reference: &[Number]) -> Result<f64, String> {
    assert_eq!(ours.len(), reference.len(), "{what}");
    let mut worst = 0.0;
    for (i, (&ours, reference)) in ours.iter().zip(reference).enumerate() {
        let error = (f64::from(ours) - reference.value).abs();
        let deviations = if error == 0.0 { 0.0 } else { error / reference.deviation() };
        if deviations.is_nan() || deviations > most {
            let Number { value, .. } = reference;
            return Err(format!("{what}[{i}]: {ours:e} is {deviations:.1} deviations from {value:e}"));
        }
        worst = f64::max(worst, deviations);
    }
    Ok(worst)
}

/// Central differences of a function along a direction: (f(h) − f(−h)) / 2h.
pub(crate) fn central(f: &dyn Fn(f64) -> f64, h: f64) -> f64 {
    (f(h) - f(-h)) / (2.0 * h)
}

/// The dot product.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A random direction of length 1.
pub(crate) fn direction(draw: &mut Draw, len: usize) -> Vec<f64> {
    let d: Vec<f64> = draw.vec(len, 1.0).into_iter().map(f64::from).collect();
    let norm = dot(&d, &d).sqrt();
    d.iter().map(|d| d / norm).collect()
}

/// `from + h · along`.
pub(crate) fn moved(from: &[f32], along: &[f64], h: f64) -> Vec<f64> {
    from.iter().zip(along).map(|(&w, d)| f64::from(w) + h * d).collect()
}

pub(crate) fn values_of(numbers: &[Number]) -> Vec<f64> {
    numbers.iter().map(|n| n.value).collect()
}
