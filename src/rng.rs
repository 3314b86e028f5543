//! A small seeded generator whose numbers are the same on every target.
#![forbid(unsafe_code)]

/// Philox4x32-10: a counter-based generator (Salmon, Moraes, Dror, Shaw:
/// "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
///
/// Its n-th block of four words is a function of seed, stream and n alone, so
/// any number can be had without the ones before it.
///
/// ```
/// use microprop::Rng;
///
/// let mut rng = Rng::new(7);
/// let x = rng.uniform(); // in 0 ≤ x < 1
/// let i = rng.below(10); // in 0..10
/// assert!((0.0..1.0).contains(&x) && i < 10);
/// assert_eq!(Rng::new(7).uniform(), x);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    key: [u32; 2],
    stream: u64,
    /// Index of the next word: block × 4 + word.
    position: u64,
    block: [u32; 4],
}

impl Rng {
    /// The generator of this seed, at its first number.
    pub const fn new(seed: u64) -> Self {
        Self::with_stream(seed, 0)
    }

    /// One of 2⁶⁴ sequences of a seed that have nothing to do with one another.
    pub const fn with_stream(seed: u64, stream: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], stream, position: 0, block: [0; 4] }
    }

    /// Seed, stream and position: all there is to know, to keep where the generator itself can't be kept.
    ///
    /// ```
    /// use microprop::Rng;
    ///
    /// let mut rng = Rng::new(7);
    /// rng.uniform();
    /// let mut resumed = Rng::from_state(rng.state());
    /// assert_eq!(resumed.uniform(), rng.uniform());
    /// ```
    pub const fn state(&self) -> [u64; 3] {
        [self.key[0] as u64 | (self.key[1] as u64) << 32, self.stream, self.position]
    }

    /// The generator that had this [`state`](Self::state): its next number is the one that was next then.
    pub const fn from_state([seed, stream, position]: [u64; 3]) -> Self {
        let mut rng = Self { position, ..Self::with_stream(seed, stream) };
        if !position.is_multiple_of(4) {
            rng.block = rng.block_at(position / 4);
        }
        rng
    }

    /// Four words, the `n`-th block of the sequence.
    const fn block_at(&self, n: u64) -> [u32; 4] {
        philox([n as u32, (n >> 32) as u32, self.stream as u32, (self.stream >> 32) as u32], self.key)
    }

    /// 32 random bits.
    pub const fn next_u32(&mut self) -> u32 {
        let word = (self.position % 4) as usize;
        if word == 0 {
            self.block = self.block_at(self.position / 4);
        }
        self.position = self.position.wrapping_add(1);
        self.block[word]
    }

    /// A multiple of 2⁻²⁴ in 0 ≤ x < 1, each as likely as the next.
    pub const fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// An integer in 0 ≤ i < `bound`, without bias (Lemire: "Fast random integer
    /// generation in an interval", 2019); 0 if `bound` is 0.
    pub const fn below(&mut self, bound: u32) -> u32 {
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let wide = self.next_u32() as u64 * bound as u64;
            if wide as u32 >= threshold {
                return (wide >> 32) as u32;
            }
        }
    }

    /// Puts `items` in random order (Fisher–Yates). At most 2³² of them.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = u32::try_from(last + 1).unwrap_or(u32::MAX);
            items.swap(last, self.below(bound) as usize);
        }
    }
}

/// Ten rounds of Philox on one counter.
pub(crate) const fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let mut round = 0;
    while round < 10 {
        let a = counter[0] as u64 * 0xD251_1F53;
        let b = counter[2] as u64 * 0xCD9E_8D57;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        round += 1;
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with the authors' library (Random123, kat_vectors).
    #[test]
    fn philox_gives_the_published_answers() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, answer) in cases {
            assert_eq!(philox(counter, key), answer);
        }
    }

    #[test]
    fn below_is_in_range_and_even() {
        let mut rng = Rng::new(1);
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[rng.below(10) as usize] += 1;
        }
        // 1000 is ten standard deviations.
        assert!(counts.iter().all(|&c| c.abs_diff(10_000) < 1000), "{counts:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn after_the_last_number_comes_the_first() {
        let mut rng = Rng { position: u64::MAX, ..Rng::new(5) };
        rng.next_u32();
        assert_eq!(rng.next_u32(), Rng::new(5).next_u32());
    }

    #[test]
    fn a_state_resumes_anywhere() {
        let mut rng = Rng::with_stream(u64::MAX - 5, 1 << 40);
        for _ in 0..9 {
            assert_eq!(Rng::from_state(rng.state()).next_u32(), rng.clone().next_u32());
            rng.next_u32();
        }
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: [u32; 100] = core::array::from_fn(|i| i as u32);
        Rng::new(3).shuffle(&mut items);
        assert_ne!(items, core::array::from_fn(|i| i as u32));
        items.sort_unstable();
        assert_eq!(items, core::array::from_fn(|i| i as u32));
    }
}
