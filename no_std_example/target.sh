# Sourced. prepare TARGET [CRATES]: sets the array `build` to cargo's arguments for TARGET,
# and the environment they need. The compiler is the one in use if it has the target's core
# library; else Debian's, which has the source of it, with the linker of the one in use.
prepare() {
  local sysroot lld
  sysroot=$(rustc --print sysroot)
  build=(build --release --target "$1")
  if [ -d "$sysroot/lib/rustlib/$1/lib" ]; then return; fi
  if [ ! -x /usr/bin/rustc ] || [ ! -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ]; then
    printf '%s\n' "No core library for $1. Either of these brings it:" "  rustup target add $1" \
      "  apt-get install -y --no-install-recommends rustc-web rust-web-src" >&2
    return 1
  fi
  lld=$(find "$sysroot/lib/rustlib" -name rust-lld -print -quit)
  lld=${lld:-$(command -v ld.lld || true)}
  if [ -z "$lld" ]; then
    echo "No linker for $1 (rust-lld or ld.lld): apt-get install -y --no-install-recommends lld" >&2
    return 1
  fi
  export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
  export "CARGO_TARGET_$(tr 'a-z.-' 'A-Z__' <<<"$1")_LINKER=$lld"
  build+=("-Zbuild-std=${2:-core}")
}
