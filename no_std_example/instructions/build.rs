//! Puts the board's memory map where cortex-m-rt's linker script looks for it.

use std::{env, fs, path::PathBuf};

fn main() {
    let board = match env::var("TARGET").unwrap().as_str() {
        "thumbv6m-none-eabi" => "../memory/microbit.x",
        _ => "../memory/mps2.x",
    };
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    fs::copy(board, out.join("memory.x")).unwrap();
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rerun-if-changed={board}");
}
