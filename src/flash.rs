//! Keeps a model in NOR flash, through power cuts.
//!
//! A [`Store`] is a log of checkpoints in a range of flash: parameters, optimizer state, step and the state of a
//! generator. [`save`](Store::save) adds one, [`load`](Store::load) finds the newest. Wherever power is cut, what is
//! found is the model before or the one that was being saved, whole. It needs a driver with the traits of
//! [`embedded_storage`](https://docs.rs/embedded-storage) and no heap; on the stack (x86-64, `opt-level = "s"`)
//! [`open`](Store::open) takes 1.1 KB, its result included, `save` 0.6 KB and `load` 0.5 KB.
//!
//! ```
//! use embedded_storage::nor_flash::*;
//! use microprop::flash::{Checkpoint, Model, Store};
//! use microprop::{Layout, Optimizer, Rng, Sgd, init, layout};
//!
//! const LAYOUT: Layout = layout!(3 => dense(8, Tanh), dense(1, Linear));
//! const OPTIMIZER: Optimizer = Optimizer::Sgd(Sgd::new(0.05).momentum(0.9));
//! const MODEL: Model = Model {
//!     identity: LAYOUT.identity(),
//!     params_len: LAYOUT.params_len(),
//!     state_len: LAYOUT.optimizer_len(&OPTIMIZER),
//! };
//!
//! /// Pages of 1024 bytes, words of 4. On a board this is the HAL's driver.
//! struct Array([u8; 4096]);
//!
//! impl ErrorType for Array {
//!     type Error = NorFlashErrorKind;
//! }
//!
//! impl ReadNorFlash for Array {
//!     const READ_SIZE: usize = 1;
//!     fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
//!         check_read(self, offset, bytes.len())?;
//!         bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
//!         Ok(())
//!     }
//!     fn capacity(&self) -> usize {
//!         self.0.len()
//!     }
//! }
//!
//! impl NorFlash for Array {
//!     const WRITE_SIZE: usize = 4;
//!     const ERASE_SIZE: usize = 1024;
//!     fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
//!         check_erase(self, from, to)?;
//!         self.0[from as usize..to as usize].fill(0xff);
//!         Ok(())
//!     }
//!     fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
//!         check_write(self, offset, bytes.len())?;
//!         self.0[offset as usize..].iter_mut().zip(bytes).for_each(|(cell, byte)| *cell &= byte);
//!         Ok(())
//!     }
//! }
//!
//! let mut flash = Array([0x55; 4096]); // whatever was there
//! let mut params = [0.0; MODEL.params_len];
//! let mut state = [0.0; MODEL.state_len];
//! let mut rng = Rng::new(7);
//! let mut step = 0;
//!
//! let mut store = Store::open(&mut flash, 0..4096, MODEL)?;
//! match store.load(&mut params, &mut state)? {
//!     Some(saved) => (step, rng) = (saved.step, Rng::from_state(saved.rng)),
//!     None => init(&LAYOUT, 7, &mut params)?, // a new device
//! }
//! // … some steps of training, and now and then:
//! step += 100;
//! store.save(&Checkpoint { params: &params, state: &state, step, rng: rng.state() })?;
//!
//! // Power is cut, and comes back.
//! let mut store = Store::open(&mut flash, 0..4096, MODEL)?;
//! let mut found = [0.0; MODEL.params_len];
//! assert_eq!(store.load(&mut found, &mut state)?.unwrap().step, 100);
//! assert_eq!(found, params);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Slots
//! The range is cut into slots, each of as many pages as a record needs ([`record_len`]); two are the least. Slots
//! are used in turn, round and round. A slot is erased before its first record; further ones, if they fit, go behind
//! it as long as power stays. The newest record's slot is the last to be erased.
//!
//! Wear: with S slots that hold c records each, a page is erased once in S·c saves if power stays, and at most once
//! in S saves if it is cut after every one. A flash that endures E erasures of a page so takes at least E·S saves and
//! up to E·S·c. [`Store::erasures`] counts them.
//!
//! # What is in flash
//! Numbers are little-endian on every target. A word has the larger of the driver's `READ_SIZE` and `WRITE_SIZE`.
//!
//! | offset | bytes | |
//! |---|---:|---|
//! | 0 | 3 | `mp`, and the version of the format: 1 |
//! | 3 | 1 | a word's bytes, as the power of two |
//! | 4 | 4 | `params_len` |
//! | 8 | 4 | `state_len` |
//! | 12 | 4 | the header's check: the lower half of the CRC over bytes 0 to 11 and 16 to 63 |
//! | 16 | 8 | the model's identity |
//! | 24 | 6 | the sequence number: (slots begun before this one) · (records in a slot) + place in the slot |
//! | 30 | 2 | number of slots (its lower half) |
//! | 32 | 8 | step |
//! | 40 | 24 | the generator's state |
//! | 64 | 4·n | parameters, then optimizer state: n floats |
//! | next word | 8 | the CRC over bytes 0 to 11 and 16 to the last float |
//! | next word | 8 | the commit mark: `5a a5 3c c3 69 96 0f f0` |
//!
//! What lies between is ones. The next record in the slot begins with the next word. The sequence number tells where
//! a record belongs; one that stands elsewhere is not taken for one.
//!
//! # What is promised, and why it holds
//! The driver must do what its traits say: a word whose writing was cut, and a page whose erasure was, may hold
//! anything or give an error when read; the rest stays.
//!
//! - **A record counts only if its checksum is right**: CRC-64/XZ. Damage within 64 bits in a row, such as one torn
//!   word of up to eight bytes, never passes; other damage does with a chance of 2⁻⁶⁴. After 10¹³ cuts (10⁹ devices,
//!   10⁴ each) one is mistaken with a chance of 5·10⁻⁷; with 32 bits it would be 2,000 of them.
//! - **What was torn may read differently next time.** (Its cells are between one and zero.) So the checksum may have
//!   been right only by luck. The commit mark is written when all of the checksum is, and a record that has it goes
//!   before all that have not, if these are newer. If the mark itself was torn, and so is there at one time and not
//!   at another, then both the record and the one before are whole: either is found, and the next save leaves that
//!   one as it is.
//! - **No page is trusted to be erased because it reads as ones.** A word that was hardly begun reads so too, and
//!   must not be written again: the traits forbid it, and a flash with a code for errors takes it amiss. So the first
//!   save after power has come erases the next slot, whatever it seems to hold.
//! - **What can't be read is no record.** But if no header can be read at all, that is an error: it looks more like a
//!   driver that fails than like a new device. (Where erased words give read errors, [`format`](Store::format) a new
//!   device.)
//! - **What is written is read back** before the mark is. A page that fails is passed over for the next.
//! - **The sequence number never comes round**: it has 47 bits, more than any flash's records.
//!
//! Not promised: that a driver which buffers, or remaps pages, or rewrites whole pages for a word, is safe; that
//! cells keep what was once written right (a record that decays falls back to the one before, if that is still
//! there); that somebody who writes to the flash can't forge a record.
//!
//! `tests/power_cuts.rs` cuts power more than 1,000,000 times, in the middle of every word and page, again in the
//! saves after a cut, on flashes with words of 1 to 32 bytes, with torn words that flicker or can't be read; and it
//! finds five mistakes that it is shown.
//!
//! # Where this comes from
//! - What a cut leaves, and that no word is written twice: the documentation of
//!   `embedded_storage::nor_flash::NorFlash`.
//! - nRF52840 Product Specification, chapter NVMC, "Writing to flash": a word can be written nWRITE times between
//!   erasures. Here it is once.
//! - Flash with a code for errors: J. Waclawek, "STM32 gotchas", 99 (words of ones that can't be written); Zephyr
//!   issue 33140 (STM32H7: a word written twice, then read, is a bus fault); Trezor firmware pull request 5312
//!   (STM32U5: an interrupt that can't be masked, by what a cut left). On such a chip the driver must catch the fault
//!   and return an error.
//! - Two slots, a sequence number and a checksum are as old as the superblocks of file systems; littlefs (DESIGN.md)
//!   and sequential-storage use the like.
#![forbid(unsafe_code)]

mod crc;
mod error;
mod record;

pub use error::FlashError;
pub use record::record_len;

use crate::error::Buffer;
use core::ops::Range;
use embedded_storage::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind};
use record::{BLOCK, Header};

/// What a [`Store`] keeps: a model of which layout, and how many floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// [`Layout::identity`](crate::Layout::identity), or a number of your own that tells your models apart.
    pub identity: u64,
    /// Number of parameters: [`Layout::params_len`](crate::Layout::params_len).
    pub params_len: usize,
    /// Floats of the optimizer's state: [`Layout::optimizer_len`](crate::Layout::optimizer_len).
    pub state_len: usize,
}

/// All that training needs to go on where it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpoint<'a> {
    /// The parameters, `[params_len]`.
    pub params: &'a [f32],
    /// The optimizer's state, `[state_len]`.
    pub state: &'a [f32],
    /// Number of the next step.
    pub step: u64,
    /// [`Rng::state`](crate::Rng::state) of the generator that picks samples, or three numbers of your own.
    pub rng: [u64; 3],
}

/// What a model was saved with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Place of the record in the log: each save has a greater one, not always by 1.
    pub sequence: u64,
    /// Number of the next step.
    pub step: u64,
    /// State of the generator.
    pub rng: [u64; 3],
}

/// A log of checkpoints in a range of flash, of which the last counts.
#[derive(Debug)]
pub struct Store<F> {
    flash: F,
    range: Range<u32>,
    model: Model,
    /// Bytes of the larger of the driver's words.
    word: usize,
    record_len: u32,
    slot_len: u32,
    slots: u32,
    /// Records that a slot has room for.
    per_slot: u32,
    /// The newest record.
    newest: Option<Saved>,
    /// Whether the rest of its slot was erased since power came, and not touched since.
    clean: bool,
    /// The highest sequence number that stands in a header.
    highest: Option<u64>,
}

/// Records with a commit mark stand above those without, then the higher sequence number counts.
type Rank = (bool, u64);

impl<F: NorFlash> Store<F> {
    /// Looks for the newest record in `range`. Writes nothing.
    ///
    /// A store owns its driver; lend it one with `&mut flash`.
    ///
    /// # Errors
    /// - [`Sizes`](FlashError::Sizes): words above 64 bytes, or sizes that are no powers of two.
    /// - [`Range`](FlashError::Range), [`TooSmall`](FlashError::TooSmall): the range is not made of whole pages, lies
    ///   outside the flash, or has not room for two slots.
    /// - [`OtherModel`](FlashError::OtherModel), [`OtherRange`](FlashError::OtherRange): it holds a complete record of
    ///   something else.
    /// - [`Flash`](FlashError::Flash): no header could be read, or the driver calls a read misaligned or out of bounds. An
    ///   error in some records is no error here: a word that was torn may not be readable.
    pub fn open(flash: F, range: Range<u32>, model: Model) -> Result<Self, FlashError<F::Error>> {
        let mut store = Self::new(flash, range, model)?;
        store.refuse_others()?;
        store.newest = store.find()?;
        Ok(store)
    }

    /// Erases the whole range, whatever it holds, for a store without a record. A new device needs none of this.
    ///
    /// If power is cut before it returns, an older record than the newest may be left: format again.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) about sizes and range, and [`Flash`](FlashError::Flash) if a page can't be erased.
    pub fn format(flash: F, range: Range<u32>, model: Model) -> Result<Self, FlashError<F::Error>> {
        let mut store = Self::new(flash, range, model)?;
        store.flash.erase(store.range.start, store.range.end).map_err(FlashError::Flash)?;
        Ok(store)
    }

    fn new(flash: F, range: Range<u32>, model: Model) -> Result<Self, FlashError<F::Error>> {
        let (read, write, erase) = (F::READ_SIZE, F::WRITE_SIZE, F::ERASE_SIZE);
        let word = read.max(write);
        let is_word = |size: usize| size.is_power_of_two() && size <= BLOCK;
        let page = u32::try_from(erase).unwrap_or(0);
        if !is_word(read) || !is_word(write) || page == 0 || !erase.is_multiple_of(word) {
            return Err(FlashError::Sizes { read, write, erase });
        }
        let Range { start, end } = range;
        if start > end || !start.is_multiple_of(page) || !end.is_multiple_of(page) || end as usize > flash.capacity() {
            return Err(FlashError::Range { start, end, capacity: flash.capacity() });
        }
        let found = end - start;
        let record = record_len(model.params_len, model.state_len, word);
        let slot = record.checked_next_multiple_of(u64::from(page)).unwrap_or(u64::MAX);
        let needed = slot.saturating_mul(2);
        if needed > u64::from(found) {
            return Err(FlashError::TooSmall { needed, found });
        }
        // Both fit: two slots do.
        let (record_len, slot_len) = (record as u32, slot as u32);
        Ok(Self {
            flash,
            range,
            model,
            word,
            record_len,
            slot_len,
            slots: found / slot_len,
            per_slot: slot_len / record_len,
            newest: None,
            clean: false,
            highest: None,
        })
    }

    /// The newest record; `None` if nothing has been saved.
    pub fn newest(&self) -> Option<Saved> {
        self.newest
    }

    /// Number of slots, which are used in turn.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Records that fit into a slot: one erasure's worth, as long as power stays.
    pub fn records_per_slot(&self) -> u32 {
        self.per_slot
    }

    /// How often page `page` of the range (counted from 0) was erased for the records up to the newest, since the range
    /// was new or formatted. It follows from the sequence number, so it is as safe as the record.
    ///
    /// An erasure whose save did not finish is not in it: at most one for each power cut.
    pub fn erasures(&self, page: u32) -> u64 {
        let slot = u64::from(page) * F::ERASE_SIZE as u64 / u64::from(self.slot_len);
        let slots = u64::from(self.slots);
        match self.newest {
            // Turns 0 to this one, of which every `slots`-th is the slot's.
            Some(saved) if slot < slots => (self.turn(saved.sequence) + slots - slot) / slots,
            _ => 0,
        }
    }

    /// The driver.
    pub fn release(self) -> F {
        self.flash
    }

    /// Copies the newest record into `params: [params_len]` and `state: [state_len]`; `None`, and nothing copied, if nothing
    /// has been saved. It is read twice: nothing is copied before its checksum was found right.
    ///
    /// # Errors
    /// - [`Length`](FlashError::Length), before anything is read.
    /// - [`Flash`](FlashError::Flash) or [`Mismatch`](FlashError::Mismatch), if the second reading fails or differs. Only then
    ///   is it unspecified what the slices hold.
    pub fn load(&mut self, params: &mut [f32], state: &mut [f32]) -> Result<Option<Saved>, FlashError<F::Error>> {
        self.check_lengths(params, state)?;
        let Some(newest) = self.newest else { return Ok(None) };
        if !self.is_right(&self.header(newest))? {
            // It has decayed since it was opened or saved.
            self.clean = false;
            self.newest = self.find()?;
        }
        let Some(newest) = self.newest else {
            return Err(FlashError::Mismatch { offset: self.offset(newest.sequence) });
        };
        let (header, offset) = (self.header(newest), self.offset(newest.sequence));
        let split = params.len();
        let copy = |index: usize, value: f32| {
            if index < split {
                params[index] = value;
            } else {
                state[index - split] = value;
            }
        };
        match header.check(&mut self.flash, offset, self.range.end, self.word, copy) {
            Ok(true) => Ok(Some(newest)),
            Ok(false) => Err(FlashError::Mismatch { offset }),
            Err(error) => Err(FlashError::Flash(error)),
        }
    }

    /// Writes a record; when it returns, [`load`](Self::load) will find this one, through any power cut. Until then the
    /// record before stays as it is. If the flash refuses a page, the other slots are tried.
    ///
    /// # Errors
    /// - [`Length`](FlashError::Length), before anything is written.
    /// - [`Flash`](FlashError::Flash) or [`Mismatch`](FlashError::Mismatch), if no slot took it: this store keeps the record
    ///   before. (If the driver reports an error for a record that it has written, the next
    ///   [`open`](Self::open) finds the new one.)
    pub fn save(&mut self, checkpoint: &Checkpoint<'_>) -> Result<Saved, FlashError<F::Error>> {
        self.check_lengths(checkpoint.params, checkpoint.state)?;
        let (per_slot, slots) = (u64::from(self.per_slot), u64::from(self.slots));
        let turns = match (self.newest, self.highest) {
            // All but its own.
            (Some(newest), _) => {
                let turn = self.turn(newest.sequence);
                turn + 1..turn + slots
            }
            // Above what once stood here, should it be readable again.
            (None, Some(highest)) => self.turn(highest) + 1..self.turn(highest) + 1 + slots,
            (None, None) => 0..slots,
        };
        let behind = match self.newest {
            Some(newest) if self.clean => Some(newest.sequence + 1).filter(|next| !next.is_multiple_of(per_slot)),
            _ => None,
        };
        let mut result = Err(FlashError::Mismatch { offset: self.range.start });
        for sequence in behind.into_iter().chain(turns.map(|turn| turn * per_slot)) {
            result = self.try_save(sequence, checkpoint);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Writes a record in its place, the first of a slot after erasing it.
    fn try_save(&mut self, sequence: u64, checkpoint: &Checkpoint<'_>) -> Result<Saved, FlashError<F::Error>> {
        let saved = Saved { sequence, step: checkpoint.step, rng: checkpoint.rng };
        let (header, offset) = (self.header(saved), self.offset(sequence));
        self.clean = false;
        if sequence.is_multiple_of(u64::from(self.per_slot)) {
            self.flash.erase(offset, offset + self.slot_len).map_err(FlashError::Flash)?;
        }
        header.write(&mut self.flash, offset, checkpoint).map_err(FlashError::Flash)?;
        let right = header.check(&mut self.flash, offset, self.range.end, self.word, |_, _| {});
        if !right.map_err(FlashError::Flash)? {
            return Err(FlashError::Mismatch { offset });
        }
        header.commit(&mut self.flash, offset).map_err(FlashError::Flash)?;
        if !header.is_committed(&mut self.flash, offset).map_err(FlashError::Flash)? {
            return Err(FlashError::Mismatch { offset });
        }
        (self.newest, self.clean) = (Some(saved), true);
        Ok(saved)
    }

    /// The highest record of all whose checksum is right.
    fn find(&mut self) -> Result<Option<Saved>, FlashError<F::Error>> {
        let mut below = None;
        while let Some((rank, saved)) = self.highest_below(below)? {
            if self.is_right(&self.header(saved))? {
                return Ok(Some(saved));
            }
            below = Some(rank);
        }
        Ok(None)
    }

    /// The record with the highest rank below `below`, going by the headers.
    fn highest_below(&mut self, below: Option<Rank>) -> Result<Option<(Rank, Saved)>, FlashError<F::Error>> {
        let (mut best, mut readable, mut failure) = (None, false, None);
        for slot in 0..self.slots {
            for place in 0..self.per_slot {
                let offset = self.range.start + slot * self.slot_len + place * self.record_len;
                let header = match Header::read(&mut self.flash, offset) {
                    Ok(header) => {
                        readable = true;
                        header
                    }
                    Err(error) => {
                        failure = Some(bearable(error)?);
                        None
                    }
                };
                let Some(header) = header.filter(|header| self.stands_at(header, offset)) else { continue };
                let committed = match header.is_committed(&mut self.flash, offset) {
                    Ok(committed) => committed,
                    Err(error) => bearable(error).map(|_| false)?,
                };
                let sequence = header.saved.sequence;
                self.highest = self.highest.max(Some(sequence));
                let rank = (committed, sequence);
                if below.is_none_or(|below| rank < below) && best.is_none_or(|(best, _)| rank > best) {
                    best = Some((rank, header.saved));
                }
            }
        }
        match failure {
            Some(error) if !readable => Err(FlashError::Flash(error)),
            _ => Ok(best),
        }
    }

    /// An error if a page begins with a complete record that is not this store's.
    fn refuse_others(&mut self) -> Result<(), FlashError<F::Error>> {
        let Range { start, end } = self.range;
        for offset in (start..end).step_by(F::ERASE_SIZE) {
            if ((end - offset) as usize) < BLOCK {
                break;
            }
            let header = match Header::read(&mut self.flash, offset) {
                Ok(Some(header)) if !self.stands_at(&header, offset) => header,
                Ok(_) => continue,
                Err(error) => {
                    bearable(error)?;
                    continue;
                }
            };
            match header.check(&mut self.flash, offset, end, self.word, |_, _| {}) {
                Ok(true) if header.model != self.model => {
                    return Err(FlashError::OtherModel { expected: self.model.identity, found: header.model.identity });
                }
                Ok(true) => return Err(FlashError::OtherRange { offset }),
                Ok(false) => {}
                Err(error) => {
                    bearable(error)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a header is one of this store's, in the place that its sequence number has.
    fn stands_at(&self, header: &Header, offset: u32) -> bool {
        *header == self.header(header.saved) && offset == self.offset(header.saved.sequence)
    }

    /// Whether a record has the right checksum. What can't be read has not.
    fn is_right(&mut self, header: &Header) -> Result<bool, FlashError<F::Error>> {
        let offset = self.offset(header.saved.sequence);
        match header.check(&mut self.flash, offset, self.range.end, self.word, |_, _| {}) {
            Ok(right) => Ok(right),
            Err(error) => bearable(error).map(|_| false),
        }
    }

    fn header(&self, saved: Saved) -> Header {
        Header { model: self.model, word: self.word, slots: self.slots as u16, saved }
    }

    /// Slots begun before the one of this record.
    fn turn(&self, sequence: u64) -> u64 {
        sequence / u64::from(self.per_slot)
    }

    /// Where a record stands.
    fn offset(&self, sequence: u64) -> u32 {
        let slot = (self.turn(sequence) % u64::from(self.slots)) as u32;
        let place = (sequence % u64::from(self.per_slot)) as u32;
        self.range.start + slot * self.slot_len + place * self.record_len
    }

    fn check_lengths(&self, params: &[f32], state: &[f32]) -> Result<(), FlashError<F::Error>> {
        let lengths = [
            (Buffer::Parameters, self.model.params_len, params.len()),
            (Buffer::OptimizerState, self.model.state_len, state.len()),
        ];
        for (buffer, expected, found) in lengths {
            if expected != found {
                return Err(FlashError::Length { buffer, expected, found });
            }
        }
        Ok(())
    }
}

/// A read's error, if a torn word explains it.
fn bearable<E: NorFlashError>(error: E) -> Result<E, FlashError<E>> {
    match error.kind() {
        NorFlashErrorKind::NotAligned | NorFlashErrorKind::OutOfBounds => Err(FlashError::Flash(error)),
        _ => Ok(error),
    }
}
