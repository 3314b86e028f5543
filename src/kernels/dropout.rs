//! Dropout's masks: which elements a step keeps, and what they are multiplied by.
#![forbid(unsafe_code)]

use crate::parts;
use crate::rng::philox;

/// The mask of one layer in one step: a function of seed, step, layer and element
/// alone, worked out wherever it is needed and stored nowhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dropout {
    key: [u32; 2],
    /// The upper three words of the generator's counter.
    counter: [u32; 3],
    rate: f32,
    scale: f32,
}

impl Dropout {
    /// Bit 62 of the stream: layers draw initial weights from the low ones, shuffling has bit 63.
    const STREAM: u32 = 1 << 30;

    /// That of layer `layer`, which drops `rate` of its elements.
    pub(crate) fn new(rate: f32, layer: usize, seed: u64, step: u64) -> Self {
        let counter = [step as u32, (step >> 32) as u32, Self::STREAM | layer as u32];
        Self { key: [seed as u32, (seed >> 32) as u32], counter, rate, scale: 1.0 / (1.0 - rate) }
    }

    /// The factors of the elements from `first` on: +0 for those that are dropped.
    pub(crate) fn factors(&self, first: u64, to: &mut [f32]) {
        let mut words = [0; 4];
        for (element, to) in (first..).zip(to.iter_mut()) {
            let word = (element % 4) as usize;
            if word == 0 || element == first {
                let [step, step_high, stream] = self.counter;
                words = philox([(element / 4) as u32, step, step_high, stream], self.key);
            }
            *to = self.factor_of(parts::element(&words, word));
        }
    }

    /// That of one element.
    pub(crate) fn factor(&self, element: u64) -> f32 {
        let mut factor = [0.0];
        self.factors(element, &mut factor);
        factor[0]
    }

    fn factor_of(&self, word: u32) -> f32 {
        let uniform = (word >> 8) as f32 * (1.0 / 16_777_216.0);
        if uniform >= self.rate { self.scale } else { 0.0 }
    }
}
