//! The inner loop of a product, and the tile that it leaves: bounds are checked once, ahead of all reads and writes.

/// Numbers in a slice at two strides: element (k, r) is `data[start + k·step + r·across]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strided<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) start: usize,
    /// From one term to the next.
    pub(crate) step: usize,
    /// From one row to the next.
    pub(crate) across: usize,
}

impl Strided<'_> {
    /// Panics unless elements (k, r) with k < `terms` and r < `rows`, `width` floats from each on, lie in the slice.
    #[inline(always)]
    fn check(&self, terms: usize, rows: usize, width: usize) {
        // What overflows is more than any slice is long, and stays so.
        let down = (terms - 1).saturating_mul(self.step);
        let right = (rows - 1).saturating_mul(self.across);
        let end = self.start.saturating_add(down).saturating_add(right).saturating_add(width);
        assert!(end <= self.data.len(), "a walk stays in its slice");
    }
}

/// Calls `take` for each of the terms with its place in its turn, its MR elements of `a` and its `width` elements of `b`, of
/// which row 0 is read. If `fours`, a turn has four terms, so that counting is shared; the last ones are in place 0, as all
/// are otherwise.
#[inline(always)]
pub(crate) fn walk<const MR: usize>(
    fours: bool,
    terms: usize,
    a: Strided<'_>,
    b: Strided<'_>,
    width: usize,
    mut take: impl FnMut(usize, [f32; MR], &[f32]),
) {
    if terms == 0 {
        return;
    }
    a.check(terms, MR, 1);
    b.check(terms, 1, width);
    let (mut a_next, mut b_next) = (a.data.as_ptr().wrapping_add(a.start), b.data.as_ptr().wrapping_add(b.start));
    macro_rules! term {
        ($place:expr) => {{
            let mut column = [0.0; MR];
            for r in 0..MR {
                // SAFETY: `check` has seen that element (k, r) lies in `a.data` for each of the `terms` k and MR r, and no
                // more than `terms` are taken.
                column[r] = unsafe { *a_next.wrapping_add(r * a.across) };
            }
            // SAFETY: `check` has seen that the `width` elements from (k, 0) on lie in `b.data`, borrowed as long as `row`.
            let row = unsafe { core::slice::from_raw_parts(b_next, width) };
            (a_next, b_next) = (a_next.wrapping_add(a.step), b_next.wrapping_add(b.step));
            take($place, column, row);
        }};
    }
    let mut left = terms;
    if fours {
        left %= 4;
        for _ in 0..terms / 4 {
            for place in 0..4 {
                term!(place);
            }
        }
    }
    for _ in 0..left {
        term!(0);
    }
}

/// MR rows of a tile that is written: row r is `data[start + r·across ..][.. width]`.
///
/// # Panics
/// If they don't lie in `data`, or run into one another.
#[expect(clippy::needless_range_loop, reason = "r is a factor, too")]
#[inline(always)]
pub(crate) fn tile_rows<const MR: usize>(
    data: &mut [f32],
    start: usize,
    across: usize,
    width: usize,
) -> [&mut [f32]; MR] {
    Strided { data, start, step: 0, across }.check(1, MR, width);
    assert!(MR == 1 || width <= across, "the rows of a tile are apart");
    let base = data.as_mut_ptr();
    let mut rows = [const { [].as_mut_slice() }; MR];
    for r in 0..MR {
        // SAFETY: `check` has seen that the row lies in `data`, which stays borrowed; no two rows share an element, since
        // each ends before the next begins.
        rows[r] = unsafe { core::slice::from_raw_parts_mut(base.add(start + r * across), width) };
    }
    rows
}

/// The first `count` of 16 rows that are read: row r is `data[start + r·across ..][.. width]`. The rest are empty.
///
/// # Panics
/// If they don't lie in `data`.
#[expect(clippy::needless_range_loop, reason = "r is a factor, too")]
#[inline(always)]
pub(crate) fn rows_at(data: &[f32], start: usize, across: usize, count: usize, width: usize) -> [&[f32]; 16] {
    let mut rows = [[].as_slice(); 16];
    if count == 0 {
        return rows;
    }
    Strided { data, start, step: 0, across }.check(1, count, width);
    let base = data.as_ptr();
    for r in 0..16 {
        if r < count {
            // SAFETY: `check` has seen that each row up to the last lies in `data`, borrowed as long as they are.
            rows[r] = unsafe { core::slice::from_raw_parts(base.add(start + r * across), width) };
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::{Strided, rows_at, tile_rows, walk};
    #[cfg(panic = "unwind")]
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// A term's place, its elements of `a`, and those of `b`.
    type Term = (usize, [f32; 3], Vec<f32>);

    /// 3 rows of 6 terms, and 6 terms of 5 columns; `shorter` floats are missing at an end.
    fn walked(fours: bool, shorter: [usize; 2]) -> Vec<Term> {
        let numbers: Vec<f32> = (0..100).map(|n| n as f32).collect();
        let a = Strided { data: &numbers[..2 + 5 + 2 * 10 + 1 - shorter[0]], start: 2, step: 1, across: 10 };
        let b = Strided { data: &numbers[..1 + 5 * 7 + 5 - shorter[1]], start: 1, step: 7, across: 0 };
        let mut taken = Vec::new();
        walk(fours, 6, a, b, 5, |place, a, b| taken.push((place, a, b.to_vec())));
        taken
    }

    #[test]
    fn a_walk_visits_every_term_in_order() {
        for (fours, places) in [(false, [0; 6]), (true, [0, 1, 2, 3, 0, 0])] {
            let terms = [2.0, 3.0, 4.0, 5.0, 6.0, 7.0].into_iter().zip([1_u8, 8, 15, 22, 29, 36]).zip(places);
            let expected: Vec<Term> = terms
                .map(|((a, b), place)| (place, [a, a + 10.0, a + 20.0], (b..b + 5).map(f32::from).collect()))
                .collect();
            assert_eq!(walked(fours, [0, 0]), expected);
            let nowhere = Strided { data: &[], start: 9, step: 9, across: 9 };
            walk::<8>(fours, 0, nowhere, nowhere, 9, |_, _, _| panic!("there is nothing to take"));
        }
    }

    #[cfg(panic = "unwind")]
    #[test]
    fn a_walk_out_of_its_slice_is_refused() {
        for (fours, shorter) in [(false, [1, 0]), (false, [0, 1]), (true, [1, 0]), (true, [0, 1])] {
            assert!(catch_unwind(|| walked(fours, shorter)).is_err(), "{fours}, {shorter:?}");
        }
        let endless = Strided { data: &[0.0; 8], start: 1, step: usize::MAX / 2, across: usize::MAX };
        let within = Strided { data: &[0.0; 8], start: 0, step: 0, across: 0 };
        for (a, b) in [(endless, within), (within, endless)] {
            assert!(catch_unwind(|| walk::<2>(true, 3, a, b, 1, |_, _, _| ())).is_err());
        }
    }

    #[test]
    fn rows_of_a_tile_lie_apart_in_the_slice() {
        let mut data = [0.0; 12];
        for (r, row) in tile_rows::<3>(&mut data, 1, 4, 3).into_iter().enumerate() {
            row.fill(r as f32 + 1.0);
        }
        assert_eq!(data, [0.0, 1.0, 1.0, 1.0, 0.0, 2.0, 2.0, 2.0, 0.0, 3.0, 3.0, 3.0]);
        #[cfg(panic = "unwind")]
        for (start, across, width) in [(2, 4, 3), (0, 2, 3), (0, usize::MAX, 1), (usize::MAX, 1, 1)] {
            let tile = catch_unwind(AssertUnwindSafe(|| tile_rows::<3>(&mut data, start, across, width).len()));
            assert!(tile.is_err(), "{start} {across} {width}");
        }
    }
    #[test]
    fn rows_that_are_read_may_run_into_one_another() {
        let data: Vec<f32> = (0..20).map(|n| n as f32).collect();
        for (across, count) in [(6, 3), (1, 16), (0, 16), (17, 1), (9, 0)] {
            let rows = rows_at(&data, 2, across, count, 3);
            for (r, row) in rows.into_iter().enumerate() {
                assert_eq!(row, if r < count { &data[2 + r * across..][..3] } else { &[] }, "{across}, {count}, {r}");
            }
        }
        #[cfg(panic = "unwind")]
        for (start, across, count, width) in [(2, 8, 3, 3), (0, 2, 11, 1), (1, usize::MAX, 2, 1), (18, 0, 1, 3)] {
            let outside = catch_unwind(|| rows_at(&data, start, across, count, width).len());
            assert!(outside.is_err(), "{start} {across} {count} {width}");
        }
    }
}
