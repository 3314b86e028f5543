//! Trains the network of the example `gesture` on a desktop, and writes what the firmware keeps in flash: `gesture/prepare.sh` calls it.

use learns_on_device::recording::{CHANNELS, FEATURES, MOTIONS, Recording, SAMPLES, UNITS, features};
use microprop::{Arithmetic, Isa, Layout, Loss, Mlp, Optimizer, Rng, Schedule, Sgd, Targets, Trainer, init, layout};
use std::error::Error;
use std::fs;
use std::path::Path;

const BACKBONE: Layout = layout!(FEATURES => dense(32, Relu), dense(16, Relu));
const LAYOUT: Layout = layout!(FEATURES => dense(32, Relu), dense(16, Relu), dense(MOTIONS.len(), Softmax));
const SEED: u64 = 7;
const EPOCHS: u32 = 60;
/// With the watch a quarter turn further round the wrist, what was the z axis of a sensor is where y was. (Which way up it is, a
/// mean distance does not say.)
const TURNED: [usize; CHANNELS] = [0, 2, 1, 3, 5, 4];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [training, others, folder] = arguments.as_slice() else {
        return Err("usage: backbone TRAIN.ts TEST.ts FOLDER".into());
    };
    let (training, others) = (read(training)?, read(others)?);
    let wearer: Vec<Recording> = others.iter().map(turned).collect();

    // In the arithmetic of microcontrollers, so that the same parameters come out on every desktop.
    let mlp = Mlp::new(LAYOUT, Isa::new(Arithmetic::Portable)?).with_schedule(Schedule::Lean);
    let trainer = Trainer::new(mlp, Loss::CrossEntropy, Optimizer::Sgd(Sgd::new(0.02)))?;
    let mut params = [0.0; LAYOUT.params_len()];
    init(&LAYOUT, SEED, &mut params)?;
    let mut workspace = [0.0; LAYOUT.lean_workspace_len()];
    let mut order: Vec<usize> = (0..training.len()).collect();
    let (mut shuffle, mut step) = (Rng::with_stream(SEED, 1 << 32), 0);
    for _ in 0..EPOCHS {
        shuffle.shuffle(&mut order);
        for &i in &order {
            let (x, motion) = features(&training[i]);
            trainer.train_step(step, &x, Targets::classes(&[motion]), &mut params, &mut [], &mut workspace)?;
            step += 1;
        }
    }
    let mut told = |recordings: &[Recording]| {
        let mut told = 0;
        for recording in recordings {
            let (x, motion) = features(recording);
            let mut p = [0.0; MOTIONS.len()];
            mlp.predict(&params, &x, &mut p, &mut workspace)?;
            told += usize::from(p.iter().all(|&other| other <= p[motion as usize]));
        }
        Ok::<_, Box<dyn Error>>(format!("{told} of {}", recordings.len()))
    };
    println!("learnt from {} recordings", training.len());
    println!("tells {} others, and {} of the wearer", told(&others)?, told(&wearer)?);

    let (backbone, head) = params.split_at(BACKBONE.params_len());
    let bytes = |floats: &[f32]| floats.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let folder = Path::new(folder);
    fs::write(folder.join("backbone.f32"), bytes(backbone))?;
    fs::write(folder.join("head.f32"), bytes(head))?;
    fs::write(folder.join("wearer.bin"), wearer.concat())?;
    Ok(())
}

fn turned(recording: &Recording) -> Recording {
    let mut turned = *recording;
    let channels = turned.chunks_exact_mut(2 * SAMPLES);
    for (channel, from) in channels.zip(TURNED) {
        channel.copy_from_slice(&recording[2 * SAMPLES * from..][..2 * SAMPLES]);
    }
    turned
}

/// The recordings of a file in the format of sktime and aeon: behind `@data` a line for each, its channels apart by colons, then
/// its class.
fn read(path: &str) -> Result<Vec<Recording>, Box<dyn Error>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let (_, lines) = text.split_once("@data").ok_or_else(|| format!("{path}: no line @data"))?;
    let lines = lines.lines().filter(|line| !line.trim().is_empty());
    let recordings = lines.map(|line| recording(line).ok_or_else(|| format!("{path}: not a recording: {line:.60}…")));
    let recordings = recordings.collect::<Result<Vec<_>, _>>()?;
    if recordings.is_empty() { Err(format!("{path}: no recordings").into()) } else { Ok(recordings) }
}

fn recording(line: &str) -> Option<Recording> {
    let (channels, motion) = line.rsplit_once(':')?;
    let motion = MOTIONS.iter().position(|name| name.eq_ignore_ascii_case(motion.trim()))?;
    let mut bytes = Vec::with_capacity(size_of::<Recording>());
    for sample in channels.split([':', ',']) {
        let units = (sample.trim().parse::<f32>().ok()? * UNITS).round();
        // A NaN is not in the range either.
        if !(-32768.0..=32767.0).contains(&units) {
            return None;
        }
        bytes.extend((units as i16).to_le_bytes());
    }
    bytes.push(u8::try_from(motion).ok()?);
    bytes.try_into().ok()
}
