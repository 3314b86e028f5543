//! What a store writes, refuses and counts; `power_cuts.rs` has what it survives.

#[allow(dead_code, reason = "each test uses its part of the flash")]
mod nor;

use embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind, ReadNorFlash};
use microprop::flash::{Checkpoint, FlashError, Model, Saved, Store, record_len};
use microprop::{Buffer, Rng};
use nor::{Cells, Failure, Nor};

const MODEL: Model = Model { identity: 0x0123_4567_89ab_cdef, params_len: 3, state_len: 2 };
const PARAMS: [f32; 3] = [1.0, -0.0, f32::NAN];
const STATE: [f32; 2] = [0.5, f32::NEG_INFINITY];

fn checkpoint(step: u64) -> Checkpoint<'static> {
    Checkpoint { params: &PARAMS, state: &STATE, step, rng: [7, 8, 9] }
}

fn save<F: NorFlash>(store: &mut Store<F>, steps: std::ops::Range<u64>) {
    for step in steps {
        store.save(&checkpoint(step)).unwrap();
    }
}

/// Two pages of 256 bytes: two slots, each for two records of 100 bytes.
fn flash() -> Nor<4, 4, 256> {
    Nor::new(2, Cells::Stable, 1)
}

fn crc(bytes: impl IntoIterator<Item = u8>) -> u64 {
    !bytes.into_iter().fold(u64::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u64::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xc96c_5795_d787_0f42 } else { crc >> 1 },
        )
    })
}

/// Byte by byte what the documentation says of the format.
#[test]
fn a_record_is_as_documented() {
    let mut flash = flash();
    let mut store = Store::open(&mut flash, 0..512, MODEL).unwrap();
    for step in 0..4 {
        store.save(&checkpoint(step)).unwrap();
    }
    let mut header = b"mp\x01\x02\x03\0\0\0\x02\0\0\0".to_vec();
    let mut rest = 0x0123_4567_89ab_cdef_u64.to_le_bytes().to_vec();
    rest.extend([3, 0, 0, 0, 0, 0, 2, 0]);
    for value in [3_u64, 7, 8, 9] {
        rest.extend(value.to_le_bytes());
    }
    let check = crc(header.iter().chain(&rest).copied()) as u32;
    let floats: Vec<u8> = PARAMS.iter().chain(&STATE).flat_map(|float| float.to_le_bytes()).collect();
    let checksum = crc(header.iter().chain(&rest).chain(&floats).copied());
    header.extend(check.to_le_bytes());
    let commit = [0x5a, 0xa5, 0x3c, 0xc3, 0x69, 0x96, 0x0f, 0xf0];
    let record = [header, rest, floats, checksum.to_le_bytes().to_vec(), commit.to_vec()].concat();
    assert_eq!(record.len() as u64, record_len(3, 2, 4));
    // The fourth record is the second of slot 1.
    assert_eq!(flash.bytes[256 + 100..][..100], record);
    assert_eq!(flash.bytes[256 + 200..], [0xff; 56]);
}

#[test]
fn what_is_saved_is_loaded_bit_for_bit() {
    let mut flash = flash();
    assert_eq!(Store::open(&mut flash, 0..512, MODEL).unwrap().load(&mut [0.0; 3], &mut [0.0; 2]), Ok(None));
    for step in 0..9_u64 {
        let mut store = Store::open(&mut flash, 0..512, MODEL).unwrap();
        assert_eq!(store.newest().map(|saved| saved.step), step.checked_sub(1));
        let saved = store.save(&checkpoint(step)).unwrap();
        let (mut params, mut state) = ([9.0; 3], [9.0; 2]);
        // Each opening goes on in the next slot.
        let expected = Saved { sequence: 2 * step, step, rng: [7, 8, 9] };
        assert_eq!((saved, store.load(&mut params, &mut state)), (expected, Ok(Some(expected))));
        assert_eq!(params.map(f32::to_bits), PARAMS.map(f32::to_bits));
        assert_eq!(state, STATE);
    }
    assert_eq!(flash.violations, 0);
}

#[test]
fn a_store_without_floats_keeps_its_numbers() {
    let model = Model { identity: 1, params_len: 0, state_len: 0 };
    let mut store = Store::open(flash(), 0..512, model).unwrap();
    store.save(&Checkpoint { params: &[], state: &[], step: 5, rng: [1, 2, 3] }).unwrap();
    assert_eq!(store.load(&mut [], &mut []).unwrap().map(|saved| saved.step), Some(5));
}

#[test]
fn lengths_are_whole_words() {
    assert_eq!(record_len(3, 2, 1), 64 + 20 + 16);
    assert_eq!(record_len(3, 2, 8), 64 + 24 + 16);
    assert_eq!(record_len(3, 2, 32), 64 + 32 + 64);
    assert_eq!(record_len(usize::MAX, usize::MAX, 4), u64::MAX);
    assert_eq!(record_len(0, 0, 0), 80);
    let mut store = Store::open(Nor::<32, 1, 256>::new(3, Cells::Stable, 1), 0..768, MODEL).unwrap();
    assert_eq!((store.slots(), store.records_per_slot()), (3, 1));
    store.save(&checkpoint(1)).unwrap();
    assert_eq!(store.load(&mut [0.0; 3], &mut [0.0; 2]).unwrap().map(|saved| saved.step), Some(1));
}

#[test]
fn bad_input_is_a_typed_error_and_writes_nothing() {
    let untouched = flash();
    let open = |range, model| Store::open(flash(), range, model).map(|_| ());
    for (start, end) in [(0, 511), (1, 512), (0, 768), (256, 0)] {
        assert_eq!(open(start..end, MODEL), Err(FlashError::Range { start, end, capacity: 512 }));
        assert_eq!(
            Store::format(flash(), start..end, MODEL).map(|_| ()),
            Err(FlashError::Range { start, end, capacity: 512 })
        );
    }
    assert_eq!(open(0..256, MODEL), Err(FlashError::TooSmall { needed: 512, found: 256 }));
    assert_eq!(open(0..0, MODEL), Err(FlashError::TooSmall { needed: 512, found: 0 }));
    let huge = Model { params_len: usize::MAX, state_len: usize::MAX, ..MODEL };
    assert_eq!(open(0..512, huge), Err(FlashError::TooSmall { needed: u64::MAX, found: 512 }));
    assert_eq!(
        Store::open(Nor::<128, 4, 256>::new(2, Cells::Stable, 1), 0..512, MODEL).map(|_| ()),
        Err(FlashError::Sizes { read: 128, write: 4, erase: 256 })
    );
    assert_eq!(
        Store::open(Nor::<1, 3, 300>::new(2, Cells::Stable, 1), 0..600, MODEL).map(|_| ()),
        Err(FlashError::Sizes { read: 1, write: 3, erase: 300 })
    );
    assert_eq!(
        Store::open(Nor::<1, 8, 100>::new(8, Cells::Stable, 1), 0..800, MODEL).map(|_| ()),
        Err(FlashError::Sizes { read: 1, write: 8, erase: 100 })
    );

    let mut store = Store::open(flash(), 0..512, MODEL).unwrap();
    let long = Checkpoint { params: &[0.0; 4], ..checkpoint(0) };
    let parameters = FlashError::Length { buffer: Buffer::Parameters, expected: 3, found: 4 };
    assert_eq!(store.save(&long), Err(parameters));
    let state = FlashError::Length { buffer: Buffer::OptimizerState, expected: 2, found: 0 };
    assert_eq!(store.save(&Checkpoint { state: &[], ..checkpoint(0) }), Err(state));
    assert_eq!(store.load(&mut [0.0; 4], &mut [0.0; 2]), Err(parameters));
    assert_eq!(store.load(&mut [0.0; 3], &mut []), Err(state));
    assert_eq!(store.release().bytes, untouched.bytes);
    assert_eq!(parameters.to_string(), "parameters: expected a length of 3, found 4");
}

#[test]
fn another_model_is_refused_until_it_is_formatted() {
    let mut flash = flash();
    Store::open(&mut flash, 0..512, MODEL).unwrap().save(&checkpoint(1)).unwrap();
    for other in [
        Model { identity: 5, ..MODEL },
        Model { params_len: 2, ..MODEL },
        Model { state_len: 0, ..MODEL },
        Model { params_len: 20, ..MODEL },
    ] {
        let refused = FlashError::OtherModel { expected: other.identity, found: MODEL.identity };
        assert_eq!(Store::open(&mut flash, 0..512, other).map(|_| ()), Err(refused));
    }
    assert_eq!(Store::open(&mut flash, 0..512, MODEL).unwrap().newest().unwrap().step, 1);
    let other = Model { params_len: 2, ..MODEL };
    let mut store = Store::format(&mut flash, 0..512, other).unwrap();
    assert_eq!(store.load(&mut [0.0; 2], &mut [0.0; 2]), Ok(None));
    store.save(&Checkpoint { params: &[1.0, 2.0], ..checkpoint(3) }).unwrap();
    assert!(Store::open(&mut flash, 0..512, MODEL).is_err());
    assert_eq!(Store::open(&mut flash, 0..512, other).unwrap().newest().unwrap().step, 3);
}

/// Else an older record could be taken for the newest.
#[test]
fn another_range_is_refused() {
    let mut flash = Nor::<4, 4, 256>::new(6, Cells::Stable, 1);
    let mut store = Store::open(&mut flash, 0..1024, MODEL).unwrap();
    save(&mut store, 0..6);
    assert_eq!(Store::open(&mut flash, 256..1536, MODEL).map(|_| ()), Err(FlashError::OtherRange { offset: 256 }));
    assert_eq!(Store::open(&mut flash, 0..512, MODEL).map(|_| ()), Err(FlashError::OtherRange { offset: 0 }));
    // With words of another size, by another driver.
    let mut wide = Nor::<4, 16, 256>::new(6, Cells::Stable, 1);
    wide.bytes.copy_from_slice(&flash.bytes);
    assert_eq!(Store::open(&mut wide, 0..1024, MODEL).map(|_| ()), Err(FlashError::OtherRange { offset: 0 }));
}

/// A bit may flip in any byte of the newest record: then it is the one before, never something else.
#[test]
fn every_byte_counts() {
    let mut flash = flash();
    let mut store = Store::open(&mut flash, 0..512, MODEL).unwrap();
    save(&mut store, 0..4);
    for byte in 356..456 {
        for bit in 0..8 {
            flash.bytes[byte] ^= 1 << bit;
            let (mut params, mut state) = ([0.0; 3], [0.0; 2]);
            let mut store = Store::open(&mut flash, 0..512, MODEL).unwrap();
            assert_eq!(store.load(&mut params, &mut state).unwrap().unwrap().step, 2, "byte {byte}, bit {bit}");
            flash.bytes[byte] ^= 1 << bit;
        }
    }
}

/// `load` finds the record before, and leaves the buffers alone if there is none.
#[test]
fn what_decays_after_opening_is_noticed() {
    let mut flash = flash();
    let mut store = Store::open(&mut flash, 0..512, MODEL).unwrap();
    save(&mut store, 0..2);
    let (mut params, mut state) = ([9.0; 3], [9.0; 2]);
    // A float of the second record reads differently as soon as it is open: after nine reads.
    let mut store = Store::open(Decaying { flash, at: 164, reads: 9 }, 0..512, MODEL).unwrap();
    assert_eq!(store.newest().unwrap().step, 1);
    assert_eq!(store.load(&mut params, &mut state).unwrap().unwrap().step, 0);
    assert_eq!(params[0], PARAMS[0]);
    // A record without another.
    let mut flash = store.release().flash;
    flash.bytes[100..200].fill(0xff);
    let mut store = Store::open(Decaying { flash, at: 64, reads: 8 }, 0..512, MODEL).unwrap();
    (params, state) = ([9.0; 3], [9.0; 2]);
    assert_eq!(store.load(&mut params, &mut state), Err(FlashError::Mismatch { offset: 0 }));
    assert_eq!((params, state), ([9.0; 3], [9.0; 2]));
}

/// Reads the byte at `at` wrong after some reads.
struct Decaying {
    flash: Nor<4, 4, 256>,
    at: u32,
    reads: u32,
}

impl embedded_storage::nor_flash::ErrorType for Decaying {
    type Error = Failure;
}

impl ReadNorFlash for Decaying {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failure> {
        self.flash.read(offset, bytes)?;
        match self.reads.checked_sub(1) {
            Some(left) => self.reads = left,
            None if (offset..offset + bytes.len() as u32).contains(&self.at) => bytes[(self.at - offset) as usize] ^= 1,
            None => {}
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl NorFlash for Decaying {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 256;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Failure> {
        self.flash.erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failure> {
        self.flash.write(offset, bytes)
    }
}

#[test]
fn a_flash_that_cannot_be_read_is_an_error_not_a_new_device() {
    let mut flash = flash();
    Store::open(&mut flash, 0..512, MODEL).unwrap().save(&checkpoint(1)).unwrap();
    flash.is_on = false;
    let error = Store::open(&mut flash, 0..512, MODEL).map(|_| ());
    assert_eq!(error, Err(FlashError::Flash(Failure::PowerIsOff)));
    let bounds = Failure::Driver(NorFlashErrorKind::OutOfBounds);
    assert_eq!(flash.read(512, &mut [0; 4]), Err(bounds));
}

/// Each page in turn: a page is erased as often as every other, give or take one.
#[test]
fn wear_is_spread_and_counted() {
    let mut rng = Rng::new(3);
    let mut flash = Nor::<4, 4, 128>::new(9, Cells::Stable, 1);
    // Slots of two pages: four, and a page that is left over.
    let model = Model { params_len: 20, ..MODEL };
    let floats = [1.0; 20];
    for _ in 0..50 {
        let mut store = Store::open(&mut flash, 0..9 * 128, model).unwrap();
        assert_eq!((store.slots(), store.records_per_slot()), (4, 1));
        for step in 0..rng.below(5) {
            store.save(&Checkpoint { params: &floats, ..checkpoint(step.into()) }).unwrap();
        }
        let counted: Vec<u64> = (0..10).map(|page| store.erasures(page)).collect();
        assert_eq!((&counted[..9], counted[9]), (&flash.erased[..], 0));
        assert!(counted[0].abs_diff(counted[7]) <= 1);
    }
    assert!(flash.erased[0] > 20 && flash.erased[8] == 0);

    // Records of 100 bytes, ten to a page: one erasure for ten saves while power stays.
    let mut flash = Nor::<4, 4, 1024>::new(3, Cells::Stable, 1);
    let mut store = Store::open(&mut flash, 0..3072, MODEL).unwrap();
    save(&mut store, 0..300);
    assert_eq!([0, 1, 2].map(|page| store.erasures(page)), [10; 3]);
    assert_eq!(flash.erased, [10; 3]);
}

/// A page that can't be erased or written is passed over; the record before stays whatever happens.
#[test]
fn bad_pages_are_passed_over() {
    for bad in 0..4 {
        for write in [false, true] {
            let mut flash = Nor::<4, 4, 256>::new(4, Cells::Stable, 1);
            if write { &mut flash.bad_to_write } else { &mut flash.bad_to_erase }.push(bad);
            for step in 0..20 {
                let mut store = Store::open(&mut flash, 0..1024, MODEL).unwrap();
                store.save(&checkpoint(step)).unwrap();
                store.save(&checkpoint(100 + step)).unwrap();
                let found = Store::open(&mut flash, 0..1024, MODEL).unwrap().newest().unwrap();
                assert_eq!(found.step, 100 + step);
            }
            assert_eq!(flash.violations, 0);
        }
    }
    let mut flash = flash();
    Store::open(&mut flash, 0..512, MODEL).unwrap().save(&checkpoint(1)).unwrap();
    flash.bad_to_erase.push(1);
    let mut store = Store::open(&mut flash, 0..512, MODEL).unwrap();
    assert_eq!(store.save(&checkpoint(2)), Err(FlashError::Flash(Failure::BadPage)));
    assert_eq!(store.load(&mut [0.0; 3], &mut [0.0; 2]).unwrap().unwrap().step, 1);
    // It is good again.
    store.release().bad_to_erase.clear();
    Store::open(&mut flash, 0..512, MODEL).unwrap().save(&checkpoint(3)).unwrap();
    assert_eq!(Store::open(&mut flash, 0..512, MODEL).unwrap().newest().unwrap().step, 3);
}

/// Cells that can't hold a zero: what is written reads back differently.
#[test]
fn a_bad_cell_is_found_before_the_record_counts() {
    let mut flash = flash();
    let mut store = Store::open(&mut flash, 0..512, MODEL).unwrap();
    store.save(&checkpoint(1)).unwrap();
    let mut stuck = Decaying { flash, at: 256 + 70, reads: 0 };
    let mut store = Store::open(&mut stuck, 0..512, MODEL).unwrap();
    assert_eq!(store.save(&checkpoint(2)), Err(FlashError::Mismatch { offset: 256 }));
    assert_eq!(store.newest().unwrap().step, 1);
    assert_eq!(Store::open(&mut stuck.flash, 0..512, MODEL).unwrap().newest().unwrap().step, 1);
}

/// No sequence number overflows, whatever stands in the flash.
#[test]
fn a_record_of_the_far_future_is_none() {
    let mut flash = flash();
    Store::open(&mut flash, 0..512, MODEL).unwrap().save(&checkpoint(1)).unwrap();
    for sequence in [(1_u64 << 48) - 1, (1 << 48) - 4, (1 << 47) + 4] {
        flash.bytes[24..30].copy_from_slice(&sequence.to_le_bytes()[..6]);
        let check = crc(flash.bytes[..12].iter().chain(&flash.bytes[16..64]).copied()) as u32;
        flash.bytes[12..16].copy_from_slice(&check.to_le_bytes());
        let checksum = crc(flash.bytes[..12].iter().chain(&flash.bytes[16..84]).copied());
        flash.bytes[84..92].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Store::open(&mut flash, 0..512, MODEL).unwrap().newest(), None);
    }
}
