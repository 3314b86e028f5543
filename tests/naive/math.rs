//! Sections 1 and 7 of docs/ARITHMETIC.md: `mul_add` and the elementary functions.

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arithmetic {
    Fused,
    Portable,
}

fn float(bits: u32) -> f32 {
    f32::from_bits(bits)
}

/// C's `c ? a : b`.
pub fn select(c: bool, a: f32, b: f32) -> f32 {
    if c { a } else { b }
}

/// Rule 1.3.
fn max(a: f32, b: f32) -> f32 {
    select(a > b, a, b)
}

/// Rule 1.3.
fn min(a: f32, b: f32) -> f32 {
    select(a < b, a, b)
}

impl Arithmetic {
    /// Rule 1.2.
    pub fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        match self {
            Self::Fused => a.mul_add(b, c),
            Self::Portable => a * b + c,
        }
    }

    /// Rule 7.1: c₀ + c₁·x + c₂·x² + … in pairs, the pairs in x², and for eight coefficients in x⁴.
    fn polynomial(self, c: &[u32], x: f32) -> f32 {
        let x2 = x * x;
        let pair = |i: usize| self.mul_add(float(c[i + 1]), x, float(c[i]));
        let four = |i: usize| self.mul_add(pair(i + 2), x2, pair(i));
        match c.len() {
            8 => self.mul_add(four(4), x2 * x2, four(0)),
            _ => self.mul_add(self.mul_add(float(c[4]), x2, pair(2)), x2, pair(0)),
        }
    }

    /// Rule 7.2: p and 2^(k+c), where e^x = 2^k·(1 + p).
    fn reduce(self, x: f32, c: i16) -> (f32, f32) {
        const C: [u32; 5] = [0x3eff_fffa, 0x3e2a_aa46, 0x3d2a_aee9, 0x3c09_1eb0, 0x3ab3_90f4];
        let round = 12_583_039.0 + f32::from(c);
        let shifted = self.mul_add(x, float(0x3fb8_aa3b), round);
        let k = shifted - round;
        let r = self.mul_add(k, -float(0x3f31_7200), x);
        let r = self.mul_add(k, -float(0x35bf_be8e), r);
        (self.mul_add(self.polynomial(&C, r), r * r, r), float(shifted.to_bits() << 23))
    }

    /// Rule 7.3.
    pub fn exp(self, x: f32) -> f32 {
        let (c, outer) = if x > 0.0 { (-1, 2.0) } else { (25, 1.0 / 33_554_432.0) };
        let (p, power) = self.reduce(max(-104.0, min(89.0, x)), c);
        self.mul_add(p, power, power) * outer
    }

    /// Rule 7.4.
    pub fn ln(self, x: f32) -> f32 {
        if x == 0.0 {
            return f32::NEG_INFINITY;
        } else if x < 0.0 || x.is_nan() {
            return f32::NAN;
        } else if x == f32::INFINITY {
            return x;
        }
        let (normal, less) = if x < f32::MIN_POSITIVE { (x * 8_388_608.0, 23.0) } else { (x, 0.0) };
        let exponent = (normal.to_bits() as i32 - 0x3f35_04f3) >> 23;
        let significand = float(normal.to_bits().wrapping_sub((exponent << 23) as u32));
        self.ln_of(exponent as f32 - less, significand - 1.0)
    }

    /// Rule 7.4: k·ln 2 + ln(1 + f).
    fn ln_of(self, k: f32, f: f32) -> f32 {
        const C: [u32; 8] =
            [0x3eaa_aab1, 0xbe80_0117, 0x3e4c_cd1e, 0xbe2a_3643, 0x3e11_9d07, 0xbe07_06e2, 0x3e01_b22d, 0xbd98_d622];
        let f2 = f * f;
        let small = self.mul_add(f * f2, self.polynomial(&C, f), k * float(0x35bf_be8e));
        let small = self.mul_add(f2, -0.5, small);
        self.mul_add(k, float(0x3f31_7200), f + small)
    }

    /// Rule 7.5.
    pub fn sigmoid(self, x: f32) -> f32 {
        let unit = 1.0 / 16_777_216.0;
        let (p, power) = self.reduce(max(-30.0, min(104.0, -x)), -24);
        let d = self.mul_add(p, power, power + unit);
        let y = unit / d;
        let lost = min(power, unit) + self.mul_add(p, power, max(power, unit) - d);
        self.mul_add(y * (lost * -16_777_216.0), y, y)
    }

    /// Rule 7.6.
    pub fn tanh(self, x: f32) -> f32 {
        const C: [u32; 5] = [0xbeaa_aa99, 0x3e08_8382, 0xbd5c_1c50, 0x3ca9_08e2, 0xbbba_c7d6];
        let a = x.abs();
        let y = if a > 0.625 {
            let (p, power) = self.reduce(min(20.0, a + a), 0);
            1.0 - 2.0 / self.mul_add(p, power, power + 1.0)
        } else {
            self.mul_add(a * (a * a), self.polynomial(&C, a * a), a)
        };
        y.copysign(x)
    }

    /// Rule 7.7: ln(1 + e^−|x|).
    pub fn softplus_of_negative(self, x: f32) -> f32 {
        let e = self.exp(-x.abs());
        if e > float(0x3ed4_13cd) { self.ln_of(1.0, self.mul_add(e, 0.5, -0.5)) } else { self.ln_of(0.0, e) }
    }
}
