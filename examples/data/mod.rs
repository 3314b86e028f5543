//! The data that the examples and tests learn from, embedded: see `README.md` beside this file.

mod record;

/// Real handwritten digits, 8×8 pixels each.
pub(crate) struct Digits {
    /// `[1797 × 64]`, row-major: from 0 (paper) to 1 (ink) in sixteenths.
    pub(crate) pixels: Vec<f32>,
    /// `[1797]`: the digit that each image shows.
    pub(crate) labels: Vec<u32>,
}

/// Unpacks the digits.
pub(crate) fn digits() -> Digits {
    let (images, labels): (Vec<_>, _) = record::RECORDS.iter().map(record::unpack).unzip();
    Digits { pixels: images.concat(), labels }
}

/// Draws one image, `[64]`, in eight lines of eight pixels, each two characters wide.
#[allow(dead_code, reason = "not every program that learns from the digits shows them")]
pub(crate) fn draw(image: &[f32]) -> String {
    const SHADES: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];
    let shade = |&pixel: &f32| SHADES[(4.0 * pixel).round() as usize];
    image.chunks_exact(8).map(|row| row.iter().map(shade).chain(["\n"]).collect::<String>()).collect()
}
