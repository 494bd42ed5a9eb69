/* See unwind_rule.h.
 *
 * libunwind keeps its rules to itself, so a rule is found by experiment. libunwind is shown a
 * process that doesn't exist: its registers hold values of our choice (R0, R1, ... far from each
 * other), each word of its memory a value that follows from its address. It is given the row of the
 * CFI that is in force, applies it, and what comes out tells the rule:
 *
 *      CFA = R(SP) + 48, return address = mem[CFA - 8], RBP read from R(SP) + 32
 *   => CFA := SP + 48, caller's RBP := mem[CFA - 16]
 *
 * The experiment is made PROBES times with different registers, in a different order, with
 * different low bits and different memory. A rule counts only if it explains all of them; so an
 * expression that masks, compares or adds two registers is told from one of the forms we have.
 *
 * unw_step isn't used: where it finds no unwind info it guesses by the frame pointer.
 * unw_reg_states_iterate and unw_apply_reg_state run the CFI and nothing else.
 *
 * Addresses are link-time addresses throughout, so that one module loaded twice, or moved, has the
 * same rules. */
#include "unwind_rule.h"

#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "call_scan.h"
#include "unwind_library.h"
#include "unwind_table.h"

enum {
    PROBES = 3,
    REGISTERS = 17,  /* libunwind's numbers of x86-64: RAX 0 .. R15 15, RIP 16 */
    MAX_WORDS = 24,  /* different words of memory read in one probe */
    MAX_ROW = 512,   /* bytes of libunwind's register state; 200 in libunwind 1.6 */
    MAX_ROWS = 16,   /* different rows of one function that are kept */
    MAX_PLACES = 96, /* return addresses of one function that are looked for */
    NO_ROW = MAX_ROWS,
    ALL_FOUND = -4096, /* our callback's way of ending the iteration; no libunwind error */
};

/* Registers are at least REGISTER_SPACING apart and above every module's link-time address. */
#define REGISTER_SPACING (UINT64_C(1) << 48)
#define SYNTHETIC        (UINT64_C(1) << 52)
#define MEMORY_VALUES    (UINT64_C(1) << 63)

struct word {
    uint64_t address, value;
};

/* The process that doesn't exist, and what libunwind asked of it. */
struct probe {
    unsigned number; /* which of PROBES */
    uint64_t registers[REGISTERS];
    struct word words[MAX_WORDS]; /* synthetic memory that was read, each word once */
    unsigned word_count;
    bool too_many_words;
    unsigned register_reads;
    int last_register; /* the number read last, -1 for none */
    bool rip_read;     /* in the making of the frame's caller: the rule is of one address only */
    int file_error;    /* -errno: the module's bytes could not be read */
    const struct unwind_entry *entry;
    const struct unwind_module *module;
};

/* What one probe showed. */
struct observation {
    bool end; /* the return address is undefined */
    uint64_t sp, rbp;
    uint64_t cfa;
    struct word words[MAX_WORDS];
    unsigned word_count;
    enum { RBP_SAME, RBP_SAVED, RBP_OTHER } caller_rbp;
    uint64_t rbp_address; /* where it was read, if RBP_SAVED */
};

/*
 * The rows of the CFI in force at some places, as libunwind keeps them: opaque. The first
 * place is the one that was asked for, and has row 0; those after it are in order. Equal rows are
 * kept once.
 */
struct rows {
    uint64_t places[1 + MAX_PLACES]; /* return addresses, in */
    uint8_t of[1 + MAX_PLACES];      /* which row is in force there, or NO_ROW */
    unsigned place_count, places_left;
    bool switches; /* calls at places but the first may be made on another stack */
    unsigned next; /* place, but the first, whose row has not come yet */
    unsigned count;
    size_t size; /* of each */
    alignas(16) uint8_t bytes[MAX_ROWS][MAX_ROW];
};

static struct unwind_library library;
static unw_addr_space_t space;

/* ---- The process that doesn't exist ---------------------------------------------------------- */

/* A well-mixed function of 64 bits (the finaliser of splitmix64). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static uint64_t memory_value(const struct probe *probe, uint64_t address)
{
    return MEMORY_VALUES | (mix(address + probe->number) >> 1 & ~UINT64_C(7));
}

/* Fills in the registers: RIP, and the others in ascending or descending order, each with low bits
 * of its own. Multiples of 8, as a stack's are, so that a word is read in one piece. */
static void probe_start(struct probe *probe, unsigned number, uint64_t rip)
{
    probe->number = number;
    probe->word_count = 0;
    probe->too_many_words = false;
    probe->register_reads = 0;
    probe->last_register = -1;
    for (unsigned i = 0; i < REGISTERS; i++) {
        uint64_t place = number % 2 ? REGISTERS - i : i;
        probe->registers[i] =
            SYNTHETIC + (place + 1) * REGISTER_SPACING + (mix(i * PROBES + number) & 0xfffffff8);
    }
    probe->registers[UNW_X86_64_RIP] = rip;
}

static void note_word(struct probe *probe, uint64_t address, uint64_t value)
{
    for (unsigned i = 0; i < probe->word_count; i++)
        if (probe->words[i].address == address)
            return;
    if (probe->word_count == MAX_WORDS)
        probe->too_many_words = true;
    else
        probe->words[probe->word_count++] = (struct word){address, value};
}

static int access_word(unw_addr_space_t of, unw_word_t address, unw_word_t *value, int write,
                       void *argument)
{
    struct probe *probe = argument;
    (void)of;
    if (write)
        return -UNW_EINVAL;
    if (address >= SYNTHETIC) {
        *value = memory_value(probe, address);
        note_word(probe, address, *value);
        return 0;
    }
    uint64_t word;
    int error = module_bytes_read(address, &word, sizeof word);
    if (error) {
        if (error != -EFAULT)
            probe->file_error = error;
        return -UNW_EINVAL;
    }
    *value = word;
    return 0;
}

static int access_register(unw_addr_space_t of, unw_regnum_t number, unw_word_t *value, int write,
                           void *argument)
{
    struct probe *probe = argument;
    (void)of;
    if (write || number < 0 || number >= REGISTERS)
        return -UNW_EBADREG;
    *value = probe->registers[number];
    probe->last_register = number;
    probe->rip_read |= number == UNW_X86_64_RIP;
    probe->register_reads++;
    return 0;
}

static int refuse_float(unw_addr_space_t of, unw_regnum_t number, unw_fpreg_t *value, int write,
                        void *argument)
{
    (void)of, (void)number, (void)value, (void)write, (void)argument;
    return -UNW_EBADREG;
}

static int no_dynamic_info(unw_addr_space_t of, unw_word_t *list, void *argument)
{
    (void)of, (void)list, (void)argument;
    return -UNW_ENOINFO;
}

static int no_resume(unw_addr_space_t of, unw_cursor_t *cursor, void *argument)
{
    (void)of, (void)cursor, (void)argument;
    return -UNW_EINVAL;
}

static int no_name(unw_addr_space_t of, unw_word_t address, char *buffer, size_t length,
                   unw_word_t *offset, void *argument)
{
    (void)of, (void)address, (void)buffer, (void)length, (void)offset, (void)argument;
    return -UNW_ENOINFO;
}

static void put_info(unw_addr_space_t of, unw_proc_info_t *info, void *argument)
{
    (void)of, (void)info, (void)argument; /* libunwind frees what it took itself */
}

/* Hands libunwind a search table of the one entry that was found already. */
static int find_info(unw_addr_space_t of, unw_word_t address, unw_proc_info_t *info,
                     int need_unwind_info, void *argument)
{
    struct probe *probe = argument;
    const struct unwind_entry *entry = probe->entry;
    if (address < entry->start || address >= entry->end)
        return -UNW_ENOINFO;
    unw_dyn_info_t table = {
        .start_ip = entry->start,
        .end_ip = entry->end,
        .format = UNW_INFO_FORMAT_REMOTE_TABLE,
        .u.rti = {.segbase = probe->module->file.eh_frame_hdr_vaddr,
                  .table_len = 1, /* in words of 8 bytes: one entry */
                  .table_data = entry->search_entry},
    };
    int error =
        library.dwarf_search_unwind_table(of, address, &table, info, need_unwind_info, argument);
    /* Both of us must have read the same entry the same way. */
    if (!error && (info->start_ip != entry->start || info->end_ip != entry->end))
        error = -UNW_EBADFRAME;
    return error;
}

/* ---- Life ------------------------------------------------------------------------------------ */

int unwind_rule_open(void)
{
    if (space)
        return 0;
    int error = module_bytes_open();
    if (!error)
        error = unwind_library_load(&library);
    if (error) {
        module_bytes_close();
        return error;
    }
    unw_accessors_t accessors = {
        .find_proc_info = find_info,
        .put_unwind_info = put_info,
        .get_dyn_info_list_addr = no_dynamic_info,
        .access_mem = access_word,
        .access_reg = access_register,
        .access_fpreg = refuse_float,
        .resume = no_resume,
        .get_proc_name = no_name,
    };
    space = library.create_addr_space(&accessors, 0 /* our own byte order */);
    if (!space) {
        module_bytes_close();
        return -ENOMEM;
    }
    /* Rules are kept by our caller; a cache keyed by address would mix up modules, since two of
     * them may have the same link-time addresses. */
    library.set_caching_policy(space, UNW_CACHE_NONE);
    return 0;
}

void unwind_rule_close(void)
{
    if (!space)
        return;
    library.destroy_addr_space(space);
    space = NULL;
    module_bytes_close();
}

/* ---- One probe ------------------------------------------------------------------------------- */

/* The number of a row, which is kept if there is room; number 0 is for that of the first place. */
static unsigned row_number(struct rows *rows, const void *state)
{
    for (unsigned i = rows->of[0] == 0 ? 0 : 1; i < rows->count; i++)
        if (!memcmp(rows->bytes[i], state, rows->size))
            return i;
    if (rows->count == MAX_ROWS)
        return NO_ROW;
    memcpy(rows->bytes[rows->count], state, rows->size);
    return rows->count++;
}

/* Whether the call that returns to a place is in [start, end). */
static bool is_call_in(uint64_t place, uint64_t start, uint64_t end)
{
    return place - 1 >= start && place - 1 < end;
}

/* Rows come in the order of their addresses. */
static int keep_row(void *token, void *state, size_t size, unw_word_t start, unw_word_t end)
{
    struct rows *rows = token;
    if (size > MAX_ROW)
        return -UNW_ENOMEM;
    rows->size = size;
    if (rows->of[0] == NO_ROW && is_call_in(rows->places[0], start, end)) {
        memcpy(rows->bytes[0], state, size);
        rows->of[0] = 0;
        rows->places_left--;
    }
    for (; rows->next < rows->place_count && rows->places[rows->next] - 1 < end; rows->next++) {
        if (is_call_in(rows->places[rows->next], start, end))
            rows->of[rows->next] = (uint8_t)row_number(rows, state);
        rows->places_left--; /* also one that no row is of */
    }
    return rows->places_left ? 0 : ALL_FOUND;
}

/* Finds the rows in force at the calls that return to the places. 0, or a libunwind error where
 * that of the first is not found. */
static int find_rows(struct probe *probe, struct rows *rows)
{
    unw_cursor_t cursor;
    memset(rows->of, NO_ROW, sizeof rows->of);
    rows->places_left = rows->place_count;
    rows->next = 1;
    rows->count = 1;
    probe_start(probe, 0, rows->places[0] - 1);
    int error = library.init_remote(&cursor, space, probe);
    if (error)
        return error;
    error = library.reg_states_iterate(&cursor, keep_row, rows);
    if (rows->of[0] == 0)
        return 0;
    return error < 0 ? error : -UNW_ENOINFO;
}

/* Sees where the caller's RBP comes from, after the row was applied. */
static void observe_rbp(struct probe *probe, unw_cursor_t *cursor, struct observation *seen)
{
    unw_word_t value;
    probe->word_count = 0;
    probe->register_reads = 0;
    probe->last_register = -1;
    seen->caller_rbp = RBP_OTHER;
    if (library.get_reg(cursor, UNW_X86_64_RBP, &value))
        return; /* undefined */
    if (probe->word_count == 0 && probe->register_reads == 1 &&
        probe->last_register == UNW_X86_64_RBP)
        seen->caller_rbp = RBP_SAME;
    if (probe->word_count == 1 && probe->register_reads == 0) {
        seen->caller_rbp = RBP_SAVED;
        seen->rbp_address = probe->words[0].address;
    }
}

/* Applies the row to registers of our choice. Returns whether anything can be made of it. */
static bool observe(struct probe *probe, unsigned number, uint64_t pc, void *row,
                    struct observation *seen)
{
    unw_cursor_t cursor;
    unw_word_t ip, cfa, sp;
    memset(seen, 0, sizeof *seen);
    probe_start(probe, number, pc);
    seen->sp = probe->registers[UNW_X86_64_RSP];
    seen->rbp = probe->registers[UNW_X86_64_RBP];
    if (library.init_remote(&cursor, space, probe))
        return false;
    probe->rip_read = false;
    int result = library.apply_reg_state(&cursor, row);
    if (result < 0 || probe->too_many_words)
        return false;
    seen->end = result == 0;
    if (seen->end)
        return true;
    memcpy(seen->words, probe->words, sizeof seen->words);
    seen->word_count = probe->word_count;
    if (library.get_reg(&cursor, UNW_REG_IP, &ip) ||
        library.get_reg(&cursor, UNW_X86_64_CFA, &cfa) ||
        library.get_reg(&cursor, UNW_X86_64_RSP, &sp))
        return false;
    seen->cfa = cfa;
    /* The caller's SP is the CFA, its pc the word below; there is no rule for anything else. */
    if (sp != cfa || ip != memory_value(probe, cfa - 8))
        return false;
    observe_rbp(probe, &cursor, seen);
    return true;
}

/* ---- From observations to a rule ------------------------------------------------------------- */

/* Whether all[i] - from[i] is the same in all probes, a multiple of 8 and within the limits. */
static bool constant_distance(const uint64_t all[PROBES], const uint64_t from[PROBES],
                              int32_t least, int32_t most, int32_t *out)
{
    int64_t distance = (int64_t)(all[0] - from[0]);
    for (unsigned i = 1; i < PROBES; i++)
        if ((int64_t)(all[i] - from[i]) != distance)
            return false;
    if (distance % 8 || distance < least || distance > most)
        return false;
    *out = (int32_t)distance;
    return true;
}

/* CFA := mem[RBP + deref_offset] + cfa_offset, for any of the words that were read. */
static bool infer_deref(const struct observation seen[PROBES], const uint64_t cfa[PROBES],
                        const uint64_t rbp[PROBES], struct unwind_rule *rule)
{
    for (unsigned word = 0; word < seen[0].word_count; word++) {
        uint64_t address[PROBES], value[PROBES];
        for (unsigned i = 0; i < PROBES; i++) {
            if (word >= seen[i].word_count)
                return false;
            address[i] = seen[i].words[word].address;
            value[i] = seen[i].words[word].value;
        }
        if (constant_distance(address, rbp, UNWIND_PACK_OFFSET_MIN, UNWIND_PACK_OFFSET_MAX,
                              &rule->deref_offset) &&
            constant_distance(cfa, value, UNWIND_PACK_CFA_MIN, UNWIND_PACK_CFA_MAX,
                              &rule->cfa_offset))
            return true;
    }
    return false;
}

static bool infer_cfa(const struct observation seen[PROBES], const uint64_t cfa[PROBES],
                      const uint64_t rbp[PROBES], struct unwind_rule *rule)
{
    uint64_t sp[PROBES];
    for (unsigned i = 0; i < PROBES; i++)
        sp[i] = seen[i].sp;
    /* The return address lies at or above SP: it was pushed before the frame was made. */
    if (constant_distance(cfa, sp, 8, UNWIND_PACK_CFA_MAX, &rule->cfa_offset)) {
        rule->cfa_base = UNWIND_CFA_SP;
        return true;
    }
    if (constant_distance(cfa, rbp, UNWIND_PACK_CFA_MIN, UNWIND_PACK_CFA_MAX, &rule->cfa_offset)) {
        rule->cfa_base = UNWIND_CFA_RBP;
        return true;
    }
    rule->cfa_base = UNWIND_CFA_RBP_DEREF;
    return infer_deref(seen, cfa, rbp, rule);
}

static void infer_rbp(const struct observation seen[PROBES], const uint64_t cfa[PROBES],
                      const uint64_t rbp[PROBES], struct unwind_rule *rule)
{
    uint64_t address[PROBES];
    rule->rbp_kind = UNWIND_RBP_UNKNOWN;
    for (unsigned i = 0; i < PROBES; i++) {
        if (seen[i].caller_rbp != seen[0].caller_rbp)
            return;
        address[i] = seen[i].rbp_address;
    }
    if (seen[0].caller_rbp == RBP_SAME)
        rule->rbp_kind = UNWIND_RBP_SAME;
    if (seen[0].caller_rbp != RBP_SAVED)
        return;
    if (constant_distance(address, cfa, UNWIND_PACK_OFFSET_MIN, UNWIND_PACK_OFFSET_MAX,
                          &rule->rbp_offset))
        rule->rbp_kind = UNWIND_RBP_AT_CFA;
    else if (constant_distance(address, rbp, UNWIND_PACK_OFFSET_MIN, UNWIND_PACK_OFFSET_MAX,
                               &rule->rbp_offset))
        rule->rbp_kind = UNWIND_RBP_AT_RBP;
}

static struct unwind_rule infer(const struct observation seen[PROBES])
{
    const struct unwind_rule unsupported = {.kind = UNWIND_UNSUPPORTED};
    struct unwind_rule rule = {.kind = UNWIND_STEP};
    uint64_t cfa[PROBES], rbp[PROBES];
    for (unsigned i = 0; i < PROBES; i++) {
        if (seen[i].end != seen[0].end)
            return unsupported;
        cfa[i] = seen[i].cfa;
        rbp[i] = seen[i].rbp;
    }
    if (seen[0].end)
        return (struct unwind_rule){.kind = UNWIND_END};
    if (!infer_cfa(seen, cfa, rbp, &rule))
        return unsupported;
    infer_rbp(seen, cfa, rbp, &rule);
    return rule;
}

/* ---- All of it ------------------------------------------------------------------------------- */

/* The rule that a row amounts to at `pc`. 0, or the error of the module's file. */
static int rule_of_row(struct probe *probe, uint64_t pc, void *row, struct unwind_rule *out,
                       bool *only_here)
{
    struct observation seen[PROBES];
    bool seen_all = true;
    *only_here = false;
    for (unsigned i = 0; seen_all && i < PROBES; i++) {
        seen_all = observe(probe, i, pc, row, &seen[i]);
        *only_here |= probe->rip_read;
    }
    *out = seen_all ? infer(seen) : (struct unwind_rule){.kind = UNWIND_UNSUPPORTED};
    return probe->file_error;
}

/*
 * Unwind information cannot say that a call is made on another stack, as some functions do in
 * assembly within C: it goes on from the stack pointer all the same, and leads beyond the end of
 * that stack, where nothing may be mapped. A rule that does is none.
 */
static struct unwind_rule doubt(const struct probe *probe, uint64_t pc, struct unwind_rule rule)
{
    bool from_sp = rule.kind == UNWIND_STEP && rule.cfa_base == UNWIND_CFA_SP;
    if (from_sp && call_scan_switches_stack(probe->entry->start, pc))
        return (struct unwind_rule){.kind = UNWIND_UNSUPPORTED};
    return rule;
}

/* Tells the rules of all places but the first. */
static void tell_others(struct probe *probe, struct rows *rows, unwind_rule_told *told)
{
    for (unsigned row = 0; row < rows->count; row++) {
        struct unwind_rule rule;
        bool made = false, only_here = false;
        for (unsigned i = 1; i < rows->place_count; i++) {
            if (rows->of[i] != row)
                continue;
            if ((!made || only_here) &&
                rule_of_row(probe, rows->places[i], rows->bytes[row], &rule, &only_here))
                return;
            made = true;
            struct unwind_rule here = rows->switches ? doubt(probe, rows->places[i], rule) : rule;
            told(rows->places[i] + probe->module->load_bias, &here);
        }
    }
}

static void find_places(struct rows *rows, const struct probe *probe)
{
    const struct unwind_module *module = probe->module;
    const struct call_scan code = {probe->entry->start, probe->entry->end,
                                   module->start - module->load_bias,
                                   module->end - module->load_bias};
    rows->place_count += call_scan(&code, rows->places + 1, MAX_PLACES, &rows->switches);
}

/* Finds the rule for link-time return address `pc`, within a batch of module_bytes.h. */
static int find_rule(const struct unwind_module *module, uint64_t pc, struct unwind_rule *out,
                     unwind_rule_told *told)
{
    static struct rows rows; /* too large for the monitor's stack */
    struct unwind_entry entry;
    bool only_here;
    int error = unwind_table_find(module->file.eh_frame_hdr_vaddr, module->file.eh_frame_hdr_size,
                                  pc - 1, &entry);
    if (error == -ENODATA)
        return 0;
    if (error && error != -ENOTSUP)
        return error;
    out->kind = UNWIND_UNSUPPORTED;
    if (error == -ENOTSUP)
        return 0;
    if (entry.signal_frame) {
        out->kind = UNWIND_SIGNAL;
        return 0;
    }
    struct probe probe = {.entry = &entry, .module = module};
    rows.places[0] = pc;
    rows.place_count = 1;
    if (told)
        find_places(&rows, &probe);
    bool found = !find_rows(&probe, &rows);
    if (probe.file_error)
        return probe.file_error;
    if (!found)
        return 0;
    error = rule_of_row(&probe, pc, rows.bytes[0], out, &only_here);
    *out = doubt(&probe, pc, *out);
    if (!error && told)
        tell_others(&probe, &rows, told);
    return error;
}

int unwind_rule_find_around(const struct unwind_module *module, uint64_t pc,
                            struct unwind_rule *out, unwind_rule_told *told)
{
    memset(out, 0, sizeof *out);
    if (pc == 0) {
        out->kind = UNWIND_END;
        return 0;
    }
    if (!space || !module || pc - 1 < module->start || pc - 1 >= module->end ||
        !module->file.eh_frame_hdr_size)
        return 0;
    int error = module_bytes_begin(&module->file);
    if (!error)
        error = find_rule(module, pc - module->load_bias, out, told);
    module_bytes_end();
    if (error)
        memset(out, 0, sizeof *out);
    return error;
}

int unwind_rule_find(const struct unwind_module *module, uint64_t pc, struct unwind_rule *out)
{
    return unwind_rule_find_around(module, pc, out, NULL);
}
