/* See unwind_table.h. The format: "Linux Standard Base Core Specification", chapter "Exception
 * Frames", and the DWARF standard, section "Call Frame Information". */
#include "unwind_table.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "module_bytes.h"

enum {
    WINDOW = 64,           /* bytes that a reader fetches at a time */
    MAX_PROGRAM = 1 << 20, /* bytes of one CFI program */
    MAX_REMEMBERED = 64,   /* depth of DW_CFA_remember_state */
    MAX_AUGMENTATION = 8,  /* letters */
    STACK_POINTER = 7,     /* DWARF number of rsp */
    RETURN_ADDRESS = 16,   /* DWARF number of the return address; 0..15 are the registers */
    SEARCH_ENTRY = 8,      /* bytes of an entry of the search table */
};

/* Pointer encodings (DW_EH_PE_*): a format in the low four bits, what to add above. */
enum {
    ENCODED_ABSPTR = 0x00,
    ENCODED_UDATA2 = 0x02,
    ENCODED_UDATA4 = 0x03,
    ENCODED_UDATA8 = 0x04,
    ENCODED_SDATA2 = 0x0a,
    ENCODED_SDATA4 = 0x0b,
    ENCODED_SDATA8 = 0x0c,
    ENCODED_FORMAT = 0x0f,
    ENCODED_PCREL = 0x10,
    ENCODED_DATAREL = 0x30,
    ENCODED_BASE = 0xf0,
};

/* ---- Reading bytes in order ------------------------------------------------------------------ */

/* After the first error all that is read is 0 and `error` stays. */
struct reader {
    uint64_t at, end; /* link-time addresses; what is read lies before `end` */
    int error;
    uint64_t window_start;
    size_t window_length;
    uint8_t window[WINDOW];
};

static void reader_start(struct reader *reader, uint64_t at, uint64_t end)
{
    reader->at = at;
    reader->end = end;
    reader->error = 0;
    reader->window_length = 0;
}

static void reader_fail(struct reader *reader, int error)
{
    if (!reader->error)
        reader->error = error;
}

static uint8_t read_u8(struct reader *reader)
{
    if (reader->error)
        return 0;
    if (reader->at >= reader->end) {
        reader_fail(reader, -ENOTSUP);
        return 0;
    }
    if (reader->at - reader->window_start >= reader->window_length) {
        uint64_t rest = reader->end - reader->at;
        size_t length = rest < WINDOW ? (size_t)rest : WINDOW;
        int error = module_bytes_read(reader->at, reader->window, length);
        if (error == -EFAULT) { /* a window over the end of a segment, maybe */
            length = 1;
            error = module_bytes_read(reader->at, reader->window, length);
        }
        if (error) {
            /* Pointing out of the module is the table's fault, not the file's. */
            reader_fail(reader, error == -EFAULT ? -ENOTSUP : error);
            return 0;
        }
        reader->window_start = reader->at;
        reader->window_length = length;
    }
    return reader->window[reader->at++ - reader->window_start];
}

static uint64_t read_unsigned(struct reader *reader, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)read_u8(reader) << 8 * i;
    return value;
}

/* An LEB128 of at most 64 bits; the sign is extended if asked. */
static uint64_t read_leb(struct reader *reader, bool is_signed)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = read_u8(reader);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        if (is_signed && (byte & 0x40) && shift + 7 < 64)
            value |= ~UINT64_C(0) << (shift + 7);
        return value;
    }
    reader_fail(reader, -ENOTSUP);
    return 0;
}

static void skip(struct reader *reader, uint64_t bytes)
{
    if (reader->error)
        return;
    if (bytes > reader->end - reader->at)
        reader_fail(reader, -ENOTSUP);
    else
        reader->at += bytes;
}

/* A pointer in one of the encodings that linkers use; anything else is an error. `base` is what
 * ENCODED_DATAREL counts from. */
static uint64_t read_encoded(struct reader *reader, uint8_t encoding, uint64_t base)
{
    uint64_t here = reader->at, value = 0;
    switch (encoding & ENCODED_FORMAT) {
    case ENCODED_ABSPTR:
    case ENCODED_UDATA8:
    case ENCODED_SDATA8:
        value = read_unsigned(reader, 8);
        break;
    case ENCODED_UDATA4:
        value = read_unsigned(reader, 4);
        break;
    case ENCODED_SDATA4:
        value = (uint64_t)(int32_t)read_unsigned(reader, 4);
        break;
    case ENCODED_UDATA2:
        value = read_unsigned(reader, 2);
        break;
    case ENCODED_SDATA2:
        value = (uint64_t)(int16_t)read_unsigned(reader, 2);
        break;
    default:
        reader_fail(reader, -ENOTSUP);
    }
    switch (encoding & ENCODED_BASE) {
    case 0:
        return value;
    case ENCODED_PCREL:
        return here + value;
    case ENCODED_DATAREL:
        return base + value;
    default:
        reader_fail(reader, -ENOTSUP);
        return 0;
    }
}

/* ---- CFI programs ---------------------------------------------------------------------------- */

/* The operands of each instruction that libunwind runs right:
 *   1 2 4  bytes      U  unsigned LEB128     S  signed LEB128
 *   R  register       B  block: its length, then that many bytes
 *   r  register that gets a rule
 * and what it does that matters here: D defines the CFA, < and > remember and restore, A goes on
 * to a later address. */
static const char *const operands[0x40] = {
    [0x00] = "",    /* nop */
    [0x02] = "A1",  /* advance_loc1 */
    [0x03] = "A2",  /* advance_loc2 */
    [0x04] = "A4",  /* advance_loc4 */
    [0x05] = "rU",  /* offset_extended */
    [0x06] = "R",   /* restore_extended */
    [0x07] = "r",   /* undefined */
    [0x08] = "r",   /* same_value */
    [0x09] = "rR",  /* register */
    [0x0a] = "<",   /* remember_state */
    [0x0b] = ">",   /* restore_state */
    [0x0c] = "DRU", /* def_cfa */
    [0x0d] = "R",   /* def_cfa_register */
    [0x0e] = "U",   /* def_cfa_offset */
    [0x0f] = "DB",  /* def_cfa_expression */
    [0x10] = "rB",  /* expression */
    [0x11] = "rS",  /* offset_extended_sf */
    [0x12] = "DRS", /* def_cfa_sf */
    [0x13] = "S",   /* def_cfa_offset_sf */
    [0x16] = "rB",  /* val_expression */
    [0x2e] = "U",   /* GNU_args_size */
};

struct program_check {
    bool advanced;
    bool defines_cfa; /* for the first address already */
    unsigned remembered;
};

/* The caller's SP is the CFA, by definition; libunwind says so even where it has another rule. */
static void check_register(struct reader *reader, uint64_t number, bool gets_rule)
{
    if (number > RETURN_ADDRESS || (gets_rule && number == STACK_POINTER))
        reader_fail(reader, -ENOTSUP);
}

static void check_operand(struct reader *reader, char operand, struct program_check *check)
{
    switch (operand) {
    case '1':
    case '2':
    case '4':
        skip(reader, (uint64_t)(operand - '0'));
        break;
    case 'U':
        read_leb(reader, false);
        break;
    case 'S':
        read_leb(reader, true);
        break;
    case 'r':
        check_register(reader, read_leb(reader, false), true);
        break;
    case 'R':
        check_register(reader, read_leb(reader, false), false);
        break;
    case 'B':
        skip(reader, read_leb(reader, false));
        break;
    case 'A':
        check->advanced = true;
        break;
    case 'D':
        check->defines_cfa |= !check->advanced;
        break;
    case '<':
        if (++check->remembered > MAX_REMEMBERED)
            reader_fail(reader, -ENOTSUP);
        break;
    case '>':
        if (!check->remembered--)
            reader_fail(reader, -ENOTSUP);
        break;
    }
}

/* Reads through the program [at, end). 0, or the error. */
static int check_program(uint64_t at, uint64_t end, struct program_check *check)
{
    struct reader reader;
    reader_start(&reader, at, end);
    check->remembered = 0;
    if (end < at || end - at > MAX_PROGRAM)
        return -ENOTSUP;
    while (!reader.error && reader.at < reader.end) {
        uint8_t instruction = read_u8(&reader);
        unsigned argument = instruction & 0x3f;
        switch (instruction & 0xc0) {
        case 0x40: /* advance_loc */
            check->advanced = true;
            break;
        case 0x80: /* offset */
            read_leb(&reader, false);
            check_register(&reader, argument, true);
            break;
        case 0xc0: /* restore */
            check_register(&reader, argument, false);
            break;
        default:
            if (!operands[argument])
                return -ENOTSUP;
            for (const char *operand = operands[argument]; *operand; operand++)
                check_operand(&reader, *operand, check);
        }
    }
    return reader.error;
}

/* ---- CIE and FDE ----------------------------------------------------------------------------- */

struct cie {
    bool augmented; /* its FDEs have augmentation data */
    bool signal_frame;
    uint8_t fde_encoding; /* of the addresses in its FDEs */
    bool defines_cfa;
};

/* Reads the length of a CIE or FDE and lets the reader end where it ends. */
static void read_length(struct reader *reader)
{
    uint64_t length = read_unsigned(reader, 4);
    if (length == 0 || length >= 0xfffffff0) /* the end mark, or the 64-bit format */
        reader_fail(reader, -ENOTSUP);
    if (!reader->error)
        reader->end = reader->at + length;
}

/* Reads the augmentation data of a CIE, letter by letter; `letters` begins with z. */
static void read_augmentation(struct reader *reader, const char *letters, struct cie *cie)
{
    uint64_t length = read_leb(reader, false);
    uint64_t start = reader->at;
    for (const char *letter = letters + 1; *letter; letter++) {
        uint8_t encoding;
        switch (*letter) {
        case 'R':
            cie->fde_encoding = read_u8(reader);
            break;
        case 'L':
            read_u8(reader);
            break;
        case 'P': /* the personality routine; where it lies doesn't matter, nor if indirectly */
            encoding = read_u8(reader);
            read_encoded(reader, encoding & ENCODED_FORMAT, 0);
            break;
        case 'S':
            cie->signal_frame = true;
            break;
        default:
            reader_fail(reader, -ENOTSUP);
        }
    }
    if (reader->error || reader->at - start > length)
        reader_fail(reader, -ENOTSUP);
    else
        skip(reader, length - (reader->at - start));
}

static int read_cie(uint64_t at, struct cie *cie)
{
    struct reader reader;
    char letters[MAX_AUGMENTATION + 1] = "";
    memset(cie, 0, sizeof *cie);
    reader_start(&reader, at, UINT64_MAX);
    read_length(&reader);
    uint64_t id = read_unsigned(&reader, 4);
    uint8_t version = read_u8(&reader);
    if (id != 0 || (version != 1 && version != 3))
        reader_fail(&reader, -ENOTSUP);
    for (unsigned i = 0; (letters[i] = (char)read_u8(&reader)); i++)
        if (i == MAX_AUGMENTATION - 1)
            reader_fail(&reader, -ENOTSUP);
    read_leb(&reader, false); /* code alignment */
    read_leb(&reader, true);  /* data alignment */
    uint64_t column = version == 1 ? read_u8(&reader) : read_leb(&reader, false);
    if (column != RETURN_ADDRESS)
        reader_fail(&reader, -ENOTSUP);
    if (letters[0] == 'z') {
        cie->augmented = true;
        read_augmentation(&reader, letters, cie);
    } else if (letters[0]) {
        reader_fail(&reader, -ENOTSUP);
    }
    if (reader.error)
        return reader.error;
    struct program_check check = {0};
    int error = check_program(reader.at, reader.end, &check);
    cie->defines_cfa = check.defines_cfa;
    return error;
}

/* Reads the FDE at `at` and checks all that it needs. */
static int read_fde(uint64_t at, struct unwind_entry *out)
{
    struct reader reader;
    struct cie cie;
    reader_start(&reader, at, UINT64_MAX);
    read_length(&reader);
    uint64_t pointer_at = reader.at;
    uint64_t pointer = read_unsigned(&reader, 4);
    if (pointer == 0) /* a CIE */
        reader_fail(&reader, -ENOTSUP);
    if (reader.error)
        return reader.error;
    int error = read_cie(pointer_at - pointer, &cie);
    if (error)
        return error;
    out->start = read_encoded(&reader, cie.fde_encoding, 0);
    out->end = out->start + read_encoded(&reader, cie.fde_encoding & ENCODED_FORMAT, 0);
    out->signal_frame = cie.signal_frame;
    if (cie.augmented)
        skip(&reader, read_leb(&reader, false));
    if (reader.error || cie.signal_frame) /* which has no rule, whatever its program */
        return reader.error;
    struct program_check check = {.defines_cfa = cie.defines_cfa};
    error = check_program(reader.at, reader.end, &check);
    if (!error && !check.defines_cfa)
        error = -ENOTSUP;
    return error;
}

/* ---- The search table ------------------------------------------------------------------------ */

struct search_table {
    uint64_t base; /* addresses in it count from here: the header's address */
    uint64_t first;
    uint64_t count;
};

static int read_search_header(uint64_t header, uint64_t size, struct search_table *table)
{
    struct reader reader;
    reader_start(&reader, header, header + size);
    uint8_t version = read_u8(&reader);
    uint8_t frame_encoding = read_u8(&reader);
    uint8_t count_encoding = read_u8(&reader);
    uint8_t table_encoding = read_u8(&reader);
    if (version != 1 || table_encoding != (ENCODED_DATAREL | ENCODED_SDATA4))
        reader_fail(&reader, -ENOTSUP);
    read_encoded(&reader, frame_encoding, header);
    table->count = read_encoded(&reader, count_encoding, header);
    table->base = header;
    table->first = reader.at;
    if (!reader.error && table->count > (header + size - reader.at) / SEARCH_ENTRY)
        reader_fail(&reader, -ENOTSUP);
    return reader.error;
}

static int read_search_entry(const struct search_table *table, uint64_t index, uint64_t *start,
                             uint64_t *fde)
{
    int32_t entry[2];
    int error = module_bytes_read(table->first + index * SEARCH_ENTRY, entry, sizeof entry);
    if (error)
        return error == -EFAULT ? -ENOTSUP : error;
    *start = table->base + (uint64_t)(int64_t)entry[0];
    *fde = table->base + (uint64_t)(int64_t)entry[1];
    return 0;
}

int unwind_table_find(uint64_t header, uint64_t size, uint64_t vaddr, struct unwind_entry *out)
{
    struct search_table table;
    uint64_t start, fde;
    if (size > UINT64_MAX - header)
        return -ENOTSUP;
    int error = read_search_header(header, size, &table);
    if (error)
        return error;
    /* The last entry that starts at or before the address: [low, high) still holds it. */
    uint64_t low = 0, high = table.count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        error = read_search_entry(&table, middle, &start, &fde);
        if (error)
            return error;
        if (start <= vaddr)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return -ENODATA;
    error = read_search_entry(&table, low - 1, &start, &fde);
    if (error)
        return error;
    memset(out, 0, sizeof *out);
    out->search_entry = table.first + (low - 1) * SEARCH_ENTRY;
    error = read_fde(fde, out);
    if (error)
        return error;
    return vaddr >= out->start && vaddr < out->end ? 0 : -ENODATA;
}
