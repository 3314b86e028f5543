//! One number for the bits of many.
#![forbid(unsafe_code)]

/// FNV-1a (Fowler, Noll, Vo; RFC 9923), 64 bits, over the little-endian bytes of
/// `values`. Every NaN counts as the quiet NaN `0x7fc00000`.
///
/// Two networks that hash alike have learned the same, bit for bit: it is how
/// runs on different machines are compared.
///
/// ```
/// use microprop::hash;
///
/// assert_eq!(hash(&[]), 0xcbf2_9ce4_8422_2325);
/// assert_ne!(hash(&[0.0]), hash(&[-0.0]));
/// assert_eq!(hash(&[f32::NAN]), hash(&[-f32::NAN]));
/// ```
pub fn hash(values: &[f32]) -> u64 {
    let bits = |value: &f32| if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() };
    values.iter().fold(OFFSET_BASIS, |hash, value| absorb(hash, bits(value)))
}

/// The hash of no bytes.
pub(crate) const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash of the bytes so far, and of the four of `word` behind them.
pub(crate) const fn absorb(mut hash: u64, word: u32) -> u64 {
    let bytes = word.to_le_bytes();
    let mut index = 0;
    while index < 4 {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        index += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "foob" is one of the test vectors of the authors' `test_fnv.c`.
    #[test]
    fn it_gives_the_published_answer() {
        assert_eq!(hash(&[f32::from_le_bytes(*b"foob")]), 0xdd12_0e79_0c25_12af);
    }
}
