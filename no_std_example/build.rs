//! Puts the board's memory map where the linker looks for it. `BOARD` names one of `memory/` where a target has several.

use std::{env, fs, path::PathBuf};

fn main() {
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
    let map = format!("memory/{board}.x");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    fs::copy(&map, out.join("memory.x")).unwrap_or_else(|error| panic!("{map}: {error}"));
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rerun-if-changed={map}");
}
