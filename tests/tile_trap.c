#include "tests/tile_trap.h"

#include "tests/tile_model.h"
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

/* An instruction of the form VEX.128.pp.0F38.W0, with its operand in memory if it has one (Intel
 * SDM volume 2, 2.3 and under each instruction's name). */
struct instruction {
    int64_t length;
    int prefix, opcode; /* pp: none, 66, F3, F2 */
    int reg, rm, third; /* registers of ModRM and of VEX.vvvv */
    bool in_memory;
    int64_t address, stride; /* base + displacement; index * scale */
};

static int64_t general_register(const greg_t *registers, int number) {
    static const int places[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                   REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                   REG_R12, REG_R13, REG_R14, REG_R15};
    return registers[places[number]];
}

/* The operand in memory: `at` is behind ModRM; what follows of the instruction is its length. */
static void operand_decode(const uint8_t *code, const uint8_t *at, const greg_t *registers,
                           struct instruction *i) {
    int mod = code[4] >> 6, base = code[4] & 7, index = 4;
    int more_base = code[1] & 0x20 ? 0 : 8, more_index = code[1] & 0x40 ? 0 : 8;
    bool sib = base == 4, relative = base == 5 && mod == 0;
    if (sib) {
        index = (*at >> 3 & 7) + more_index;
        i->stride = index == 4 ? 0 : general_register(registers, index) << (*at >> 6);
        base = *at++ & 7;
    }
    if (!(base == 5 && mod == 0))
        i->address = general_register(registers, base + more_base);
    if (mod == 1) {
        i->address += (int8_t)*at++;
    } else if (mod == 2 || (base == 5 && mod == 0)) {
        int32_t displacement;
        memcpy(&displacement, at, sizeof displacement);
        i->address += displacement;
        at += sizeof displacement;
    }
    i->length = at - code;
    if (relative)
        i->address += registers[REG_RIP] + i->length;
}

static bool instruction_decode(const uint8_t *code, const greg_t *registers,
                               struct instruction *i) {
    memset(i, 0, sizeof *i);
    if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || (code[2] & 0x84) != 0)
        return false;
    i->prefix = code[2] & 3;
    i->third = ~code[2] >> 3 & 15;
    i->opcode = code[3];
    i->reg = code[4] >> 3 & 7;
    i->rm = code[4] & 7;
    i->length = 5;
    i->in_memory = code[4] >> 6 != 3;
    if (i->in_memory)
        operand_decode(code, code + 5, registers, i);
    return true;
}

static bool instruction_run(const struct instruction *i) {
    enum { NONE, P66, PF3, PF2 };
    if (i->opcode == 0x49 && i->prefix == NONE && i->in_memory)
        tile_configure((const void *)i->address);
    else if (i->opcode == 0x49 && i->prefix == NONE)
        tile_release();
    else if (i->opcode == 0x49 && i->prefix == PF2 && !i->in_memory)
        tile_zero(i->reg);
    else if (i->opcode == 0x4b && i->prefix == PF2 && i->in_memory)
        tile_load(i->reg, (const void *)i->address, i->stride);
    else if (i->opcode == 0x4b && i->prefix == PF3 && i->in_memory)
        tile_store(i->reg, (void *)i->address, i->stride);
    else if (i->opcode == 0x5c && i->prefix == PF3 && !i->in_memory)
        tile_dot(i->reg, i->rm, i->third);
    else
        return false;
    return true;
}

static void illegal_instruction(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    struct instruction i;
    (void)info;
    if (instruction_decode((const uint8_t *)registers[REG_RIP], registers, &i) &&
        instruction_run(&i))
        registers[REG_RIP] += i.length;
    else
        signal(number, SIG_DFL); /* it comes again */
}

void tiles_trap(void) {
    struct sigaction action = {.sa_sigaction = illegal_instruction, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGILL, &action, NULL);
}
