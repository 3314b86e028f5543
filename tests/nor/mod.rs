//! A NOR flash that can lose power in the middle of anything.
//!
//! Stricter than any device: a word is written once between two erasures that finished, also where a cut left no trace of
//! the first attempt; what a page holds when it is new, or when power was cut while it was erased, is anybody's guess.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use embedded_storage::nor_flash::{check_erase, check_read, check_write};
use microprop::Rng;
use std::cell::RefCell;
use std::rc::Rc;

/// What the cells do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cells {
    /// What was torn reads as something, and stays so.
    Stable,
    /// Bits that were torn read differently each time that power comes.
    Marginal,
    /// Each word has a code that detects errors: what was torn, or written twice, may not be readable.
    Coded,
}

/// The smallest thing that happens to a flash.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Word { word: usize, bytes: Vec<u8> },
    Page { page: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Driver(NorFlashErrorKind),
    PowerIsOff,
    Unreadable,
    BadPage,
}

impl NorFlashError for Failure {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Driver(kind) => *kind,
            _ => NorFlashErrorKind::Other,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Nor<const READ: usize, const WRITE: usize, const PAGE: usize> {
    pub(crate) bytes: Vec<u8>,
    cells: Cells,
    /// Bits that are neither one nor zero.
    weak: Vec<u8>,
    /// Words that were written, or begun, since their page was erased to the end.
    touched: Vec<bool>,
    unreadable: Vec<bool>,
    /// How often each page was erased, or begun to be.
    pub(crate) erased: Vec<u64>,
    /// Pages that can't be erased, and pages that can't be written.
    pub(crate) bad_to_erase: Vec<usize>,
    pub(crate) bad_to_write: Vec<usize>,
    /// Operations until power is cut in the middle of one.
    pub(crate) cut_after: Option<u64>,
    pub(crate) is_on: bool,
    /// What has happened, if somebody wants to know.
    pub(crate) log: Option<Rc<RefCell<Vec<Operation>>>>,
    /// Words that were written twice.
    pub(crate) violations: u64,
    rng: Rng,
}

impl<const READ: usize, const WRITE: usize, const PAGE: usize> Nor<READ, WRITE, PAGE> {
    /// As it comes from somewhere: with anything in it.
    pub(crate) fn new(pages: usize, cells: Cells, seed: u64) -> Self {
        let mut rng = Rng::with_stream(seed, 0xf1a5);
        let len = pages * PAGE;
        Self {
            bytes: (0..len).map(|_| rng.next_u32() as u8).collect(),
            cells,
            weak: vec![0; len],
            touched: vec![true; len / WRITE],
            unreadable: vec![false; len / WRITE],
            erased: vec![0; pages],
            bad_to_erase: Vec::new(),
            bad_to_write: Vec::new(),
            cut_after: None,
            is_on: true,
            log: None,
            violations: 0,
            rng,
        }
    }

    pub(crate) fn power_up(&mut self) {
        self.is_on = true;
        self.cut_after = None;
        for index in 0..self.weak.len() {
            if self.weak[index] != 0 {
                let random = self.rng.next_u32() as u8 & self.weak[index];
                self.bytes[index] = self.bytes[index] & !self.weak[index] | random;
            }
        }
    }

    pub(crate) fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }

    /// Does an operation to the end.
    pub(crate) fn finish(&mut self, operation: &Operation) {
        match operation {
            Operation::Word { word, bytes } => {
                let (word, at) = (*word, word * WRITE);
                let twice = self.touched[word];
                if twice {
                    self.violations += 1;
                }
                self.touched[word] = true;
                self.unreadable[word] = self.cells == Cells::Coded && twice;
                for (cell, byte) in self.bytes[at..at + WRITE].iter_mut().zip(bytes) {
                    *cell &= byte;
                }
            }
            Operation::Page { page } => {
                let page = *page;
                self.erased[page] += 1;
                self.bytes[page * PAGE..][..PAGE].fill(0xff);
                self.weak[page * PAGE..][..PAGE].fill(0);
                let words = page * PAGE / WRITE..(page + 1) * PAGE / WRITE;
                self.touched[words.clone()].fill(false);
                self.unreadable[words].fill(false);
            }
        }
    }

    /// Cuts power somewhere in an operation: before it has any effect, after all of it, or when some bits are through.
    pub(crate) fn tear(&mut self, operation: &Operation) {
        self.is_on = false;
        let (range, target, words) = match operation {
            Operation::Word { word, bytes } => {
                if self.touched[*word] {
                    self.violations += 1;
                }
                (word * WRITE..(word + 1) * WRITE, Some(bytes), *word..word + 1)
            }
            Operation::Page { page } => {
                self.erased[*page] += 1;
                (page * PAGE..(page + 1) * PAGE, None, page * PAGE / WRITE..(page + 1) * PAGE / WRITE)
            }
        };
        self.touched[words.clone()].fill(true);
        // How far it gets: no bit, one in sixteen, a quarter, half …; all.
        let share = [0, 0, 16, 64, 128, 192, 240, 256, 256][self.rng.below(9) as usize];
        // In what way: towards its end; to anything; an erasure also by way of zeros, or the front of the page first.
        let way = self.rng.below(if target.is_some() { 6 } else { 8 });
        let front = range.start + self.rng.below(PAGE as u32) as usize;
        for index in range.clone() {
            let before = self.bytes[index];
            let after = target.map_or(0xff, |bytes| before & bytes[index - range.start]);
            let through = (0..8).fold(0_u8, |mask, bit| mask | u8::from(self.rng.below(256) < share) << bit);
            self.bytes[index] = match way {
                5 if share > 0 => self.rng.next_u32() as u8,
                6 => before & !through,
                7 if index < front => 0xff,
                7 => before,
                _ => before & !through | after & through,
            };
            if self.cells == Cells::Marginal && share != 256 {
                self.weak[index] |= if way == 5 { 0xff } else { before ^ after };
            }
        }
        if self.cells == Cells::Coded && share != 0 && share != 256 {
            for word in words {
                self.unreadable[word] |= self.rng.below(2) == 0;
            }
        }
    }

    fn happens(&mut self, operation: Operation) -> Result<(), Failure> {
        if !self.is_on {
            return Err(Failure::PowerIsOff);
        }
        let page = match operation {
            Operation::Word { word, .. } => word * WRITE / PAGE,
            Operation::Page { page } => page,
        };
        let bad = match operation {
            Operation::Word { .. } => &self.bad_to_write,
            Operation::Page { .. } => &self.bad_to_erase,
        };
        if bad.contains(&page) {
            return Err(Failure::BadPage);
        }
        if self.cut_after == Some(0) {
            self.tear(&operation);
            return Err(Failure::PowerIsOff);
        }
        self.cut_after = self.cut_after.map(|left| left - 1);
        self.finish(&operation);
        if let Some(log) = &self.log {
            log.borrow_mut().push(operation);
        }
        Ok(())
    }
}

impl<const READ: usize, const WRITE: usize, const PAGE: usize> ErrorType for Nor<READ, WRITE, PAGE> {
    type Error = Failure;
}

impl<const READ: usize, const WRITE: usize, const PAGE: usize> ReadNorFlash for Nor<READ, WRITE, PAGE> {
    const READ_SIZE: usize = READ;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failure> {
        check_read(self, offset, bytes.len()).map_err(Failure::Driver)?;
        if !self.is_on {
            return Err(Failure::PowerIsOff);
        }
        let range = offset as usize..offset as usize + bytes.len();
        if self.cells == Cells::Coded && self.unreadable[range.start / WRITE..range.end.div_ceil(WRITE)].contains(&true)
        {
            return Err(Failure::Unreadable);
        }
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const READ: usize, const WRITE: usize, const PAGE: usize> NorFlash for Nor<READ, WRITE, PAGE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Failure> {
        check_erase(self, from, to).map_err(Failure::Driver)?;
        (from as usize / PAGE..to as usize / PAGE).try_for_each(|page| self.happens(Operation::Page { page }))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failure> {
        check_write(self, offset, bytes.len()).map_err(Failure::Driver)?;
        let first = offset as usize / WRITE;
        bytes
            .chunks(WRITE)
            .enumerate()
            .try_for_each(|(index, bytes)| self.happens(Operation::Word { word: first + index, bytes: bytes.to_vec() }))
    }
}
