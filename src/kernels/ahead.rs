//! What is packed next, and what a tile's sums will be joined to, is fetched while tiles are computed: a line with each of
//! their terms or every other, since a burst of fetches holds up the loads behind it.
#![forbid(unsafe_code)]

use super::rows::{LINE, Rows};
use crate::simd::Simd;
use core::ops::Range;

/// A part of a matrix, fetched into the caches little by little.
pub(super) struct Ahead<'a> {
    from: Rows<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    tiles: usize,
    done: usize,
    /// The row that the next tile's share begins with; kept, since `done` tells it by a division.
    next: usize,
}

impl<'a> Ahead<'a> {
    /// `columns` of `rows` of `from`, a share of them with each of `tiles` tiles.
    #[inline(always)]
    pub(super) fn new(from: Rows<'a>, rows: Range<usize>, columns: Range<usize>, tiles: usize) -> Self {
        let next = rows.start;
        Self { from, rows, columns, tiles, done: 0, next }
    }

    /// The next tile's share.
    #[inline(always)]
    pub(super) fn share(&mut self) -> Lines<'a> {
        let first = self.next;
        self.done += 1;
        self.next = self.rows.start + self.rows.len() * self.done.min(self.tiles) / self.tiles;
        Lines::new(self.from, first..self.next, self.columns.clone())
    }
}

/// What is done beside the multiply-adds of a tile.
pub(super) trait Beside<S: Simd> {
    /// Whether it is anything.
    const SOME: bool;

    /// What is done with a term that has this place in its turn of the loop.
    fn turn(&mut self, s: S, place: usize);
}

/// Nothing is done beside the multiply-adds.
pub(super) struct Nothing;

impl<S: Simd> Beside<S> for Nothing {
    const SOME: bool = false;

    #[inline(always)]
    fn turn(&mut self, _: S, _: usize) {}
}

impl<S: Simd> Beside<S> for Lines<'_> {
    const SOME: bool = true;

    #[inline(always)]
    fn turn(&mut self, s: S, place: usize) {
        if place.is_multiple_of(2) {
            self.fetch(s);
        }
    }
}

/// A tile in the matrices that its sums will be joined to, which have one shape; those that are not there are empty.
pub(super) struct Joined<'a> {
    matrices: [&'a [f32]; 3],
    lines: usize,
    /// Where the next line begins, and where in its row.
    at: usize,
    column: usize,
    width: usize,
    stride: usize,
}

impl<'a> Joined<'a> {
    /// `rows` rows of `width` numbers, the first from `at` on, each `stride` behind the one before.
    #[inline(always)]
    pub(super) fn new(matrices: [&'a [f32]; 3], at: usize, rows: usize, width: usize, stride: usize) -> Self {
        Self { matrices, lines: rows * width.div_ceil(LINE), at, column: 0, width, stride }
    }

    /// The terms with which all is fetched, at most `most`; what is too much for those is fetched here.
    #[inline(always)]
    pub(super) fn terms<S: Simd>(&mut self, s: S, fours: bool, most: usize) -> usize {
        let room = if fours { most / 4 * 2 } else { most };
        for _ in room..self.lines {
            self.fetch(s);
        }
        let lines = self.lines.min(room);
        if fours { lines.div_ceil(2) * 4 } else { lines }
    }

    /// Fetches the next line of each matrix.
    #[inline(always)]
    fn fetch<S: Simd>(&mut self, s: S) {
        for matrix in self.matrices {
            if let Some(line) = matrix.get(self.at..) {
                s.prefetch(line);
            }
        }
        (self.at, self.column) = (self.at + LINE, self.column + LINE);
        if self.column >= self.width {
            (self.at, self.column) = (self.at - self.column + self.stride, 0);
        }
    }
}

impl<S: Simd> Beside<S> for Joined<'_> {
    const SOME: bool = true;

    #[inline(always)]
    fn turn(&mut self, s: S, place: usize) {
        if place.is_multiple_of(2) {
            self.fetch(s);
        }
    }
}

/// The lines of some columns of some rows.
pub(super) struct Lines<'a> {
    /// Ends with the last of them.
    data: &'a [f32],
    /// Where in `data` the next one begins, and where in its row.
    at: usize,
    column: usize,
    width: usize,
    stride: usize,
}

impl<'a> Lines<'a> {
    /// Those of `columns` of `rows`.
    #[inline(always)]
    fn new(from: Rows<'a>, rows: Range<usize>, columns: Range<usize>) -> Self {
        let width = columns.len();
        if rows.is_empty() || width == 0 {
            return Self::none();
        }
        let at = rows.start * from.stride + from.offset + columns.start;
        let end = (rows.end - 1) * from.stride + from.offset + columns.end;
        Self { data: &from.data[..end], at, column: 0, width, stride: from.stride }
    }

    /// No line at all.
    #[inline(always)]
    pub(super) fn none() -> Self {
        Self { data: &[], at: 1, column: 0, width: 0, stride: 0 }
    }

    /// Fetches all that are left.
    #[inline(always)]
    pub(super) fn fetch_all<S: Simd>(&mut self, s: S) {
        while self.at <= self.data.len() {
            self.fetch(s);
        }
    }

    /// Fetches the next line, if one is left.
    #[inline(always)]
    pub(super) fn fetch<S: Simd>(&mut self, s: S) {
        let Some(rest) = self.data.get(self.at..) else { return };
        s.prefetch(rest);
        (self.at, self.column) = (self.at + LINE, self.column + LINE);
        if self.column >= self.width {
            (self.at, self.column) = (self.at - self.column + self.stride, 0);
        }
    }
}
