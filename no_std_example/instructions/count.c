/* A QEMU plugin that counts what a Cortex-M executes between two markers, `mov r9, r9` and `mov r10, r10`.
 *
 * Prints a line for each region: its instructions, which are exact, and an estimate of the cycles that a Cortex-M4
 * would take, by the instruction timings in Arm's Technical Reference Manual (DDI 0439), with zero wait states:
 *   one for each instruction, and beyond that: one for a load or store, one for each register of a multiple one, two
 *   for a multiply-accumulate of floats, 13 for their division or square root, six for an integer division (2 to 12
 *   in all), one for a branch (whose refill takes one to three).
 *
 * An argument `apart=START-END`, in hexadecimal, names addresses whose instructions are counted once more, by
 * themselves: a third number, 0 without such arguments.
 *
 *   gcc -O2 -fPIC -shared -o libcount.so count.c
 *   qemu-system-arm … -plugin ./libcount.so,apart=3f90-4188,apart=4188-4398 2>counts
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The part of qemu-plugin.h (API version 1, QEMU 4.2 to 8) that is used here; Debian does not package it. */
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t qemu_plugin_id_t;
int qemu_plugin_version __attribute__((visibility("default"))) = 1;
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

static uint64_t instructions, more_cycles, instructions_apart;
static uint64_t first_instruction, first_more, first_apart;

static struct { uint64_t start, end; } apart[256];
static int ranges;

static bool is_apart(uint64_t address) {
    for (int i = 0; i < ranges; i++)
        if (address >= apart[i].start && address < apart[i].end) return true;
    return false;
}

static void begin(unsigned cpu, void *nothing) {
    (void)cpu, (void)nothing;
    first_instruction = instructions;
    first_more = more_cycles;
    first_apart = instructions_apart;
}

static void end(unsigned cpu, void *nothing) {
    (void)cpu, (void)nothing;
    /* The first marker counts itself after it has called, the second does not. */
    uint64_t count = instructions - first_instruction - 1;
    fprintf(stderr, "counted %llu %llu %llu\n", (unsigned long long)count,
            (unsigned long long)(count + more_cycles - first_more),
            (unsigned long long)(instructions_apart - first_apart));
}

static unsigned registers(unsigned list) { return (unsigned)__builtin_popcount(list); }

/* Cycles beyond the first of a 16-bit instruction. */
static unsigned more_of_16(unsigned a) {
    if ((a & 0xf000) == 0xd000 && (a & 0x0f00) < 0x0e00) return 1;   /* b<condition> */
    if ((a & 0xf800) == 0xe000) return 1;                            /* b */
    if ((a & 0xff00) == 0x4700) return 1;                            /* bx, blx */
    if ((a & 0xf500) == 0xb100) return 1;                            /* cbz, cbnz */
    if ((a & 0xf600) == 0xb400) return registers(a & 0x1ff);         /* push, pop */
    if ((a & 0xf000) == 0xc000) return registers(a & 0xff);          /* ldm, stm */
    if ((a & 0xf000) == 0x5000 || (a & 0xe000) == 0x6000 || (a & 0xe000) == 0x8000 || (a & 0xf800) == 0x4800)
        return 1;                                                    /* ldr, str */
    return 0;
}

/* Cycles beyond the first of a 32-bit instruction. */
static unsigned more_of_32(unsigned a, unsigned b) {
    if ((a & 0xff00) == 0xee00 && (b & 0x0e10) == 0x0a00) {          /* arithmetic of floats */
        switch (a & 0xb0) {
        case 0x80: return 13;                                        /* vdiv */
        case 0x00: case 0x10: case 0x90: case 0xa0: return 2;        /* vmla, vmls, vnmla, vnmls, vfma … */
        case 0xb0: return (a & 0xf) == 1 && (b & 0xc0) == 0xc0 ? 13 : 0; /* vsqrt */
        default: return 0;
        }
    }
    if ((a & 0xfe00) == 0xec00 && (b & 0x0e00) == 0x0a00 && (a & 0xffe0) != 0xec40)
        return (a & 0x0120) == 0x0100 ? 1 : b & 0xff;                /* vldr, vstr; vldm, vstm */
    if ((a & 0xfe40) == 0xe800) return registers(b);                 /* ldm, stm */
    if ((a & 0xfe40) == 0xe840) return 2;                           /* ldrd, strd, tbb */
    if ((a & 0xfe00) == 0xf800) return 1;                            /* ldr, str */
    if ((a & 0xffd0) == 0xfb90) return 6;                            /* sdiv, udiv */
    if ((a & 0xf800) == 0xf000 && (b & 0x8000)) return 1;            /* bl, b */
    return 0;
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        /* By its first half-word: QEMU 7.2 gives a wrong size before the end of a page. */
        const uint16_t *half = qemu_plugin_insn_data(instruction);
        bool is_long = half[0] >= 0xe800;
        if (half[0] == 0x46c9) qemu_plugin_register_vcpu_insn_exec_cb(instruction, begin, 0, NULL);
        if (half[0] == 0x46d2) qemu_plugin_register_vcpu_insn_exec_cb(instruction, end, 0, NULL);
        qemu_plugin_register_vcpu_insn_exec_inline(instruction, 0, &instructions, 1);
        if (is_apart(qemu_plugin_insn_vaddr(instruction)))
            qemu_plugin_register_vcpu_insn_exec_inline(instruction, 0, &instructions_apart, 1);
        unsigned more = is_long ? more_of_32(half[0], half[1]) : more_of_16(half[0]);
        if (more > 0) qemu_plugin_register_vcpu_insn_exec_inline(instruction, 0, &more_cycles, more);
    }
}

int __attribute__((visibility("default")))
qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++) {
        char *end;
        if (strncmp(argv[i], "apart=", 6) != 0 || ranges == sizeof apart / sizeof *apart) return 1;
        apart[ranges].start = strtoull(argv[i] + 6, &end, 16);
        if (*end != '-') return 1;
        apart[ranges++].end = strtoull(end + 1, NULL, 16);
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
