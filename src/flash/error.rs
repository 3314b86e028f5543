//! Why a model cannot be kept in flash, or had from it.

use crate::error::Buffer;
use core::fmt;

/// Why a [`Store`](super::Store) cannot do what it is asked. `E` is the error of the flash's driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlashError<E> {
    /// The driver reports an error.
    Flash(E),
    /// The driver's words or pages are of a size that a store can't use: a word to read or to write has 1, 2, 4 … 64
    /// bytes, a page a whole number of both.
    Sizes {
        /// Bytes of a word that is read.
        read: usize,
        /// Bytes of a word that is written.
        write: usize,
        /// Bytes of a page.
        erase: usize,
    },
    /// The range does not begin and end with a page, or the flash ends before it.
    Range {
        /// Where the range begins.
        start: u32,
        /// Where it ends.
        end: u32,
        /// Bytes of the flash.
        capacity: usize,
    },
    /// The range is too small for two slots.
    TooSmall {
        /// Bytes that two slots take.
        needed: u64,
        /// Bytes of the range.
        found: u32,
    },
    /// A slice has another length than the model.
    Length {
        /// The slice.
        buffer: Buffer,
        /// The length it should have.
        expected: usize,
        /// The length it has.
        found: usize,
    },
    /// The range holds a model of another layout, or one with another number of parameters or floats of state.
    OtherModel {
        /// The [identity](crate::Layout::identity) of the layout expected.
        expected: u64,
        /// The identity found.
        found: u64,
    },
    /// The range holds a model that was saved in a range of another size, or by a driver with other words or pages.
    OtherRange {
        /// Where it was found.
        offset: u32,
    },
    /// What was written, or was right a moment ago, reads differently.
    Mismatch {
        /// Where the record begins.
        offset: u32,
    },
}

impl<E: fmt::Debug> fmt::Display for FlashError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(error) => write!(f, "the flash reports {error:?}"),
            Self::Sizes { read, write, erase } => write!(
                f,
                "expected words of 1, 2, 4 to 64 bytes and pages of whole words, \
                 found words of {read} to read, {write} to write and pages of {erase}"
            ),
            Self::Range { start, end, capacity } => {
                write!(f, "expected a range of whole pages in a flash of {capacity} bytes, found {start} to {end}")
            }
            Self::TooSmall { needed, found } => write!(f, "two slots take {needed} bytes, found a range of {found}"),
            Self::Length { buffer, expected, found } => {
                write!(f, "{buffer}: expected a length of {expected}, found {found}")
            }
            Self::OtherModel { expected, found } => write!(
                f,
                "expected a model of the layout {expected:#018x}, found one of {found:#018x} or of other lengths; \
                 Store::format discards it"
            ),
            Self::OtherRange { offset } => write!(
                f,
                "the model at {offset:#x} was saved in another range or with other words; Store::format discards it"
            ),
            Self::Mismatch { offset } => write!(f, "the record at {offset:#x} reads differently than it should"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for FlashError<E> {}
