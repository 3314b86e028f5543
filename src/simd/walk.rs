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

/// Calls `take` for each group of G terms, `groups` of them, with the terms' MR elements of `a` and their `width` elements of `b`,
/// of which row 0 is read.
#[expect(clippy::needless_range_loop, reason = "r indexes registers")]
#[inline(always)]
pub(crate) fn walk<const G: usize, const MR: usize>(
    groups: usize,
    a: Strided<'_>,
    b: Strided<'_>,
    width: usize,
    mut take: impl FnMut([[f32; MR]; G], [&[f32]; G]),
) {
    if groups == 0 {
        return;
    }
    let terms = groups.checked_mul(G).expect("as many terms as there are numbers");
    a.check(terms, MR, 1);
    b.check(terms, 1, width);
    let (mut a_next, mut b_next) = (a.data.as_ptr().wrapping_add(a.start), b.data.as_ptr().wrapping_add(b.start));
    for _ in 0..groups {
        let mut columns = [[0.0; MR]; G];
        let mut rows = [[].as_slice(); G];
        for g in 0..G {
            for r in 0..MR {
                // SAFETY: `check` has seen that element (k, r) lies in `a.data` for each of the `terms` k and MR r.
                columns[g][r] = unsafe { *a_next.wrapping_add(r * a.across) };
            }
            // SAFETY: `check` has seen that the `width` elements from (k, 0) on lie in `b.data`, borrowed as long as `rows`.
            rows[g] = unsafe { core::slice::from_raw_parts(b_next, width) };
            (a_next, b_next) = (a_next.wrapping_add(a.step), b_next.wrapping_add(b.step));
        }
        take(columns, rows);
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

#[cfg(test)]
mod tests {
    use super::{Strided, tile_rows, walk};
    #[cfg(panic = "unwind")]
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// A term's elements of `a`, and those of `b`.
    type Term = ([f32; 3], Vec<f32>);

    /// 3 rows of 4 terms, and 4 terms of 5 columns, two terms at a time; `shorter` floats are missing at an end.
    fn walked(shorter: [usize; 2]) -> Vec<[Term; 2]> {
        let numbers: Vec<f32> = (0..100).map(|n| n as f32).collect();
        let a = Strided { data: &numbers[..2 + 3 + 2 * 10 + 1 - shorter[0]], start: 2, step: 1, across: 10 };
        let b = Strided { data: &numbers[..1 + 3 * 7 + 5 - shorter[1]], start: 1, step: 7, across: 0 };
        let mut taken = Vec::new();
        walk::<2, 3>(2, a, b, 5, |a, b| taken.push([(a[0], b[0].to_vec()), (a[1], b[1].to_vec())]));
        taken
    }

    #[test]
    fn a_walk_visits_every_term_in_order() {
        let term = |a: f32, b: u8| ([a, a + 10.0, a + 20.0], (b..b + 5).map(f32::from).collect::<Vec<_>>());
        assert_eq!(walked([0, 0]), [[term(2.0, 1), term(3.0, 8)], [term(4.0, 15), term(5.0, 22)]]);
        let nowhere = Strided { data: &[], start: 9, step: 9, across: 9 };
        walk::<4, 8>(0, nowhere, nowhere, 9, |_, _| panic!("there is nothing to take"));
    }

    #[cfg(panic = "unwind")]
    #[test]
    fn a_walk_out_of_its_slice_is_refused() {
        for shorter in [[1, 0], [0, 1]] {
            assert!(catch_unwind(|| walked(shorter)).is_err(), "{shorter:?}");
        }
        let endless = Strided { data: &[0.0; 8], start: 1, step: usize::MAX / 2, across: usize::MAX };
        let within = Strided { data: &[0.0; 8], start: 0, step: 0, across: 0 };
        for (a, b) in [(endless, within), (within, endless)] {
            assert!(catch_unwind(|| walk::<1, 2>(3, a, b, 1, |_, _| ())).is_err());
        }
        assert!(catch_unwind(|| walk::<4, 1>(usize::MAX, within, within, 1, |_, _| ())).is_err());
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
}
