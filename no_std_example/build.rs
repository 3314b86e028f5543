//! Puts the board's memory map where the linker looks for it, and tells the program how fast its core is. `BOARD` names one of
//! `memory/` where a target has several. The example `gesture` learns where its data lies.

use std::{env, fs, path::PathBuf};

fn main() {
    if env::var_os("CARGO_FEATURE_GESTURE").is_some() {
        gesture();
    }
    println!("cargo:rerun-if-env-changed=BOARD");
    let target = env::var("TARGET").unwrap();
    let usual = match target.as_str() {
        "thumbv6m-none-eabi" => "microbit",
        "thumbv7m-none-eabi" | "thumbv7em-none-eabihf" => "mps2",
        "thumbv8m.main-none-eabihf" => "mps2-an505",
        "riscv32imac-unknown-none-elf" | "riscv32imafc-unknown-none-elf" => "virt",
        _ => return,
    };
    let board = env::var("BOARD").ok().filter(|board| !board.is_empty()).unwrap_or_else(|| usual.into());
    let hertz = match board.as_str() {
        "microbit" => 16_000_000,
        "mps2" => 25_000_000,
        "mps2-an505" => 20_000_000,
        "mps3-an547" => 32_000_000,
        "virt" => 1_000_000_000,
        other => panic!("build.rs knows no frequency of the core of {other}: add it"),
    };
    println!("cargo:rustc-env=CORE_HZ={hertz}");
    let map = format!("memory/{board}.x");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    fs::copy(&map, out.join("memory.x")).unwrap_or_else(|error| panic!("{map}: {error}"));
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rerun-if-changed={map}");
}

/// Where `gesture/prepare.sh` has left its files.
fn gesture() {
    println!("cargo:rerun-if-env-changed=CARGO_TARGET_DIR");
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap()).join(target).join("gesture");
    for name in ["backbone.f32", "head.f32", "wearer.bin"] {
        let file = folder.join(name);
        assert!(file.exists(), "{} is not there: no_std_example/gesture/prepare.sh makes it", file.display());
        println!("cargo:rerun-if-changed={}", file.display());
    }
    println!("cargo:rustc-env=GESTURE={}", folder.display());
}
