//! Dropout's masks, from the generator's paper.

/// Philox4x32-10 (Salmon et al. 2011).
fn philox(mut c: [u32; 4], seed: u64) -> [u32; 4] {
    let (mut low, mut high) = (seed as u32, (seed >> 32) as u32);
    for _ in 0..10 {
        let (a, b) = (0xD251_1F53 * u64::from(c[0]), 0xCD9E_8D57 * u64::from(c[2]));
        c = [(b >> 32) as u32 ^ c[1] ^ low, b as u32, (a >> 32) as u32 ^ c[3] ^ high, a as u32];
        low = low.wrapping_add(0x9E37_79B9);
        high = high.wrapping_add(0xBB67_AE85);
    }
    c
}

/// Which values of layer `layer`, `[samples][width]`, step `step` keeps under `seed`: 32 bits for each
/// element, counted through the batch, of which the upper 24 make a uniform number.
pub(crate) fn mask(rate: f32, layer: u32, seed: u64, step: u64, samples: usize, width: usize) -> Vec<Vec<bool>> {
    let keeps = |element: usize| {
        let block = [(element / 4) as u32, step as u32, (step >> 32) as u32, 1 << 30 | layer];
        (philox(block, seed)[element % 4] >> 8) as f32 / 16_777_216.0 >= rate
    };
    (0..samples).map(|s| (0..width).map(|j| keeps(s * width + j)).collect()).collect()
}
