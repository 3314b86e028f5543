//! How `digits.bin` packs an image: see `README.md` beside this file. Needs neither `std` nor an allocator.

/// Every image with its label.
pub(crate) static RECORDS: &[[u8; 41]] = {
    let (records, rest) = include_bytes!("digits.bin").as_chunks();
    assert!(rest.is_empty(), "whole records");
    records
};

/// The pixels of an image, row-major, from 0 (paper) to 1 (ink) in sixteenths, and the digit that it shows.
pub(crate) fn unpack([rows @ .., label]: &[u8; 41]) -> ([f32; 64], u32) {
    let mut pixels = [0.0; 64];
    for (pixels, row) in pixels.chunks_exact_mut(8).zip(rows.chunks_exact(5)) {
        let bits = row.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
        for (column, pixel) in pixels.iter_mut().enumerate() {
            *pixel = (bits >> (5 * column) & 31) as f32 / 16.0;
        }
    }
    (pixels, u32::from(*label))
}
