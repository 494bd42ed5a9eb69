/* Compares our unwind rules of a whole binary with those of an independent reader of unwind tables
 * (elfutils).
 *
 *     unwind_sweep FILE < RETURN-ADDRESSES      (link-time, hexadecimal, one a line)
 *
 * For each address the rule found by unwind_rule_find must be what elfutils' reading of .eh_frame
 * at the address - 1 says, or NONE / UNSUPPORTED; and so must the rules that are told beside it, of
 * which one in FORETOLD_STEP is followed. Prints one line of counts and the time per rule; each
 * difference on a line of its own. Exit status: 0 no difference, 1 differences, 2 the
 * comparison could not be made. */
#include <dwarf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <elfutils/libdw.h>

#include "file_module.h"

enum { RBP = 6, RSP = 7, RIP = 16, MAX_DIFFERENCES = 20, FORETOLD_STEP = 16 };

/* What elfutils says, in our terms. */
enum oracle_kind { ORACLE_NONE, ORACLE_RULE, ORACLE_OTHER };

struct oracle {
    enum oracle_kind kind; /* OTHER: a form that has no rule with us */
    struct unwind_rule rule;
};

/* Reads one operation as "register + offset". */
static bool register_offset(const Dwarf_Op *op, unsigned *number, int64_t *offset)
{
    if (op->atom >= DW_OP_breg0 && op->atom <= DW_OP_breg31) {
        *number = op->atom - DW_OP_breg0;
        *offset = (int64_t)op->number;
        return true;
    }
    *number = (unsigned)op->number;
    *offset = (int64_t)op->number2;
    return op->atom == DW_OP_bregx;
}

/* CFA := register + offset, or mem[RBP + o] (+ c). */
static bool oracle_cfa(const Dwarf_Op *ops, size_t count, struct unwind_rule *rule)
{
    unsigned number;
    int64_t offset;
    if (count < 1 || !register_offset(&ops[0], &number, &offset))
        return false;
    if (count == 1 && (number == RSP || number == RBP)) {
        rule->cfa_base = number == RSP ? UNWIND_CFA_SP : UNWIND_CFA_RBP;
        rule->cfa_offset = (int32_t)offset;
        return true;
    }
    if (number != RBP || count < 2 || count > 3 || ops[1].atom != DW_OP_deref)
        return false;
    if (count == 3 && ops[2].atom != DW_OP_plus_uconst)
        return false;
    rule->cfa_base = UNWIND_CFA_RBP_DEREF;
    rule->deref_offset = (int32_t)offset;
    rule->cfa_offset = count == 3 ? (int32_t)ops[2].number : 0;
    return true;
}

/* Where a register is saved: CFA + offset. elfutils writes that as call_frame_cfa, plus_uconst. */
static bool saved_at_cfa(const Dwarf_Op *ops, size_t count, int32_t *offset)
{
    *offset = 0;
    if (count < 1 || count > 2 || ops[0].atom != DW_OP_call_frame_cfa)
        return false;
    if (count == 2 && ops[1].atom != DW_OP_plus_uconst)
        return false;
    if (count == 2)
        *offset = (int32_t)ops[1].number;
    return true;
}

static void oracle_rbp(Dwarf_Frame *frame, struct unwind_rule *rule)
{
    Dwarf_Op memory[3], *ops;
    size_t count;
    unsigned number;
    int64_t offset;
    rule->rbp_kind = UNWIND_RBP_UNKNOWN;
    if (dwarf_frame_register(frame, RBP, memory, &ops, &count))
        return;
    if (count == 0) {
        if (!ops)
            rule->rbp_kind = UNWIND_RBP_SAME;
    } else if (saved_at_cfa(ops, count, &rule->rbp_offset)) {
        rule->rbp_kind = UNWIND_RBP_AT_CFA;
    } else if (count == 1 && register_offset(&ops[0], &number, &offset) && number == RBP) {
        rule->rbp_kind = UNWIND_RBP_AT_RBP;
        rule->rbp_offset = (int32_t)offset;
    }
}

/* One and the same place can be named from the CFA and from RBP where the CFA is RBP + constant;
 * we always name it from the CFA. */
static void canonical(struct unwind_rule *rule)
{
    if (rule->cfa_base == UNWIND_CFA_RBP && rule->rbp_kind == UNWIND_RBP_AT_RBP) {
        rule->rbp_kind = UNWIND_RBP_AT_CFA;
        rule->rbp_offset -= rule->cfa_offset;
    }
}

static struct oracle oracle_of_frame(Dwarf_Frame *frame)
{
    struct oracle oracle = {.kind = ORACLE_RULE};
    Dwarf_Op memory[3], *ops;
    size_t count;
    int32_t offset;
    bool signal_frame = false;
    if (dwarf_frame_info(frame, NULL, NULL, &signal_frame) == RIP && signal_frame) {
        oracle.rule.kind = UNWIND_SIGNAL;
        return oracle;
    }
    if (dwarf_frame_register(frame, RIP, memory, &ops, &count)) {
        oracle.kind = ORACLE_OTHER;
        return oracle;
    }
    if (count == 0 && ops) {
        oracle.rule.kind = UNWIND_END;
        return oracle;
    }
    oracle.rule.kind = UNWIND_STEP;
    if (!saved_at_cfa(ops, count, &offset) || offset != -8 ||
        dwarf_frame_cfa(frame, &ops, &count) || !oracle_cfa(ops, count, &oracle.rule)) {
        oracle.kind = ORACLE_OTHER;
        return oracle;
    }
    oracle_rbp(frame, &oracle.rule);
    canonical(&oracle.rule);
    return oracle;
}

static struct oracle ask_oracle(Dwarf_CFI *cfi, uint64_t pc)
{
    struct oracle oracle = {.kind = ORACLE_NONE};
    Dwarf_Frame *frame;
    if (dwarf_cfi_addrframe(cfi, pc - 1, &frame))
        return oracle;
    oracle = oracle_of_frame(frame);
    free(frame);
    return oracle;
}

static void print_rule(const char *who, const struct unwind_rule *rule)
{
    printf(" %s{kind %d, cfa %d %d [%d], rbp %d %d}", who, rule->kind, rule->cfa_base,
           rule->cfa_offset, rule->deref_offset, rule->rbp_kind, rule->rbp_offset);
}

struct counts {
    unsigned long total, different;
    unsigned long kind[UNWIND_UNSUPPORTED + 1];
    unsigned long cfa[UNWIND_CFA_RBP_DEREF + 1];
    unsigned long rbp_unknown;
    unsigned long missed; /* elfutils has a rule that we could express, and we have none */
};

/* Whether our rule may stand beside the oracle's. */
static bool agrees(const struct unwind_rule *ours, const struct oracle *oracle)
{
    if (ours->kind == UNWIND_NONE || ours->kind == UNWIND_UNSUPPORTED)
        return true;
    return oracle->kind == ORACLE_RULE && !memcmp(ours, &oracle->rule, sizeof *ours);
}

static void compare(Dwarf_CFI *cfi, uint64_t pc, const struct unwind_rule *ours,
                    struct counts *counts)
{
    struct oracle oracle = ask_oracle(cfi, pc);
    struct unwind_rule again = unwind_rule_unpack(unwind_rule_pack(ours));
    counts->total++;
    counts->kind[ours->kind]++;
    if (ours->kind == UNWIND_STEP) {
        counts->cfa[ours->cfa_base]++;
        counts->rbp_unknown += ours->rbp_kind == UNWIND_RBP_UNKNOWN;
    } else if (oracle.kind == ORACLE_RULE && oracle.rule.kind != ours->kind) {
        counts->missed++;
    }
    if (agrees(ours, &oracle) && !memcmp(ours, &again, sizeof again))
        return;
    if (counts->different++ >= MAX_DIFFERENCES)
        return;
    printf("DIFFERENT %" PRIx64 ":", pc);
    print_rule("ours", ours);
    print_rule("packed", &again);
    print_rule(oracle.kind == ORACLE_RULE ? "elfutils" : "elfutils has no such rule", &oracle.rule);
    printf("\n");
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* What is told beside the rule that was asked for: link-time addresses, as the module has no bias.
 */
static struct {
    Dwarf_CFI *cfi;
    struct counts counts;
    uint64_t wanted;   /* an address of which it is known that a call returns to it */
    bool wanted_found; /* among those that were told */
} told;

static void take_told(uint64_t pc, const struct unwind_rule *rule)
{
    compare(told.cfi, pc, rule, &told.counts);
    told.wanted_found |= pc == told.wanted;
}

/* Asks for the rule where the code of `pc` begins, so to speak: of the byte before its call; `pc`
 * itself should then be told of. 1 if it is. */
static unsigned long is_foretold(const struct unwind_module *module, uint64_t pc)
{
    struct unwind_rule rule;
    told.wanted = pc;
    told.wanted_found = false;
    unwind_rule_find_around(module, pc - 1, &rule, take_told);
    return told.wanted_found;
}

static int sweep(const struct unwind_module *module, Dwarf_CFI *cfi)
{
    struct counts counts = {0};
    unsigned long asked = 0, foretold = 0;
    double spent = 0;
    told.cfi = cfi;
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        uint64_t pc = strtoull(line, NULL, 16);
        struct unwind_rule rule;
        double start = seconds();
        int error = unwind_rule_find(module, pc, &rule);
        spent += seconds() - start;
        if (error) {
            fprintf(stderr, "%s: %s\n", module->file.path, strerror(-error));
            return 2;
        }
        compare(cfi, pc, &rule, &counts);
        if (counts.total % FORETOLD_STEP == 0) {
            asked++;
            foretold += is_foretold(module, pc);
        }
    }
    if (!counts.total) {
        fprintf(stderr, "%s: no addresses on standard input\n", module->file.path);
        return 2;
    }
    printf("%s: %lu pcs, %lu different; step %lu (sp %lu, rbp %lu, rbp deref %lu; caller's rbp "
           "unknown %lu), end %lu, signal %lu, none %lu, unsupported %lu, missed %lu; %.2f us a "
           "rule\n",
           module->file.path, counts.total, counts.different, counts.kind[UNWIND_STEP],
           counts.cfa[UNWIND_CFA_SP], counts.cfa[UNWIND_CFA_RBP], counts.cfa[UNWIND_CFA_RBP_DEREF],
           counts.rbp_unknown, counts.kind[UNWIND_END], counts.kind[UNWIND_SIGNAL],
           counts.kind[UNWIND_NONE], counts.kind[UNWIND_UNSUPPORTED], counts.missed,
           spent / (double)counts.total * 1e6);
    printf("%s: %lu told besides, %lu different; %lu of %lu foretold\n", module->file.path,
           told.counts.total, told.counts.different, foretold, asked);
    return counts.different || told.counts.different ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct unwind_module module;
    if (argc != 2) {
        fprintf(stderr, "usage: unwind_sweep FILE < ADDRESSES\n");
        return 2;
    }
    if (file_module(argv[1], &module))
        return 2;
    int error = unwind_rule_open();
    if (error) {
        fprintf(stderr, "unwind_rule_open: %s\n", strerror(-error));
        return 2;
    }
    int descriptor = open(argv[1], O_RDONLY | O_CLOEXEC);
    Elf *elf = elf_begin(descriptor, ELF_C_READ_MMAP, NULL);
    Dwarf_CFI *cfi = dwarf_getcfi_elf(elf);
    if (!cfi) {
        fprintf(stderr, "%s: %s\n", argv[1], dwarf_errmsg(-1));
        return 2;
    }
    int status = sweep(&module, cfi);
    unwind_rule_close();
    dwarf_cfi_end(cfi);
    elf_end(elf);
    close(descriptor);
    return status;
}
