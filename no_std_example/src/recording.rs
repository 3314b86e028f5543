//! A recording of a watch: ten seconds of its accelerometer and gyroscope, and the features that a network sees of it.

/// Accelerometer x, y, z, gyroscope x, y, z.
pub const CHANNELS: usize = 6;
/// Ten a second.
pub const SAMPLES: usize = 100;
/// For each channel and second one.
pub const FEATURES: usize = CHANNELS * SAMPLES / SECOND;
/// What the wearer may be doing.
pub const MOTIONS: [&str; 4] = ["standing", "running", "walking", "badminton"];
/// Units of a stored sample in one of the original: the largest, 35, fits 16 bits.
pub const UNITS: f32 = 800.0;

const SECOND: usize = 10;
/// Features are of about unit size.
const SCALE: f32 = 0.25 / (UNITS * (SECOND * SECOND) as f32);

/// A recording as it lies in flash: the samples of channel after channel, 16 bits each, low byte first, then the motion.
pub type Recording = [u8; 2 * CHANNELS * SAMPLES + 1];

/// The features of a recording, and its motion: how much a channel moves within a second, as the mean distance of the
/// samples from their mean. Sums are of integers, as a microcontroller likes them.
pub fn features([samples @ .., motion]: &Recording) -> ([f32; FEATURES], u32) {
    let mut features = [0.0; FEATURES];
    for (feature, second) in features.iter_mut().zip(samples.chunks_exact(2 * SECOND)) {
        let (samples, _) = second.as_chunks();
        let samples = samples.iter().map(|&bytes| i32::from(i16::from_le_bytes(bytes)));
        let sum: i32 = samples.clone().sum();
        let distance: u32 = samples.map(|sample| sum.abs_diff(SECOND as i32 * sample)).sum();
        *feature = distance as f32 * SCALE;
    }
    (features, u32::from(*motion))
}
