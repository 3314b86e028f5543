//! A Cortex-M, started by cortex-m-rt, which paints the stack.

use super::bytes;
use core::fmt;
use core::panic::PanicInfo;
use cortex_m::Peripherals;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_semihosting::hio::{HostStream, hstdout};
use cortex_m_semihosting::{debug, hprintln};
use learns_on_device::Clock;

/// `entry!(Memory, program)`: the firmware is `program(&'static mut Memory) -> !`.
macro_rules! entry {
    ($memory:ty, $program:path) => {
        #[cortex_m_rt::entry]
        fn main() -> ! {
            // cortex-m-rt makes this a `&'static mut` that nobody else can reach.
            static mut MEMORY: $memory = <$memory>::new();
            $program(MEMORY)
        }
    };
}
pub(crate) use entry;

const _: () = assert!(cortex_m_rt::STACK_PAINT_VALUE == super::PAINT);

unsafe extern "C" {
    static __vector_table: u32;
    static __sidata: u32;
    static __sdata: u32;
    static __edata: u32;
    static __sbss: u32;
    static __ebss: u32;
    static _stack_end: u32;
    static _stack_start: u32;
}

/// The stack from its lowest word to its top.
pub(super) fn stack() -> (*const u32, *const u32) {
    (&raw const _stack_end, &raw const _stack_start)
}

/// Bytes of flash: code, constants, and the initial values of variables.
pub(crate) fn flash_used() -> usize {
    bytes(&raw const __vector_table, &raw const __sidata) + bytes(&raw const __sdata, &raw const __edata)
}

/// Bytes of RAM for variables.
pub(crate) fn ram_used() -> usize {
    bytes(&raw const __sdata, &raw const __edata) + bytes(&raw const __sbss, &raw const __ebss)
}

/// The debugger's console, by semihosting.
pub(crate) struct Out(Option<HostStream>);

impl Out {
    pub(crate) fn new() -> Self {
        Self(hstdout().ok())
    }
}

impl fmt::Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.as_mut().ok_or(fmt::Error)?.write_str(text)
    }
}

/// The core's own timer, of 24 bits.
pub(crate) struct Ticks(u32);

impl Ticks {
    pub(crate) fn new() -> Self {
        if let Some(Peripherals { mut SYST, .. }) = Peripherals::take() {
            SYST.set_clock_source(SystClkSource::Core);
            SYST.set_reload(0xff_ffff);
            SYST.clear_current();
            SYST.enable_counter();
        }
        Self(SYST::get_current())
    }
}

impl Clock for Ticks {
    const TICK: f32 = super::TICK;

    fn lap(&mut self) -> u32 {
        let before = core::mem::replace(&mut self.0, SYST::get_current());
        before.wrapping_sub(self.0) & 0xff_ffff // it counts down
    }
}

/// Ends the emulation; a board waits.
pub(crate) fn stop(is_ok: bool) -> ! {
    debug::exit(if is_ok { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info); // a lone literal is printed as it stands
    stop(false)
}
