//! QEMU's RISC-V machine `virt`, which starts at the beginning of its RAM.

use super::bytes;
use core::arch::{asm, global_asm};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use learns_on_device::Clock;

/// `entry!(Memory, program)`: the firmware is `program(&'static mut Memory) -> !`.
macro_rules! entry {
    ($memory:ty, $program:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn main() -> ! {
            static mut MEMORY: $memory = <$memory>::new();
            // SAFETY: the start code calls this once, and nobody else reaches the memory.
            $program(unsafe { &mut *(&raw mut MEMORY) })
        }
    };
}
pub(crate) use entry;

// The global pointer, the stack, the FPU (where there is one: mstatus.FS), zeros in .bss, paint above it.
global_asm!(
    ".section .init, \"ax\"",
    ".globl _start",
    "_start:",
    ".option push",
    ".option norelax",
    "la      gp, __global_pointer$",
    ".option pop",
    "la      sp, _stack_top",
    "li      t0, 0x6000",
    "csrs    mstatus, t0",
    "la      t0, _sbss",
    "la      t1, _ebss",
    "1: bgeu t0, t1, 2f",
    "sw      zero, 0(t0)",
    "addi    t0, t0, 4",
    "j       1b",
    "2: li   t2, 0xcccccccc",
    "3: bgeu t0, sp, 4f",
    "sw      t2, 0(t0)",
    "addi    t0, t0, 4",
    "j       3b",
    "4: call main",
);

unsafe extern "C" {
    static _start: u32;
    static _edata: u32;
    static _sdata: u32;
    static _sbss: u32;
    static _ebss: u32;
    static _stack_top: u32;
}

/// The stack from its lowest word to its top.
pub(super) fn stack() -> (*const u32, *const u32) {
    (&raw const _ebss, &raw const _stack_top)
}

/// Bytes of code, constants, and the initial values of variables: what would be in flash.
pub(crate) fn flash_used() -> usize {
    bytes(&raw const _start, &raw const _edata)
}

/// Bytes of RAM for variables.
pub(crate) fn ram_used() -> usize {
    bytes(&raw const _sdata, &raw const _edata) + bytes(&raw const _sbss, &raw const _ebss)
}

/// A request to the debugger, and its answer.
///
/// # Safety
/// `argument` is what the request asks for.
unsafe fn semihosting(request: usize, argument: *const usize) -> usize {
    let answer;
    // SAFETY: the three instructions of the RISC-V semihosting specification, uncompressed and in one page; QEMU answers in
    // a0 and changes nothing else.
    unsafe {
        asm!(
            ".balign 16",
            ".option push",
            ".option norvc",
            "slli x0, x0, 0x1f",
            "ebreak",
            "srai x0, x0, 7",
            ".option pop",
            inout("a0") request => answer,
            in("a1") argument,
        );
    }
    answer
}

/// The debugger's console, by semihosting: its handle.
pub(crate) struct Out(usize);

impl Out {
    pub(crate) fn new() -> Self {
        let console = c":tt";
        let (write, len) = (4, console.count_bytes());
        // SAFETY: SYS_OPEN takes the address of a name, a mode and the name's length.
        Self(unsafe { semihosting(0x01, [console.as_ptr() as usize, write, len].as_ptr()) })
    }
}

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: SYS_WRITE takes the address of a handle, the text's address and its length, and answers how much it left.
        let left = unsafe { semihosting(0x05, [self.0, text.as_ptr() as usize, text.len()].as_ptr()) };
        if left == 0 { Ok(()) } else { Err(fmt::Error) }
    }
}

/// The core's cycles.
pub(crate) struct Ticks(u32);

impl Ticks {
    pub(crate) fn new() -> Self {
        Self(cycles())
    }
}

impl Clock for Ticks {
    const TICK: f32 = super::TICK;

    fn lap(&mut self) -> u32 {
        let before = core::mem::replace(&mut self.0, cycles());
        self.0.wrapping_sub(before)
    }
}

fn cycles() -> u32 {
    let cycles;
    // SAFETY: every core in machine mode has this counter, and reading it changes nothing.
    unsafe { asm!("csrr {}, mcycle", out(reg) cycles, options(nomem, nostack)) };
    cycles
}

/// Ends the emulation; a board waits.
pub(crate) fn stop(is_ok: bool) -> ! {
    // ADP_Stopped_ApplicationExit, and the exit status.
    let reason = [0x20026_usize, usize::from(!is_ok)];
    // SAFETY: SYS_EXIT_EXTENDED takes the address of two words.
    unsafe { semihosting(0x20, reason.as_ptr()) };
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // It stops whether the text went out or not.
    writeln!(Out::new(), "{info}").ok();
    stop(false)
}
