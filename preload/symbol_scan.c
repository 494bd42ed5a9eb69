/* See symbol_scan.h.
 *
 * The wanted addresses are sorted, so that a symbol finds those it concerns by binary search: the
 * ones inside [value, value + size) if it has a size, and the first one at or after its value,
 * which hands it on to those that follow when the whole table has been seen:
 *
 *      wanted   0x1010      0x1400     0x1420
 *      symbols  f 0x1000 +0x40    g 0x1300 (no size)
 *               f covers 0x1010   g is the nearest before 0x1400, and so before 0x1420 */
#include "symbol_scan.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SECTIONS_AT_ONCE = 64,
    SYMBOLS_AT_ONCE = SYMBOL_SCAN_BLOCK / sizeof(Elf64_Sym),
};

/* A symbol that was chosen for an address. */
struct choice {
    bool made;
    uint8_t rank; /* of its binding */
    uint16_t section;
    uint32_t name; /* offset in the string table */
    uint64_t start;
};

struct wanted {
    struct symbol_request *request;
    struct choice sized;
    struct choice label;
    bool any_before;               /* a sized symbol begins at or before the address */
    uint64_t last_start, last_end; /* the last of those; its farthest end if several begin alike */
};

struct scan {
    int descriptor;
    uint64_t file_size;
    uint64_t section_offset; /* of the section headers in the file */
    uint64_t section_count;
    Elf64_Shdr symbols, strings;
    size_t count;
    struct wanted wanted[SYMBOL_SCAN_BATCH];
    union {
        Elf64_Shdr sections[SECTIONS_AT_ONCE];
        Elf64_Sym block[SYMBOLS_AT_ONCE];
    };
};

/* ---- Reading --------------------------------------------------------------------------------- */

static int read_at(const struct scan *scan, uint64_t offset, void *out, size_t length)
{
    uint8_t *to = out;
    if (offset > scan->file_size || length > scan->file_size - offset)
        return -ENOEXEC;
    while (length) {
        ssize_t got = pread(scan->descriptor, to, length, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -ENOEXEC;
        to += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return 0;
}

static int read_section(const struct scan *scan, uint64_t index, Elf64_Shdr *out)
{
    if (index >= scan->section_count)
        return -ENOEXEC;
    return read_at(scan, scan->section_offset + index * sizeof *out, out, sizeof *out);
}

/* Finds out where the section headers are. */
static int read_elf_header(struct scan *scan)
{
    Elf64_Ehdr header;
    struct stat status;
    if (fstat(scan->descriptor, &status))
        return -errno;
    scan->file_size = (uint64_t)status.st_size;
    int error = read_at(scan, 0, &header, sizeof header);
    if (error)
        return error;
    scan->section_offset = header.e_shoff;
    scan->section_count = header.e_shnum;
    if (!header.e_shoff)
        return 0; /* no section headers: no names */
    if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shoff > scan->file_size)
        return -ENOEXEC;
    if (!scan->section_count) { /* too many for the field: the first header has the number */
        Elf64_Shdr first;
        scan->section_count = 1;
        error = read_section(scan, 0, &first);
        scan->section_count = first.sh_size;
    }
    if (!error && scan->section_count > (scan->file_size - header.e_shoff) / sizeof(Elf64_Shdr))
        error = -ENOEXEC;
    return error;
}

/* Finds the symbol table to use: .symtab, else .dynsym. 0, -ENODATA if there is neither. */
static int find_symbol_table(struct scan *scan)
{
    bool found = false;
    for (uint64_t i = 0; i < scan->section_count; i += SECTIONS_AT_ONCE) {
        uint64_t count = scan->section_count - i;
        if (count > SECTIONS_AT_ONCE)
            count = SECTIONS_AT_ONCE;
        int error = read_at(scan, scan->section_offset + i * sizeof(Elf64_Shdr), scan->sections,
                            count * sizeof(Elf64_Shdr));
        if (error)
            return error;
        for (uint64_t j = 0; j < count; j++) {
            const Elf64_Shdr *section = &scan->sections[j];
            bool better =
                section->sh_type == SHT_SYMTAB || (section->sh_type == SHT_DYNSYM && !found);
            if (!better || section->sh_size < 2 * sizeof(Elf64_Sym))
                continue;
            scan->symbols = *section;
            found = true;
        }
    }
    if (!found)
        return -ENODATA;
    int error = read_section(scan, scan->symbols.sh_link, &scan->strings);
    if (error)
        return error;
    return scan->symbols.sh_entsize == sizeof(Elf64_Sym) && scan->strings.sh_type == SHT_STRTAB
               ? 0
               : -ENOEXEC;
}

/* ---- Choosing -------------------------------------------------------------------------------- */

/* The first wanted address at or after `vaddr`. */
static size_t first_at_or_after(const struct scan *scan, uint64_t vaddr)
{
    size_t low = 0, high = scan->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (scan->wanted[middle].request->vaddr < vaddr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint8_t rank_of_binding(unsigned binding)
{
    return binding == STB_GLOBAL || binding == STB_GNU_UNIQUE ? 2 : binding == STB_WEAK ? 1 : 0;
}

/* Takes the symbol if it is better than what was chosen: it starts later, or alike with a higher
 * rank; else the first one stays. */
static void choose(struct choice *choice, const Elf64_Sym *symbol)
{
    uint8_t rank = rank_of_binding(ELF64_ST_BIND(symbol->st_info));
    if (choice->made && (symbol->st_value < choice->start ||
                         (symbol->st_value == choice->start && rank <= choice->rank)))
        return;
    *choice = (struct choice){
        .made = true,
        .rank = rank,
        .section = symbol->st_shndx,
        .name = symbol->st_name,
        .start = symbol->st_value,
    };
}

static void note_sized(struct wanted *wanted, const Elf64_Sym *symbol)
{
    uint64_t start = symbol->st_value, end = start + symbol->st_size;
    bool alike = wanted->any_before && start == wanted->last_start;
    if (wanted->any_before && start < wanted->last_start)
        return;
    wanted->any_before = true;
    wanted->last_start = start;
    if (!alike || end > wanted->last_end)
        wanted->last_end = end;
}

static void consider(struct scan *scan, const Elf64_Sym *symbol)
{
    unsigned type = ELF64_ST_TYPE(symbol->st_info);
    if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE)
        return;
    if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx == SHN_ABS || !symbol->st_name)
        return;
    size_t first = first_at_or_after(scan, symbol->st_value);
    if (first == scan->count)
        return;
    struct wanted *wanted = &scan->wanted[first];
    if (!symbol->st_size) {
        choose(&wanted->label, symbol);
        return;
    }
    note_sized(wanted, symbol);
    for (; first < scan->count; first++) {
        wanted = &scan->wanted[first];
        if (wanted->request->vaddr - symbol->st_value >= symbol->st_size)
            break;
        choose(&wanted->sized, symbol);
    }
}

/* Hands on to each address what its predecessor knew of the symbols before it. */
static void hand_on(struct scan *scan)
{
    for (size_t i = 1; i < scan->count; i++) {
        const struct wanted *before = &scan->wanted[i - 1];
        struct wanted *here = &scan->wanted[i];
        if (!here->label.made)
            here->label = before->label;
        if (!here->any_before) {
            here->any_before = before->any_before;
            here->last_start = before->last_start;
            here->last_end = before->last_end;
        }
    }
}

static int scan_symbols(struct scan *scan)
{
    uint64_t count = scan->symbols.sh_size / sizeof(Elf64_Sym);
    for (uint64_t i = 0; i < count; i += SYMBOLS_AT_ONCE) {
        uint64_t part = count - i < SYMBOLS_AT_ONCE ? count - i : SYMBOLS_AT_ONCE;
        int error = read_at(scan, scan->symbols.sh_offset + i * sizeof(Elf64_Sym), scan->block,
                            part * sizeof(Elf64_Sym));
        if (error)
            return error;
        for (uint64_t j = 0; j < part; j++)
            consider(scan, &scan->block[j]);
    }
    hand_on(scan);
    return 0;
}

/* ---- Naming ---------------------------------------------------------------------------------- */

/* Whether a label may name the address: it isn't a place within a sized symbol, none begins between
 * the two, and the label's section is code and holds the address. */
static bool label_reaches(const struct scan *scan, const struct wanted *wanted)
{
    Elf64_Shdr section;
    const struct choice *label = &wanted->label;
    uint64_t vaddr = wanted->request->vaddr;
    if (!label->made || (wanted->any_before &&
                         (wanted->last_start > label->start || wanted->last_end > label->start)))
        return false;
    if (read_section(scan, label->section, &section))
        return false;
    return (section.sh_flags & SHF_EXECINSTR) && vaddr >= section.sh_addr &&
           vaddr - section.sh_addr < section.sh_size && label->start >= section.sh_addr;
}

static int read_name(const struct scan *scan, uint32_t offset, struct symbol_request *request)
{
    size_t capacity = request->capacity < SYMBOL_SCAN_NAME ? request->capacity : SYMBOL_SCAN_NAME;
    if (offset >= scan->strings.sh_size)
        return -ENOEXEC;
    uint64_t rest = scan->strings.sh_size - offset;
    size_t length = rest < capacity ? (size_t)rest : capacity;
    int error = read_at(scan, scan->strings.sh_offset + offset, request->name, length);
    if (error)
        return error;
    char *end = memchr(request->name, 0, length);
    if (!end && length == rest) /* the table ends within the name */
        return -ENOEXEC;
    request->truncated = !end;
    if (!end)
        request->name[length - 1] = 0;
    char *version = strchr(request->name, '@');
    if (version && version != request->name) {
        *version = 0;
        request->truncated = 0;
    }
    return 0;
}

static int read_names(const struct scan *scan)
{
    for (size_t i = 0; i < scan->count; i++) {
        const struct wanted *wanted = &scan->wanted[i];
        const struct choice *choice = &wanted->sized;
        if (!choice->made && label_reaches(scan, wanted))
            choice = &wanted->label;
        if (!choice->made)
            continue;
        int error = read_name(scan, choice->name, wanted->request);
        if (error)
            return error;
        wanted->request->start = choice->start;
    }
    return 0;
}

/* ---- All of it ------------------------------------------------------------------------------- */

static void forget_names(struct symbol_request *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        requests[i].name[0] = 0;
        requests[i].truncated = 0;
        requests[i].start = 0;
    }
}

static int by_address(const void *a, const void *b)
{
    uint64_t left = ((const struct wanted *)a)->request->vaddr;
    uint64_t right = ((const struct wanted *)b)->request->vaddr;
    return left < right ? -1 : left > right;
}

static int scan_file(struct scan *scan)
{
    int error = read_elf_header(scan);
    if (!error)
        error = find_symbol_table(scan);
    if (error == -ENODATA)
        return 0;
    if (!error)
        error = scan_symbols(scan);
    if (!error)
        error = read_names(scan);
    return error;
}

int symbol_scan(const struct module_file *file, struct symbol_request *requests, size_t count)
{
    forget_names(requests, count);
    if (count > SYMBOL_SCAN_BATCH)
        return -E2BIG;
    if (!count)
        return 0;
    int descriptor = module_bytes_open_file(file);
    if (descriptor < 0)
        return descriptor;
    struct scan *scan = calloc(1, sizeof *scan);
    int error = -ENOMEM;
    if (scan) {
        scan->descriptor = descriptor;
        scan->count = count;
        for (size_t i = 0; i < count; i++)
            scan->wanted[i].request = &requests[i];
        qsort(scan->wanted, count, sizeof scan->wanted[0], by_address);
        error = scan_file(scan);
    }
    close(descriptor);
    free(scan);
    if (error)
        forget_names(requests, count);
    return error;
}
