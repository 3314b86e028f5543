//! A record: one checkpoint, as it lies in flash.

use super::crc::Crc;
use super::{Checkpoint, Model, Saved};
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};

/// Bytes that are read or written at once, on the stack: a multiple of every size of word.
pub(super) const BLOCK: usize = 64;

/// Bytes of a header.
const HEADER: usize = 64;

/// Bytes of the checksum; as many has the commit mark.
const TAIL: usize = 8;

/// "mp" and the version of the format.
const MAGIC: [u8; 3] = *b"mp\x01";

/// The commit mark. Half of its bits are ones, in each byte: what is all ones or all zeros is far from it.
const COMMIT: [u8; TAIL] = [0x5a, 0xa5, 0x3c, 0xc3, 0x69, 0x96, 0x0f, 0xf0];

/// A sequence number above this was never written: no flash lives to 2⁴⁷ records. (2²⁰ pages, each erased 10⁵ times for
/// a hundred records, make 10¹³.)
const LAST_SEQUENCE: u64 = 1 << 47;

/// Bytes of flash that a record takes, with words of `word` bytes (the larger of a driver's `READ_SIZE`
/// and `WRITE_SIZE`): a header of 64, four for each float, and twice eight, the last three rounded up to words. `u64::MAX` if
/// that overflows.
///
/// ```
/// use microprop::{Layout, flash::record_len, layout};
///
/// const LAYOUT: Layout = layout!(20 => dense(64, Relu), dense(1, Sigmoid));
/// const PAGE: u64 = 4096;
/// // Without state, on a flash with words of 4 bytes. Two slots of this many pages are the least that a store takes.
/// const PAGES: u64 = record_len(LAYOUT.params_len(), 0, 4).div_ceil(PAGE);
/// assert_eq!((record_len(LAYOUT.params_len(), 0, 4), PAGES), (64 + 4 * 1409 + 8 + 8, 2));
/// ```
pub const fn record_len(params_len: usize, state_len: usize, word: usize) -> u64 {
    let Some(floats) = (params_len as u64).checked_add(state_len as u64) else { return u64::MAX };
    // Nothing that has an address comes near.
    if floats > u64::MAX / 8 || word as u64 > 1 << 32 {
        return u64::MAX;
    }
    let word = if word == 0 { 1 } else { word as u64 };
    HEADER as u64 + (4 * floats).next_multiple_of(word) + 2 * (TAIL as u64).next_multiple_of(word)
}

/// What stands in a record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) model: Model,
    /// Bytes of a word: a power of two, at most a block.
    pub(super) word: usize,
    /// Number of slots, its lower half: a store in another range has others.
    pub(super) slots: u16,
    pub(super) saved: Saved,
}

impl Header {
    /// What it looks like in flash, but for its own check, which is left zero.
    fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(3, &[self.word.trailing_zeros() as u8]);
        put(4, &(self.model.params_len as u32).to_le_bytes());
        put(8, &(self.model.state_len as u32).to_le_bytes());
        put(16, &self.model.identity.to_le_bytes());
        put(24, &(self.saved.sequence | u64::from(self.slots) << 48).to_le_bytes());
        put(32, &self.saved.step.to_le_bytes());
        for (index, value) in self.saved.rng.iter().enumerate() {
            put(40 + 8 * index, &value.to_le_bytes());
        }
        bytes
    }

    /// The header at `offset`, if there is one.
    pub(super) fn read<F: ReadNorFlash>(flash: &mut F, offset: u32) -> Result<Option<Self>, F::Error> {
        let mut bytes = [0; BLOCK];
        flash.read(offset, &mut bytes)?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if bytes[..3] != MAGIC || bytes[3] > 6 || u32_at(12) != checksum(&bytes).value() as u32 {
            return Ok(None);
        }
        let model = Model { identity: u64_at(16), params_len: u32_at(4) as usize, state_len: u32_at(8) as usize };
        let (sequence, slots) = (u64_at(24) & ((1 << 48) - 1), (u64_at(24) >> 48) as u16);
        let saved = Saved { sequence, step: u64_at(32), rng: [u64_at(40), u64_at(48), u64_at(56)] };
        Ok((saved.sequence <= LAST_SEQUENCE).then_some(Self { model, word: 1 << bytes[3], slots, saved }))
    }

    /// Bytes of the record, and where its checksum and its commit mark begin.
    fn extent(&self) -> (u64, u32, u32) {
        let len = record_len(self.model.params_len, self.model.state_len, self.word);
        let tail = TAIL.next_multiple_of(self.word) as u64;
        (len, len.saturating_sub(2 * tail) as u32, len.saturating_sub(tail) as u32)
    }

    /// Writes the record of `checkpoint` at `offset`, up to its commit mark.
    pub(super) fn write<F: NorFlash>(
        &self,
        flash: &mut F,
        offset: u32,
        checkpoint: &Checkpoint<'_>,
    ) -> Result<(), F::Error> {
        let mut bytes = self.bytes();
        let mut crc = checksum(&bytes);
        bytes[12..16].copy_from_slice(&(crc.value() as u32).to_le_bytes());
        let mut writer = Writer { flash, offset, word: self.word, block: [0; BLOCK], filled: 0 };
        writer.put(&bytes)?;
        for value in checkpoint.params.iter().chain(checkpoint.state) {
            let bytes = value.to_bits().to_le_bytes();
            crc.absorb(&bytes);
            writer.put(&bytes)?;
        }
        writer.end_word()?;
        writer.put(&crc.value().to_le_bytes())?;
        writer.end_word()
    }

    /// Writes the commit mark of the record at `offset`.
    pub(super) fn commit<F: NorFlash>(&self, flash: &mut F, offset: u32) -> Result<(), F::Error> {
        let (_, _, commit) = self.extent();
        let mut writer = Writer { flash, offset: offset + commit, word: self.word, block: [0; BLOCK], filled: 0 };
        writer.put(&COMMIT)?;
        writer.end_word()
    }

    /// Whether the record at `offset` has its commit mark.
    pub(super) fn is_committed<F: ReadNorFlash>(&self, flash: &mut F, offset: u32) -> Result<bool, F::Error> {
        let (_, _, commit) = self.extent();
        let mut bytes = [0; BLOCK];
        flash.read(offset + commit, &mut bytes[..TAIL.next_multiple_of(self.word)])?;
        Ok(bytes[..TAIL] == COMMIT)
    }

    /// Whether the record at `offset`, which ends at `end` or before, has the right checksum. Tells `each` the floats on
    /// the way: parameters, then state. The driver reads words of at most `word` bytes.
    pub(super) fn check<F: ReadNorFlash>(
        &self,
        flash: &mut F,
        offset: u32,
        end: u32,
        word: usize,
        mut each: impl FnMut(usize, f32),
    ) -> Result<bool, F::Error> {
        let (len, at, _) = self.extent();
        if len > u64::from(end - offset) {
            return Ok(false);
        }
        let mut crc = checksum(&self.bytes());
        let (floats, tail) = (HEADER + 4 * (self.model.params_len + self.model.state_len), at as usize);
        let mut found = [0; TAIL];
        let mut position = HEADER;
        while position < tail + TAIL {
            let mut block = [0; BLOCK];
            let size = BLOCK.min((tail + TAIL - position).next_multiple_of(word));
            flash.read(offset + position as u32, &mut block[..size])?;
            let payload = &block[..floats.saturating_sub(position).min(size)];
            crc.absorb(payload);
            for (index, bytes) in payload.chunks_exact(4).enumerate() {
                let value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                each((position - HEADER) / 4 + index, value);
            }
            // With words of less than eight bytes the checksum can lie in two blocks.
            for (index, found) in found.iter_mut().enumerate() {
                if let Some(place) = (tail + index).checked_sub(position)
                    && place < size
                {
                    *found = block[place];
                }
            }
            position += size;
        }
        Ok(u64::from_le_bytes(found) == crc.value())
    }
}

/// The checksum over a header: all of it but its own check, which is the lower half of this.
fn checksum(bytes: &[u8; HEADER]) -> Crc {
    let mut crc = Crc::START;
    crc.absorb(&bytes[..12]);
    crc.absorb(&bytes[16..]);
    crc
}

/// Writes bytes one after the other, each word once.
struct Writer<'f, F> {
    flash: &'f mut F,
    /// Where the block goes.
    offset: u32,
    word: usize,
    block: [u8; BLOCK],
    filled: usize,
}

impl<F: NorFlash> Writer<'_, F> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), F::Error> {
        for &byte in bytes {
            self.block[self.filled] = byte;
            self.filled += 1;
            if self.filled == BLOCK {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Fills the last word with ones.
    fn end_word(&mut self) -> Result<(), F::Error> {
        while !self.filled.is_multiple_of(self.word) {
            self.block[self.filled] = 0xff;
            self.filled += 1;
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), F::Error> {
        if self.filled > 0 {
            self.flash.write(self.offset, &self.block[..self.filled])?;
            self.offset += self.filled as u32;
            self.filled = 0;
        }
        Ok(())
    }
}
