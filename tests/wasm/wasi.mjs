// Runs a WASI program with what a test asks of the outside: arguments, the environment, the current folder.
// usage: node wasi.mjs PROGRAM [ARGUMENT…]
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [program, ...args] = process.argv.slice(2);
const options = { version: "preview1", args: [program, ...args], env: process.env, preopens: { ".": "." } };
const wasi = new WASI({ ...options, returnOnExit: true });
// Debian's library of WASI has no threads: that there are none is an answer, too.
const none = () => 52;
const imports = { wasi_snapshot_preview1: wasi.wasiImport, env: { pthread_join: none, pthread_detach: none } };
const { instance } = await WebAssembly.instantiate(await readFile(program), imports);
process.exitCode = wasi.start(instance);
