//! The product `A·B` by register tiles, epilogue included.
//!
//! An element is a sum over k, ascending, in blocks of [`BLOCK`]: each block is
//! one chain of `mul_add` from +0, and the blocks are added in order. Tiles,
//! lanes, packing and threads change which elements are computed together,
//! never the order within one.
#![forbid(unsafe_code)]

use super::ahead::Ahead;
use super::pack::{GROUP, Right};
use super::rows::{BLOCK, PANEL, Rows, RowsMut, copy_rows, panel_columns};
#[cfg(feature = "alloc")]
use super::rows::{load_lanes, store_lanes};
use super::swapped::swapped_scratch_len;
use super::tiles::{Epilogue, Left, Target, Tiled, row_tiles};
use crate::simd::{Simd, apart};
use core::ops::Range;

/// The epilogue of a product that lies in `out` without it.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) fn finish<S: Simd, E: Epilogue<S>>(s: S, out: &mut RowsMut<'_>, epilogue: &E) {
    for r in 0..out.count() {
        let row = out.row_mut(r);
        for at in (0..row.len()).step_by(S::LANES) {
            let lanes = S::LANES.min(row.len() - at);
            let value = epilogue.value(s, r, at, lanes, load_lanes(s, &row[at..], lanes));
            store_lanes(s, value, &mut row[at..], lanes);
        }
    }
    let rows = 0..out.count();
    epilogue.settle(s, out, rows, 0..out.width);
}

/// `out = epilogue(A·B)`, with `A: [m × k]`, `B: [k × n]` and `out: [m × n]`.
///
/// `scratch` holds a panel of B when it is packed, min(k, [`BLOCK`]) × [`PANEL`] floats, and with
/// [`product_scratch_len`] a group of panels, and rows of A as well.
#[inline(always)]
pub(crate) fn product<S: Simd, E: Epilogue<S>>(
    s: S,
    a: Rows<'_>,
    b: Right<'_>,
    out: &mut RowsMut<'_>,
    scratch: &mut [f32],
    epilogue: &E,
) {
    match b {
        Right::Plain(b) if out.count() <= 3 || !is_far(out.count(), a.width, out.width) => {
            direct(s, a, b, out, epilogue);
        }
        _ => packed(s, a, b, out, scratch, epilogue),
    }
}

/// Whether B, of k × n elements, is more than stays in the first-level cache as it is. A copy of A's rows then saves
/// more than it costs, if B is copied, too.
pub(super) const fn is_large(k: usize, n: usize) -> bool {
    k.saturating_mul(n) >= 32 * 1024
}

/// Whether B, of k × n elements, is so far from the core that a copy of some of its columns saves more than it costs: too
/// much for a second-level cache beside A and the result, and for a few tiles of rows twice that.
const fn is_far(m: usize, k: usize, n: usize) -> bool {
    k.saturating_mul(n) > if m <= 32 { 256 * 1024 } else { 128 * 1024 }
}

/// Rows of A that are copied at least, and at most where there is room for more.
const BANDS: [usize; 2] = [64, 256];

/// Floats of scratch with which [`dense_forward`](super::dense_forward) is fastest for m samples of a layer of k inputs
/// and n outputs, and [`dense_delta`](super::dense_delta) for one of n inputs and k outputs: where the layer is large,
/// room for more columns of the right matrix, for rows of the left one, or for its transpose.
pub const fn product_scratch_len(m: usize, k: usize, n: usize) -> usize {
    let deepest = if k < BLOCK { k } else { BLOCK };
    if m <= 3 || !is_large(k, n) {
        return deepest * PANEL;
    }
    let copies = deepest * (GROUP + if m < BANDS[1] { m } else { BANDS[1] });
    let swaps = swapped_scratch_len(m, k, n);
    if swaps > copies { swaps } else { copies }
}

/// B is read where it lies.
#[inline(always)]
fn direct<S: Simd, E: Epilogue<S>>(s: S, a: Rows<'_>, b: Rows<'_>, out: &mut RowsMut<'_>, epilogue: &E) {
    let m = out.count();
    let mut columns = Columns { a, b, target: Target { out, epilogue }, next: 0, settled: 0 };
    if m <= 3 {
        // A few rows: more vectors each, or the chains would wait on themselves.
        if m == 1 {
            while columns.left() >= 8 * S::LANES {
                columns.group::<S, 8, false>(s, 8 * S::LANES);
            }
        }
        while columns.left() >= 4 * S::LANES {
            columns.group::<S, 4, false>(s, 4 * S::LANES);
        }
    }
    while columns.left() >= 2 * S::LANES {
        columns.group::<S, 2, false>(s, 2 * S::LANES);
    }
    let left = columns.left();
    if left > S::LANES {
        columns.group::<S, 2, true>(s, left);
    } else if left > 0 {
        columns.group::<S, 1, true>(s, left);
    }
}

/// A product on its way from the first column to the last.
struct Columns<'a, 'o, E> {
    a: Rows<'a>,
    b: Rows<'a>,
    target: Target<'a, 'o, E>,
    next: usize,
    settled: usize,
}

/// Columns that are settled together, at least: a pass over few of them has more to do for each row than for each number.
const SETTLED: usize = 64;

impl<E> Columns<'_, '_, E> {
    /// Columns that are still to come.
    #[inline(always)]
    fn left(&self) -> usize {
        self.target.out.width - self.next
    }

    /// The next `columns` columns over all blocks of k: NV vectors, the last one short if `PART`.
    #[inline(always)]
    fn group<S: Simd, const NV: usize, const PART: bool>(&mut self, s: S, columns: usize)
    where
        E: Epilogue<S>,
    {
        let (k, b, target) = (self.a.width, self.b, &mut self.target);
        let (rows, columns) = (0..target.out.count(), self.next..self.next + columns);
        for start in (0..k).step_by(BLOCK) {
            let terms = start..k.min(start + BLOCK);
            let (is_first, is_last) = (start == 0, terms.end == k);
            let left = Left { a: self.a, first_row: 0, rows: rows.clone(), terms, is_first, is_last };
            let right = Tiled { b: &b.data[start * b.stride..], stride: b.stride, from: b.offset + columns.start };
            apart!(s => row_tiles::<S, E, NV, PART, PART>(s, &left, right, target, rows.clone(), columns.clone(), &mut None));
        }
        self.next = columns.end;
        if self.next == target.out.width || self.next - self.settled >= SETTLED {
            target.epilogue.settle(s, target.out, rows, self.settled..self.next);
            self.settled = self.next;
        }
    }
}

/// B's columns are packed, a panel at a time; if there is room, a group of panels, and some of A's rows as well.
#[inline(always)]
fn packed<S: Simd, E: Epilogue<S>>(
    s: S,
    a: Rows<'_>,
    b: Right<'_>,
    out: &mut RowsMut<'_>,
    scratch: &mut [f32],
    epilogue: &E,
) {
    let (m, k) = (out.count(), a.width);
    let deepest = k.min(BLOCK);
    let fits = BANDS[1].min((scratch.len() / deepest).saturating_sub(GROUP));
    let copies = is_large(k, out.width) && fits >= m.min(BANDS[0]);
    let (most, group) = if copies { (fits, b.group()) } else { (m, PANEL) };
    let (panels, room) = scratch.split_at_mut(deepest * group);
    let mut target = Target { out, epilogue };
    for first in (0..m).step_by(most) {
        let rows = first..m.min(first + most);
        for start in (0..k).step_by(BLOCK) {
            let terms = start..k.min(start + BLOCK);
            let (is_first, is_last) = (start == 0, terms.end == k);
            let mut left = Left { a, first_row: 0, rows: rows.clone(), terms: terms.clone(), is_first, is_last };
            if copies {
                let (data, offset) = (&a.data[rows.start * a.stride..rows.end * a.stride], a.offset + start);
                let copy = &mut room[..rows.len() * terms.len()];
                copy_rows(Rows { data, offset, width: terms.len(), ..a }, RowsMut::dense(copy, terms.len()));
                (left.a, left.first_row, left.terms) = (Rows::dense(copy, terms.len()), rows.start, 0..terms.len());
            }
            groups(s, &left, b, k, terms, &mut target, panels, group);
        }
    }
}

/// Some rows and terms of a product, over all columns, of which `group` are packed together.
#[expect(clippy::too_many_arguments, reason = "three matrices, the part of them that is meant, and where B is packed")]
#[inline(always)]
fn groups<S: Simd, E: Epilogue<S>>(
    s: S,
    left: &Left<'_>,
    b: Right<'_>,
    k: usize,
    terms: Range<usize>,
    target: &mut Target<'_, '_, E>,
    packed: &mut [f32],
    group: usize,
) {
    let n = target.out.width;
    // A single panel is as wide as is best for the columns that are left.
    let next = |from: usize| if group > PANEL { n.min(from + group) } else { from + panel_columns::<S>(n - from) };
    let mut first = 0;
    while first < n {
        let columns = first..next(first);
        let tiles = left.rows.len().div_ceil(S::TILE_ROWS) * columns.len().div_ceil(S::TILE_VECTORS * S::LANES);
        let mut ahead = is_large(k, n).then(|| {
            if columns.end < n {
                b.ahead(terms.clone(), columns.end..next(columns.end), tiles)
            } else {
                b.ahead(terms.end..k.min(terms.end + BLOCK), 0..next(0), tiles)
            }
        });
        b.pack(s, terms.clone(), columns.clone(), packed);
        let mut column = first;
        while column < columns.end {
            let columns = column..column + panel_columns::<S>(columns.end - column);
            let panel = &packed[(column - first) * terms.len()..];
            column = columns.end;
            macro_rules! of_width {
                ($($vectors:literal)*) => {
                    match columns.len().div_ceil(S::LANES) {
                        $($vectors if const { $vectors <= S::TILE_VECTORS } => {
                            if columns.len() == $vectors * S::LANES {
                                apart!(s => panel_tiles::<S, E, $vectors, false>(s, left, terms.len(), target, columns, panel, &mut ahead));
                            } else {
                                apart!(s => panel_tiles::<S, E, $vectors, true>(s, left, terms.len(), target, columns, panel, &mut ahead));
                            }
                        })*
                        _ => unreachable!("a panel has 1 to TILE_VECTORS vectors"),
                    }
                };
            }
            of_width!(1 2 3);
        }
        first = columns.end;
    }
}

/// One panel: NV vectors of columns, fewer in the last of the product if `OUT_PART`.
#[inline(always)]
fn panel_tiles<S: Simd, E: Epilogue<S>, const NV: usize, const OUT_PART: bool>(
    s: S,
    left: &Left<'_>,
    terms: usize,
    target: &mut Target<'_, '_, E>,
    columns: Range<usize>,
    panel: &[f32],
    ahead: &mut Option<Ahead<'_>>,
) {
    let right = Tiled { b: &panel[..terms * NV * S::LANES], stride: NV * S::LANES, from: 0 };
    row_tiles::<S, E, NV, false, OUT_PART>(s, left, right, target, left.rows.clone(), columns.clone(), ahead);
    if left.is_last {
        target.epilogue.settle(s, target.out, left.rows.clone(), columns);
    }
}

#[cfg(test)]
mod tests {
    use super::product_scratch_len;
    use crate::kernels::{dense_delta, dense_forward, forward_scratch_len};
    use crate::{Activation, Isa, Rng};

    /// Fewer rows than are copied at a time, as many and more; up to three blocks of terms; panels of all widths, in one
    /// group and in more; deltas that are turned, in whole vectors and not, and deltas that are not.
    #[test]
    fn room_for_copies_changes_no_bit() {
        for (m, k, n) in
            [(9, 300, 141), (31, 300, 141), (48, 129, 257), (256, 129, 257), (300, 260, 530), (110, 530, 300)]
        {
            let mut rng = Rng::new(1);
            let mut numbers = |len: usize| -> Vec<f32> { (0..len).map(|_| 2.0 * rng.uniform() - 1.0).collect() };
            let (a, b, bias, y) = (numbers(m * k), numbers(k * n), numbers(n), numbers(m * n));
            let [least, most] = [forward_scratch_len(k), product_scratch_len(m, k, n)];
            assert!(least < most, "{m}x{k}x{n} is large");
            for isa in Isa::available() {
                let forward = |scratch: usize| {
                    let mut y = vec![f32::NAN; m * n];
                    dense_forward(isa, &a, &b, &bias, Activation::Relu, &mut y, &mut vec![f32::NAN; scratch]).unwrap();
                    y
                };
                assert!(forward(least) == forward(most), "{isa}: dense_forward {m}x{k}x{n}");
                let delta = |scratch: usize| {
                    let mut below = vec![f32::NAN; m * n];
                    let scratch = &mut vec![f32::NAN; scratch];
                    dense_delta(isa, &a, k, &b, &y, Activation::Relu, &mut below, scratch).unwrap();
                    below
                };
                assert!(delta(least) == delta(most), "{isa}: dense_delta {m}x{k}x{n}");
            }
        }
    }
}
