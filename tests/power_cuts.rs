//! Power is cut after every word written and every page erased, and in the middle of each: the model found afterwards is
//! the one before or the one after, bit for bit.

#[allow(dead_code, reason = "each test uses its part of the flash")]
mod nor;
#[path = "power_cuts/wrong.rs"]
mod wrong;

use microprop::Rng;
use microprop::flash::{Checkpoint, Model, Store};
use nor::{Cells, Nor, Operation};
use std::cell::RefCell;
use std::env;
use std::rc::Rc;
use std::thread;
use wrong::{Mistake, Wrong};

/// Over all flashes of [`the_old_model_or_the_new`], unless `MICROPROP_POWER_CUTS` has another number.
const CUTS: u64 = 1_000_000;

/// Saves of a history. Power is cut in each operation of each.
const SAVES: usize = 24;

/// How often in each operation.
const TEARS: u32 = 3;

/// What is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// As bits, so that a NaN equals itself.
    params: Vec<u32>,
    state: Vec<u32>,
    step: u64,
    rng: [u64; 3],
}

impl Content {
    fn new(model: Model, step: u64, rng: &mut Rng) -> Self {
        // Erased words, zeros and NaNs among them.
        let mut float = || match rng.below(8) {
            0 => u32::MAX,
            1 => 0,
            2 => 0x7fc0_0001,
            _ => rng.next_u32(),
        };
        let (params, state) =
            ((0..model.params_len).map(|_| float()).collect(), (0..model.state_len).map(|_| float()).collect());
        Self { params, state, step, rng: [u64::from(rng.next_u32()), step, u64::MAX - step] }
    }
}

/// What keeps a model through power cuts, or claims to.
pub(crate) trait Keeper<F>: Sized {
    /// What `open` is told.
    type Settings: Copy;
    fn open(flash: F, settings: Self::Settings) -> Result<Self, String>;
    fn load(&mut self) -> Result<Option<Content>, String>;
    fn save(&mut self, content: &Content) -> bool;
    fn flash(self) -> F;
}

/// The store, over the whole of a flash.
struct Kept<F> {
    store: Store<F>,
    model: Model,
}

impl<F: embedded_storage::nor_flash::NorFlash> Keeper<F> for Kept<F> {
    type Settings = Model;

    fn open(flash: F, model: Model) -> Result<Self, String> {
        let range = 0..flash.capacity() as u32;
        Ok(Self { store: Store::open(flash, range, model).map_err(|error| error.to_string())?, model })
    }

    fn load(&mut self) -> Result<Option<Content>, String> {
        let (mut params, mut state) = (vec![0.0; self.model.params_len], vec![0.0; self.model.state_len]);
        let saved = self.store.load(&mut params, &mut state).map_err(|error| error.to_string())?;
        let bits = |floats: Vec<f32>| floats.into_iter().map(f32::to_bits).collect();
        Ok(saved.map(|saved| Content { params: bits(params), state: bits(state), step: saved.step, rng: saved.rng }))
    }

    fn save(&mut self, content: &Content) -> bool {
        let floats = |bits: &[u32]| bits.iter().map(|&bits| f32::from_bits(bits)).collect::<Vec<_>>();
        let (params, state) = (floats(&content.params), floats(&content.state));
        let checkpoint = Checkpoint { params: &params, state: &state, step: content.step, rng: content.rng };
        self.store.save(&checkpoint).is_ok()
    }

    fn flash(self) -> F {
        self.store.release()
    }
}

/// Histories on one kind of flash.
struct Trial<const READ: usize, const WRITE: usize, const PAGE: usize> {
    pages: usize,
    cells: Cells,
    model: Model,
    rng: Rng,
    cuts: u64,
}

impl<const R: usize, const W: usize, const P: usize> Trial<R, W, P> {
    fn new(pages: usize, cells: Cells, params_len: usize, state_len: usize) -> Self {
        let model = Model { identity: 0x5eed, params_len, state_len };
        Self { pages, cells, model, rng: Rng::with_stream(pages as u64, W as u64), cuts: 0 }
    }

    /// Cuts power `cuts` times. An error says what was found that may not be.
    fn run<K: Keeper<Nor<R, W, P>>>(mut self, settings: K::Settings, cuts: u64) -> Result<u64, String> {
        while self.cuts < cuts {
            self.history::<K>(settings)?;
        }
        Ok(self.cuts)
    }

    fn history<K: Keeper<Nor<R, W, P>>>(&mut self, settings: K::Settings) -> Result<(), String> {
        // The same as the keeper's flash, one save behind.
        let mut image = Nor::<R, W, P>::new(self.pages, self.cells, self.rng.next_u32().into());
        let log = Rc::<RefCell<Vec<Operation>>>::default();
        let live = |image: &Nor<R, W, P>| {
            let mut flash = image.clone();
            flash.log = Some(log.clone());
            flash
        };
        let mut keeper = K::open(live(&image), settings)?;
        let mut old = keeper.load()?;
        for step in 0..SAVES {
            if self.rng.below(4) == 0 {
                // Power goes between two saves, too.
                keeper = K::open(live(&image), settings)?;
            }
            let new = Content::new(self.model, step as u64, &mut self.rng);
            if !keeper.save(&new) {
                return Err("a save failed, with power on".into());
            }
            for operation in log.take() {
                for _ in 0..TEARS {
                    let mut fork = image.clone();
                    fork.reseed(self.rng.next_u32().into());
                    fork.tear(&operation);
                    self.cuts += 1;
                    self.go_on::<K>(fork, vec![old.clone(), Some(new.clone())], settings)?;
                }
                image.finish(&operation);
            }
            old = Some(new);
            if keeper.load()? != old || K::open(image.clone(), settings)?.load()? != old {
                return Err("what was saved is not what is found, with power on".into());
            }
        }
        if image.violations > 0 { Err("a word was written twice, with power on".into()) } else { Ok(()) }
    }

    /// Power comes back, and may be cut again in the next save, and the next. One of `allowed` is found each time.
    fn go_on<K: Keeper<Nor<R, W, P>>>(
        &mut self,
        mut flash: Nor<R, W, P>,
        mut allowed: Vec<Option<Content>>,
        settings: K::Settings,
    ) -> Result<(), String> {
        loop {
            flash.power_up();
            let operations = (16 + 4 * (self.model.params_len + self.model.state_len) + 64) / W;
            flash.cut_after = Some(self.rng.below(operations as u32 + 2).into());
            let mut keeper = K::open(flash, settings)?;
            let found = keeper.load()?;
            if !allowed.contains(&found) {
                return Err(format!("found {found:x?}, expected one of {allowed:x?}"));
            }
            if self.cells != Cells::Marginal {
                // What it is once it stays.
                allowed = vec![found];
            }
            let next = Content::new(self.model, 1000, &mut self.rng);
            let cut = self.rng.below(2) == 0 && {
                let saved = keeper.save(&next);
                if saved {
                    allowed.clear();
                }
                allowed.push(Some(next));
                !saved
            };
            self.cuts += u64::from(cut);
            flash = keeper.flash();
            if flash.violations > 0 {
                return Err("a word was written twice, after a cut".into());
            }
            if !cut {
                flash.power_up();
                let found = K::open(flash, settings)?.load()?;
                return if allowed.contains(&found) { Ok(()) } else { Err(format!("found {found:x?} at last")) };
            }
        }
    }
}

/// Any model, old or new, through a million cuts.
#[test]
fn the_old_model_or_the_new() {
    // Each with words and pages of its own: READ, WRITE, PAGE.
    let trials: [fn(u64) -> Result<u64, String>; 10] = [
        // As in an nRF52, with small pages: several records in a slot.
        |cuts| run(Trial::<4, 4, 512>::new(4, Cells::Stable, 5, 3), cuts),
        // Two slots, a record in each.
        |cuts| run(Trial::<4, 4, 128>::new(2, Cells::Stable, 4, 0), cuts),
        // Slots of three pages, and one left over.
        |cuts| run(Trial::<4, 4, 64>::new(7, Cells::Stable, 9, 9), cuts),
        // Bytes, as in the flash beside an RP2040.
        |cuts| run(Trial::<1, 1, 256>::new(3, Cells::Stable, 3, 1), cuts),
        |cuts| run(Trial::<4, 1, 64>::new(5, Cells::Marginal, 2, 1), cuts),
        // With a code, as in an STM32G4, an STM32U5 and an STM32H7.
        |cuts| run(Trial::<1, 8, 512>::new(3, Cells::Coded, 5, 3), cuts),
        |cuts| run(Trial::<1, 16, 256>::new(3, Cells::Coded, 5, 3), cuts),
        |cuts| run(Trial::<1, 32, 1024>::new(2, Cells::Coded, 20, 20), cuts),
        // Bits that are neither one nor zero, with two slots and with more.
        |cuts| run(Trial::<2, 2, 128>::new(2, Cells::Marginal, 6, 2), cuts),
        |cuts| run(Trial::<4, 4, 256>::new(4, Cells::Marginal, 4, 2), cuts),
    ];
    let wanted = env::var("MICROPROP_POWER_CUTS").map_or(CUTS, |cuts| cuts.parse().unwrap());
    let each = wanted.div_ceil(trials.len() as u64);
    let cuts: u64 = thread::scope(|scope| {
        let runs = trials.map(|trial| scope.spawn(move || trial(each).unwrap()));
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    println!("{cuts} cuts");
    assert!(cuts >= wanted);
}

fn run<const R: usize, const W: usize, const P: usize>(trial: Trial<R, W, P>, cuts: u64) -> Result<u64, String> {
    let (model, name) = (trial.model, format!("{:?}, words of {W}, pages of {P}", trial.cells));
    trial.run::<Kept<Nor<R, W, P>>>(model, cuts).map_err(|error| format!("{name}: {error}"))
}

/// The same trial of a writer of its own, which makes one mistake or another.
#[test]
fn a_mistake_is_found() {
    let run = |mistake, cuts| {
        let trial = Trial::<4, 4, 256>::new(2, Cells::Stable, 4, 2);
        trial.run::<Wrong<Nor<4, 4, 256>>>(mistake, cuts)
    };
    assert!(run(Mistake::None, 50_000).unwrap() >= 50_000);
    for mistake in Mistake::ALL {
        let found = run(mistake, 500_000);
        println!("{mistake:?}: {found:?}");
        assert!(found.is_err(), "{mistake:?} was not noticed");
    }
}
