//! The data that the examples and tests learn from, embedded: see `README.md` beside this file.

/// Real handwritten digits, 8×8 pixels each.
pub(crate) struct Digits {
    /// `[1797 × 64]`, row-major: from 0 (paper) to 1 (ink) in sixteenths.
    pub(crate) pixels: Vec<f32>,
    /// `[1797]`: the digit that each image shows.
    pub(crate) labels: Vec<u32>,
}

/// Unpacks the digits.
pub(crate) fn digits() -> Digits {
    let (records, _) = include_bytes!("digits.bin").as_chunks::<41>();
    let mut digits = Digits { pixels: Vec::new(), labels: Vec::new() };
    for [rows @ .., label] in records {
        for row in rows.chunks_exact(5) {
            let bits = row.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
            digits.pixels.extend((0..8).map(|column| (bits >> (5 * column) & 31) as f32 / 16.0));
        }
        digits.labels.push(u32::from(*label));
    }
    digits
}

/// Draws one image, `[64]`, in eight lines of eight pixels, each two characters wide.
#[allow(dead_code, reason = "not every program that learns from the digits shows them")]
pub(crate) fn draw(image: &[f32]) -> String {
    const SHADES: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];
    let shade = |&pixel: &f32| SHADES[(4.0 * pixel).round() as usize];
    image.chunks_exact(8).map(|row| row.iter().map(shade).chain(["\n"]).collect::<String>()).collect()
}
