//! Registers side by side: a function whose operations wait for one another runs on four while each of them waits.
#![forbid(unsafe_code)]

use super::Lanes;

/// Four registers that go through the same operations together: a multiply-add's latency is some four cycles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Four<S>(pub(crate) S);

/// Defines methods: of each register what the token does with one. (Written out, since loops over so many small arrays
/// would take a compiler longer than all it does with them.)
macro_rules! methods {
    ($($method:ident($($arg:ident: $type:ident),+) -> $ret:ident;)+) => {$(
        #[inline(always)]
        fn $method(self, $($arg: Self::$type),+) -> Self::$ret {
            [
                self.0.$method($($arg[0]),+),
                self.0.$method($($arg[1]),+),
                self.0.$method($($arg[2]),+),
                self.0.$method($($arg[3]),+),
            ]
        }
    )+};
}

impl<S: Lanes> Lanes for Four<S> {
    type Vector = [S::Vector; 4];
    type Ints = [S::Ints; 4];
    type Mask = [S::Mask; 4];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::Vector {
        [self.0.splat(x); 4]
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> Self::Ints {
        [self.0.splat_int(x); 4]
    }
    methods! {
        add(a: Vector, b: Vector) -> Vector;
        sub(a: Vector, b: Vector) -> Vector;
        mul(a: Vector, b: Vector) -> Vector;
        div(a: Vector, b: Vector) -> Vector;
        mul_add(a: Vector, b: Vector, c: Vector) -> Vector;
        sqrt(a: Vector) -> Vector;
        neg(a: Vector) -> Vector;
        abs(a: Vector) -> Vector;
        max(a: Vector, b: Vector) -> Vector;
        min(a: Vector, b: Vector) -> Vector;
        gt(a: Vector, b: Vector) -> Mask;
        select(mask: Mask, a: Vector, b: Vector) -> Vector;
        to_bits(a: Vector) -> Ints;
        from_bits(a: Ints) -> Vector;
        sub_int(a: Ints, b: Ints) -> Ints;
        and_int(a: Ints, b: Ints) -> Ints;
        or_int(a: Ints, b: Ints) -> Ints;
        shl23(a: Ints) -> Ints;
        shr23(a: Ints) -> Ints;
        int_to_float(a: Ints) -> Vector;
    }
}

#[cfg(test)]
mod tests {
    use super::Four;
    use crate::simd::{Lanes, Scalar};

    #[test]
    fn registers_do_what_one_does() {
        let (one, four) = (Scalar::<true>, Four(Scalar::<true>));
        let (a, b, c) = ([0.5, -2.25, 1e30, -7.0], [3.0, -0.0, 7e-20, -7.0], [-0.1, 4.0, f32::INFINITY, 1e-40]);
        let (n, m) = ([1, -1_000_000_000, 0x3f80_0000, 0], [6, 3, i32::MIN, -1]);
        macro_rules! agree {
            ($($method:ident($($arg:ident),+);)+) => {$(
                assert_eq!(
                    four.$method($($arg),+),
                    core::array::from_fn(|i| one.$method($($arg[i]),+)),
                    stringify!($method)
                );
            )+};
        }
        let mask = four.gt(a, b);
        assert_eq!(mask, [false, false, true, false]);
        agree! {
            add(a, b); sub(a, b); mul(a, b); div(a, b); mul_add(a, b, c); neg(a); abs(a); max(a, b); min(a, b);
            select(mask, a, b); to_bits(a); from_bits(n); sub_int(n, m); and_int(n, m); or_int(n, m); shl23(n); shr23(m);
            int_to_float(n);
        }
        assert_eq!(four.sqrt([4.0, 2.25, 0.0, 9.0]), [2.0, 1.5, 0.0, 3.0]);
        assert_eq!((four.splat(1.5), four.splat_int(-1)), ([1.5; 4], [-1; 4]));
    }
}
