//! Section 8 of docs/ARITHMETIC.md: the generator.

use super::math::Arithmetic;

/// Rule 8.1: Philox4x32-10.
pub fn philox(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(c[0]) * 0xD251_1F53;
        let b = u64::from(c[2]) * 0xCD9E_8D57;
        let high = |x: u64| (x >> 32) as u32;
        c = [high(b) ^ c[1] ^ key[0], b as u32, high(a) ^ c[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

pub struct Random {
    seed: u64,
    stream: u64,
    position: u64,
}

impl Random {
    pub fn new(seed: u64, stream: u64) -> Self {
        Self { seed, stream, position: 0 }
    }

    /// Rule 8.2.
    pub fn word(&mut self) -> u32 {
        let halves = |x: u64| [x as u32, (x >> 32) as u32];
        let ([n0, n1], [s0, s1]) = (halves(self.position / 4), halves(self.stream));
        let word = philox([n0, n1, s0, s1], halves(self.seed))[(self.position % 4) as usize];
        self.position += 1;
        word
    }

    /// Rule 8.3.
    pub fn uniform(&mut self) -> f32 {
        (self.word() >> 8) as f32 / 16_777_216.0
    }

    /// Rule 8.4.
    pub fn below(&mut self, bound: u32) -> u32 {
        loop {
            let wide = u64::from(self.word()) * u64::from(bound);
            if wide % (1 << 32) >= (1_u64 << 32) % u64::from(bound) {
                return (wide >> 32) as u32;
            }
        }
    }

    /// Rule 8.5, always in portable arithmetic.
    pub fn normal(&mut self) -> f32 {
        loop {
            let (u, v) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = u * u + v * v;
            if square > 0.0 && square < 1.0 {
                return u * (-2.0 * Arithmetic::Portable.ln(square) / square).sqrt();
            }
        }
    }
}

/// Rule 6.3: by squaring, from the exponent's highest bit down.
pub fn power(base: f64, exponent: u64) -> f64 {
    (0..64 - exponent.leading_zeros()).rev().fold(1.0, |result, bit| {
        let square: f64 = result * result;
        if exponent >> bit & 1 == 1 { square * base } else { square }
    })
}
