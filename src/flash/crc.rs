//! The checksum.

/// CRC-64/XZ: the polynomial of ECMA-182 (0x42f0_e1eb_a9ea_3693), bits reflected, from all ones, complemented at the end.
///
/// Two records of one length that differ only within 64 bits in a row never share it (as with any CRC of 64 bits, Peterson
/// and Brown: "Cyclic codes for error detection", 1961); others do with a chance of 2⁻⁶⁴.
#[derive(Clone, Copy)]
pub(super) struct Crc(u64);

/// The remainders of four bits: 128 bytes, where those of eight would be 2 KB.
const REMAINDERS: [u64; 16] = {
    let mut remainders = [0; 16];
    let mut nibble = 0;
    while nibble < 16 {
        let (mut remainder, mut bit) = (nibble as u64, 0);
        while bit < 4 {
            remainder = if remainder & 1 == 1 { remainder >> 1 ^ 0xc96c_5795_d787_0f42 } else { remainder >> 1 };
            bit += 1;
        }
        remainders[nibble] = remainder;
        nibble += 1;
    }
    remainders
};

impl Crc {
    pub(super) const START: Self = Self(u64::MAX);

    pub(super) fn absorb(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let mut crc = self.0 ^ u64::from(byte);
            crc = crc >> 4 ^ REMAINDERS[crc as usize & 15];
            crc = crc >> 4 ^ REMAINDERS[crc as usize & 15];
            self.0 = crc;
        }
    }

    pub(super) const fn value(self) -> u64 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-64/XZ in the catalogue of parametrised CRC algorithms (G. Cook).
    #[test]
    fn it_gives_the_published_answer() {
        let mut crc = Crc::START;
        crc.absorb(b"1234");
        crc.absorb(b"56789");
        assert_eq!(crc.value(), 0x995d_c9bb_df19_39fa);
    }
}
