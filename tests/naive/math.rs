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
pub fn max(a: f32, b: f32) -> f32 {
    select(a > b, a, b)
}

/// Rule 1.3.
pub fn min(a: f32, b: f32) -> f32 {
    select(a < b, a, b)
}

/// 2⁻⁴⁰.
const SMALL: f32 = 1.0 / 1_099_511_627_776.0;

/// Rule 7.8: without the lowest 12 bits.
fn upper(x: f32) -> f32 {
    float(x.to_bits() & 0xffff_f000)
}

impl Arithmetic {
    /// Rule 1.2.
    pub fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        match self {
            Self::Fused => a.mul_add(b, c),
            Self::Portable => a * b + c,
        }
    }

    /// Rules 7.1 and 7.8: c₀ + c₁·x + c₂·x² + … in pairs, the pairs in x², and for eight coefficients
    /// and ten in x⁴.
    pub fn polynomial(self, c: &[u32], x: f32) -> f32 {
        let x2 = x * x;
        let pair = |i: usize| self.mul_add(float(c[i + 1]), x, float(c[i]));
        let four = |i: usize| self.mul_add(pair(i + 2), x2, pair(i));
        match c.len() {
            8 => self.mul_add(four(4), x2 * x2, four(0)),
            10 => self.mul_add(self.mul_add(pair(8), x2 * x2, four(4)), x2 * x2, four(0)),
            _ => self.mul_add(self.mul_add(float(c[4]), x2, pair(2)), x2, pair(0)),
        }
    }

    /// Rule 7.2: p and 2^(k+c), where e^x = 2^k·(1 + p).
    fn reduce(self, x: f32, c: i16) -> (f32, f32) {
        let (k, power) = self.nearest_power(x, c);
        let r = self.mul_add(k, -float(0x3f31_7200), x);
        (self.expm1_of(self.mul_add(k, -float(0x35bf_be8e), r)), power)
    }

    /// Rule 7.8: the same for x = high + low.
    fn reduce_sum(self, high: f32, low: f32, c: i16) -> (f32, f32) {
        let (k, power) = self.nearest_power(high + low, c);
        let r = self.mul_add(k, -float(0x3f31_7200), high) + self.mul_add(k, -float(0x35bf_be8e), low);
        (self.expm1_of(r), power)
    }

    fn nearest_power(self, x: f32, c: i16) -> (f32, f32) {
        let round = 12_583_039.0 + f32::from(c);
        let shifted = self.mul_add(x, float(0x3fb8_aa3b), round);
        (shifted - round, float(shifted.to_bits() << 23))
    }

    fn expm1_of(self, r: f32) -> f32 {
        const C: [u32; 5] = [0x3eff_fffa, 0x3e2a_aa46, 0x3d2a_aee9, 0x3c09_1eb0, 0x3ab3_90f4];
        self.mul_add(self.polynomial(&C, r), r * r, r)
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

    /// Rule 7.8: e^w and 1 + e^w in units of 2⁻⁴⁰.
    fn exp_and_one_more(self, (p, q): (f32, f32)) -> (f32, f32) {
        (self.mul_add(p, q, q), max(q, SMALL) + self.mul_add(p, q, min(q, SMALL)))
    }

    /// Rule 7.9.
    pub fn expm1(self, x: f32) -> f32 {
        let (p, q) = self.reduce(max(-30.0, min(89.0, x)), -1);
        let y = match x > 64.0 {
            true => self.mul_add(p, q, q - 1.0) * 2.0,
            false => self.mul_add(p, 2.0 * q, 2.0 * q - 1.0),
        };
        select(x.is_sign_negative(), -y.abs(), y)
    }

    /// Rule 7.10.
    pub fn softplus(self, x: f32) -> f32 {
        max(0.0, x) + self.softplus_of_negative(x)
    }

    /// Rule 7.11.
    pub fn silu(self, x: f32) -> f32 {
        let a = max(-110.0, min(30.0, x));
        let (_, d) = self.exp_and_one_more(self.reduce(-a, -40));
        select(x > 30.0, x, a / d * SMALL)
    }

    /// Rule 7.11.
    pub fn silu_slope(self, x: f32) -> f32 {
        let a = max(-110.0, min(30.0, x));
        let (e, d) = self.exp_and_one_more(self.reduce(-a, -40));
        let i = 1.0 / d;
        self.mul_add(a, e * i, 1.0) * i * SMALL
    }

    /// Rule 7.12: (Φ(x) − ½) / x near 0, a·Φ(−a)·e^(a²/2) less its first coefficient, and e^(−a²/2).
    fn gelu_parts(self, x: f32) -> (f32, f32, f32, (f32, f32)) {
        const NEAR: [u32; 5] = [0x3ecc_422a, 0xbd88_2c4d, 0x3c23_753d, 0xba9c_cf2e, 0x38fc_1a49];
        #[rustfmt::skip]
        const FAR: [u32; 10] = [0x3e52_cc01, 0xbe06_b771, 0xbc54_ed1f, 0x3ca2_2da1, 0x3c17_ef87,
                                0xba19_bb64, 0xbb39_2303, 0xbae5_edc3, 0x35a8_7c2b, 0x3a55_44da];
        let a = min(14.75, x.abs());
        let v = (a - 1.5625) / (a + 1.5625);
        let upper = upper(a);
        let bell = self.reduce_sum(upper * upper * -0.5, (a - upper) * (a + upper) * -0.5, 40);
        (a, self.polynomial(&NEAR, x * x), self.polynomial(&FAR, v) * v, bell)
    }

    /// Rule 7.12.
    pub fn gelu(self, x: f32) -> f32 {
        let (a, near, rest, (p, q)) = self.gelu_parts(x);
        let c = float(0x3ea0_37f2);
        let tail = (c + self.mul_add(p, c + rest, rest)) * q * SMALL;
        match a > 0.625 {
            true => select(x > 0.0, x - tail, -tail),
            false => x * self.mul_add(x, near, 0.5),
        }
    }

    /// Rule 7.12.
    pub fn gelu_slope(self, x: f32) -> f32 {
        let (a, near, rest, (p, q)) = self.gelu_parts(x);
        let density = float(0x3ecc_422a);
        let bell = |t: f32| self.mul_add(p, t, t) * q * SMALL;
        if a > 0.625 {
            let tail = bell(self.mul_add(-a, density, (float(0x3ea0_37f2) + rest) / a));
            select(x > 0.0, 1.0 - tail, tail)
        } else {
            self.mul_add(x, near + bell(density), 0.5)
        }
    }

    /// Rule 7.13: e^−w and 1 + e^−w in units of 2⁻⁴⁰, and x².
    fn gelu_tanh_parts(self, x: f32) -> (f32, f32, f32) {
        let (c1, c3) = ((0x3fcc_422a, 0x3fcc_4000, 0x388a_67a8), (0x3d92_2279, 0x3d92_2000, 0x369e_549b));
        let xh = upper(x);
        let xl = x - xh;
        let s = x * x;
        let sh = upper(s);
        let sl = self.mul_add(xl, x + xh, xh * xh - sh);
        let bh = upper(self.mul_add(s, float(c3.0), float(c1.0)));
        let bl = self.mul_add(sl, float(c3.1), self.mul_add(s, float(c3.2), float(c1.2)));
        let bl = self.mul_add(sh, float(c3.1), float(c1.1) - bh) + bl;
        let low = self.mul_add(xl, bh, x * bl);
        let (e, d) = self.exp_and_one_more(self.reduce_sum(-xh * bh, -low, -40));
        (e, d, s)
    }

    /// Rule 7.13.
    pub fn gelu_tanh(self, x: f32) -> f32 {
        let a = max(-11.0, min(6.0, x));
        let (_, d, _) = self.gelu_tanh_parts(a);
        select(x > 6.0, x, a / d * SMALL)
    }

    /// Rule 7.13.
    pub fn gelu_tanh_slope(self, x: f32) -> f32 {
        let a = max(-11.0, min(6.0, x));
        let (e, d, s) = self.gelu_tanh_parts(a);
        let i = 1.0 / d;
        let w = a * self.mul_add(s, float(0x3e5b_33b6), float(0x3fcc_422a));
        self.mul_add(w, e * i, 1.0) * i * SMALL
    }

    /// Rule 7.14.
    pub fn mish(self, x: f32) -> f32 {
        let x = max(-110.0, x);
        let inside = min(110.0, x);
        let (p, q) = self.reduce(-inside.abs(), 40);
        let a = self.mul_add(p, q, q) * SMALL;
        let ratio = match 0.0 > x {
            true => self.mul_add(a, a * -0.5, 1.0) / self.mul_add(a, 2.0 + a, 2.0),
            false => self.mul_add(a, 1.0 - a, 0.5) / self.mul_add(a, 2.0 + (a + a), 1.0),
        };
        let (whole, excess) = if a < 0.5 { (1.0, ratio - 0.5) } else { (0.5, ratio) };
        match 0.0 > x {
            true => self.mul_add(inside, self.mul_add(p, ratio + 0.5, excess), x * whole) * q * SMALL,
            false => self.mul_add(inside, excess, x * whole),
        }
    }

    /// Rule 7.14.
    pub fn mish_slope(self, x: f32) -> f32 {
        let x = max(-110.0, min(110.0, x));
        let (p, q) = self.reduce(-x.abs(), 40);
        let a = self.mul_add(p, q, q) * SMALL;
        let (c0, c1) = (self.mul_add(x, 4.0, 4.0), self.mul_add(x, 4.0, 6.0));
        let horner = |c: [f32; 4]| self.mul_add(a, self.mul_add(a, self.mul_add(a, c[3], c[2]), c[1]), c[0]);
        let ratio = |c: [f32; 4], d: f32| horner(c) / (d * d);
        if 0.0 > x {
            let y = ratio([c0, c1, 4.0, 1.0], self.mul_add(a, a + 2.0, 2.0));
            self.mul_add(p, y, y) * q * SMALL
        } else {
            ratio([1.0, 4.0, c1, c0], self.mul_add(a, self.mul_add(a, 2.0, 2.0), 1.0))
        }
    }

    /// Rule 7.15.
    pub fn softsign(self, x: f32) -> f32 {
        let a = max(-f32::MAX, min(f32::MAX, x));
        a / (1.0 + a.abs())
    }

    /// Rule 7.16.
    pub fn hard_sigmoid(self, x: f32) -> f32 {
        min(6.0, max(0.0, x + 3.0)) / 6.0
    }

    /// Rule 7.16.
    pub fn hard_swish(self, x: f32) -> f32 {
        max(-3.0, x) * self.hard_sigmoid(x)
    }

    /// Rule 7.16.
    pub fn hard_swish_slope(self, x: f32) -> f32 {
        select(x > -3.0, select(3.0 > x, x / 3.0 + 0.5, 1.0), 0.0)
    }
}
