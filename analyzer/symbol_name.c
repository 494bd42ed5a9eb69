/*
 * One table for each module, made at its first frame: all function symbols by address, of those
 * that start alike the one to choose first; and for each how far it and all before it reach.
 */
#include "symbol_name.h"

#include <elfutils/libdwfl.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { LONGEST_NAME = 511 };

struct named {
    GElf_Addr start, end; /* end is start for one without size */
    GElf_Addr reach;      /* the farthest end up to here */
    const char *name;     /* libdwfl's, without a version */
    int rank, place;      /* of the binding; in the table */
    bool reaches_code;    /* without size: its section is executable and ends at `limit` */
    GElf_Addr limit;
};

struct table {
    const struct ht_module *module; /* key */
    Dwfl_Module *file;              /* NULL where it was not found */
    uint64_t bias;
    struct named *symbols;
    size_t count;
    UT_hash_handle hh;
};

struct ht_symbol_names {
    struct ht_symbolizer *symbolizer;
    struct table *tables;
    char **cut_names; /* copies of names with a version */
    size_t cut_count;
};

static int by_start(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->rank != y->rank ? y->rank - x->rank : x->place - y->place;
}

static int rank_of(unsigned binding)
{
    return binding == STB_GLOBAL || binding == STB_GNU_UNIQUE ? 2 : binding == STB_WEAK ? 1 : 0;
}

/* A name without its version (NAME@VERSION, NAME@@VERSION), and no longer than the preload takes.
 */
static const char *without_version(struct ht_symbol_names *names, const char *name)
{
    size_t length = strcspn(name, "@");
    if (length > LONGEST_NAME)
        length = LONGEST_NAME;
    if (!name[length] || length == 0)
        return name;
    names->cut_names = ht_room_for_one(names->cut_names, names->cut_count, sizeof(char *));
    return names->cut_names[names->cut_count++] = ht_format("%.*s", (int)length, name);
}

static void set_section(struct named *symbol, Elf *elf, GElf_Word index, GElf_Addr value)
{
    GElf_Shdr header;
    Elf_Scn *section = elf ? elf_getscn(elf, index) : NULL;
    if (!section || !gelf_getshdr(section, &header) || !(header.sh_flags & SHF_EXECINSTR))
        return;
    symbol->reaches_code = true;
    symbol->limit = symbol->start - value + header.sh_addr + header.sh_size;
}

static void add_symbol(struct ht_symbol_names *names, struct table *table, int i)
{
    GElf_Sym symbol;
    GElf_Addr address;
    GElf_Word section;
    Elf *elf = NULL;
    const char *name =
        dwfl_module_getsym_info(table->file, i, &symbol, &address, &section, &elf, NULL);
    unsigned type = GELF_ST_TYPE(symbol.st_info);
    if (!name || !*name || symbol.st_shndx == SHN_UNDEF || symbol.st_shndx == SHN_ABS ||
        (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE))
        return;
    struct named *entry = &table->symbols[table->count++];
    *entry = (struct named){
        .start = address,
        .end = address + symbol.st_size,
        .name = without_version(names, name),
        .rank = rank_of(GELF_ST_BIND(symbol.st_info)),
        .place = i,
    };
    if (symbol.st_size == 0)
        set_section(entry, elf, section, symbol.st_value);
}

static struct table *table_of(struct ht_symbol_names *names, const struct ht_module *module)
{
    struct table *table;
    HASH_FIND_PTR(names->tables, &module, table);
    if (table)
        return table;
    table = ht_allocate_zeroed(1, sizeof *table);
    table->module = module;
    HASH_ADD_PTR(names->tables, module, table);
    table->file = ht_symbolizer_file(names->symbolizer, module, &table->bias);
    int count = table->file ? dwfl_module_getsymtab(table->file) : 0;
    if (count <= 0)
        return table;
    table->symbols = ht_allocate_zeroed((size_t)count, sizeof *table->symbols);
    for (int i = 1; i < count; i++)
        add_symbol(names, table, i);
    if (table->count > 0)
        qsort(table->symbols, table->count, sizeof *table->symbols, by_start);
    GElf_Addr reach = 0;
    for (size_t i = 0; i < table->count; i++) {
        struct named *symbol = &table->symbols[i];
        reach = symbol->end > reach ? symbol->end : reach;
        symbol->reach = reach;
    }
    return table;
}

/* How many symbols start at or before `address`. */
static size_t count_up_to(const struct table *table, GElf_Addr address)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->symbols[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first in the order of those that start where symbol `i` does and pass. */
static const char *choose(const struct table *table, size_t i, GElf_Addr address, bool sized)
{
    GElf_Addr start = table->symbols[i].start;
    const char *name = table->symbols[i].name;
    for (; i + 1 > 0 && table->symbols[i].start == start; i--) {
        const struct named *symbol = &table->symbols[i];
        if (sized ? symbol->end > address : symbol->end == symbol->start)
            name = symbol->name;
        if (i == 0)
            break;
    }
    return name;
}

/* The name by rule 1; NULL where no symbol holds the address. */
static const char *sized_at(const struct table *table, size_t count, GElf_Addr address)
{
    for (size_t i = count; i > 0 && table->symbols[i - 1].reach > address; i--)
        if (table->symbols[i - 1].end > address)
            return choose(table, i - 1, address, true);
    return NULL;
}

/* The name by rule 2; NULL where no label may name the address. */
static const char *label_at(const struct table *table, size_t count, GElf_Addr address)
{
    GElf_Addr last_start = 0, last_end = 0;
    const struct named *label = NULL;
    size_t at = 0;
    for (size_t i = count; i > 0 && !(label && last_end); i--) {
        const struct named *symbol = &table->symbols[i - 1];
        if (symbol->end > symbol->start && !last_end) {
            last_start = symbol->start;
            last_end = symbol->end;
        } else if (symbol->end > symbol->start && symbol->start == last_start) {
            last_end = symbol->end > last_end ? symbol->end : last_end;
        } else if (symbol->end == symbol->start && !label) {
            label = symbol;
            at = i - 1;
        }
    }
    if (!label || last_start > label->start || last_end > label->start || !label->reaches_code ||
        address >= label->limit)
        return NULL;
    return choose(table, at, address, false);
}

struct ht_symbol_names *ht_symbol_names_new(struct ht_symbolizer *symbolizer)
{
    struct ht_symbol_names *names = ht_allocate_zeroed(1, sizeof *names);
    names->symbolizer = symbolizer;
    return names;
}

const char *ht_symbol_name(struct ht_symbol_names *names, const struct ht_frame *frame,
                           bool *has_file)
{
    struct table *table = frame->module ? table_of(names, frame->module) : NULL;
    *has_file = table && table->file;
    if (!*has_file || frame->offset == 0)
        return "";
    GElf_Addr address = frame->offset - 1 + table->bias;
    size_t count = count_up_to(table, address);
    const char *name = sized_at(table, count, address);
    if (!name)
        name = label_at(table, count, address);
    return name ? name : "";
}

void ht_symbol_names_free(struct ht_symbol_names *names)
{
    struct table *table, *next;
    HASH_ITER(hh, names->tables, table, next)
    {
        HASH_DEL(names->tables, table);
        free(table->symbols);
        free(table);
    }
    for (size_t i = 0; i < names->cut_count; i++)
        free(names->cut_names[i]);
    free(names->cut_names);
    free(names);
}
