//! A plain writer, and mistakes to make in it, to see that the trial finds them.

use crate::{Content, Keeper, Model};
use embedded_storage::nor_flash::NorFlash;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Mistake {
    /// None: so that it is the mistakes that are found.
    None,
    /// The mark that makes a record count is written before the record.
    MarkFirst,
    /// The slot of the only good record is erased for the next.
    ErasesTheOnlyOne,
    /// The mark is written last, and believed without a checksum.
    NoChecksum,
    /// A checksum of eight bits.
    ShortChecksum,
    /// A page that reads as ones is taken for an erased one.
    TrustsOnes,
}

impl Mistake {
    pub(crate) const ALL: [Self; 5] =
        [Self::MarkFirst, Self::ErasesTheOnlyOne, Self::NoChecksum, Self::ShortChecksum, Self::TrustsOnes];
}

/// Two slots of a page each. A record is its sequence number, the content, a checksum and a mark, in words of four bytes.
pub(crate) struct Wrong<F> {
    flash: F,
    mistake: Mistake,
    sequence: u32,
}

const MARK: u32 = 0xc0ff_ee00;
const MODEL: Model = Model { identity: 0x5eed, params_len: 4, state_len: 2 };
const WORDS: usize = 1 + 6 + 8 + 2;

impl<F: NorFlash> Wrong<F> {
    fn checksum(&self, words: &[u32]) -> u32 {
        let sum = words.iter().fold(1_u32, |sum, word| sum.wrapping_mul(0x9e37_79b1).rotate_left(7) ^ word);
        match self.mistake {
            Mistake::NoChecksum | Mistake::MarkFirst => 0,
            Mistake::ShortChecksum => sum >> 24,
            _ => sum,
        }
    }

    fn record(&mut self, slot: u32) -> Option<[u32; WORDS]> {
        let mut bytes = [0; 4 * WORDS];
        self.flash.read(slot * F::ERASE_SIZE as u32, &mut bytes).ok()?;
        let words: [u32; WORDS] =
            std::array::from_fn(|word| u32::from_le_bytes(bytes[4 * word..][..4].try_into().unwrap()));
        let checked = match self.mistake {
            Mistake::NoChecksum | Mistake::MarkFirst => true,
            _ => words[WORDS - 2] == self.checksum(&words[..WORDS - 2]),
        };
        (checked && words[WORDS - 1] == MARK).then_some(words)
    }

    fn newest(&mut self) -> Option<[u32; WORDS]> {
        (0..2).filter_map(|slot| self.record(slot)).max_by_key(|words| words[0])
    }
}

impl<F: NorFlash> Keeper<F> for Wrong<F> {
    type Settings = Mistake;

    fn open(flash: F, mistake: Mistake) -> Result<Self, String> {
        let mut wrong = Self { flash, mistake, sequence: 0 };
        wrong.sequence = wrong.newest().map_or(0, |words| words[0]);
        Ok(wrong)
    }

    fn load(&mut self) -> Result<Option<Content>, String> {
        let wide = |words: &[u32]| u64::from(words[0]) | u64::from(words[1]) << 32;
        Ok(self.newest().map(|words| Content {
            params: words[1..1 + MODEL.params_len].to_vec(),
            state: words[1 + MODEL.params_len..7].to_vec(),
            step: wide(&words[7..]),
            rng: [wide(&words[9..]), wide(&words[11..]), wide(&words[13..])],
        }))
    }

    fn save(&mut self, content: &Content) -> bool {
        self.sequence += 1;
        let mut words = vec![self.sequence];
        words.extend(content.params.iter().chain(&content.state));
        for wide in [content.step, content.rng[0], content.rng[1], content.rng[2]] {
            words.extend([wide as u32, (wide >> 32) as u32]);
        }
        words.push(self.checksum(&words));
        words.push(MARK);
        let slot = match self.mistake {
            Mistake::ErasesTheOnlyOne => 0,
            _ => self.sequence % 2,
        };
        let page = F::ERASE_SIZE as u32;
        let mut ones = vec![0; page as usize];
        let erased = matches!(self.mistake, Mistake::TrustsOnes)
            && self.flash.read(slot * page, &mut ones).is_ok()
            && ones.iter().all(|&byte| byte == 0xff);
        let mut order: Vec<usize> = (0..WORDS).collect();
        if matches!(self.mistake, Mistake::MarkFirst) {
            order.rotate_right(1);
        }
        (erased || self.flash.erase(slot * page, (slot + 1) * page).is_ok())
            && order
                .into_iter()
                .all(|word| self.flash.write(slot * page + 4 * word as u32, &words[word].to_le_bytes()).is_ok())
    }

    fn flash(self) -> F {
        self.flash
    }
}
