/*
 * Each module has a Dwfl of its own, reported at a fixed base: an offset of the file becomes an
 * address of that Dwfl by adding one bias, whatever the other modules are. A place is looked up
 * once.
 *
 * libdwfl finds the compilation unit of an address by .debug_aranges, which clang does not write;
 * so a second table, from the ranges of the units themselves, is made for modules where that fails.
 */
#include "symbolize.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "demangle.h"
#include "progress.h"
#include "text.h"

#define MODULE_BASE  0x10000000u
#define DEFAULT_PATH ":.debug:/usr/lib/debug"

struct symbol {
    GElf_Addr address, size;
    const char *name; /* libdwfl's */
    int preference;   /* of several at one address the highest is shown */
};

struct unit_range {
    Dwarf_Addr start, end; /* without bias */
    Dwarf_Off unit;        /* offset of the unit's DIE */
};

/* What is known of one canonical module. Made when its first frame is looked up. */
struct loaded {
    const struct ht_module *module; /* key */
    Dwfl *dwfl;
    Dwfl_Module *dwfl_module; /* NULL where no file could be used */
    GElf_Addr bias;           /* address of the Dwfl minus offset in the file */
    const char *problem;      /* NULL where there is debug information */
    struct symbol *symbols;   /* by address; made on first use */
    size_t symbol_count;
    bool has_symbols;
    struct unit_range *units; /* by start; made on first use */
    size_t unit_count;
    bool has_units;
    UT_hash_handle hh;
};

struct known_place {
    struct ht_frame frame; /* key */
    struct ht_place place;
    UT_hash_handle hh;
};

struct ht_symbolizer {
    char *debug_path;
    Dwfl_Callbacks by_path, by_build_id;
    struct loaded *modules; /* in the order of first use */
    struct known_place *places;
    bool shows_progress; /* the terminal of stderr is not that of the report */
};

/* ---- finding the file ------------------------------------------------------------------------ */

/* The file of the module is right: the build-id agrees, or none was recorded. */
static bool is_same_build(Elf *elf, const struct ht_module *module)
{
    const void *id;
    ssize_t length = dwelf_elf_gnu_build_id(elf, &id);
    if (module->build_id_length == 0)
        return true;
    return length == (ssize_t)module->build_id_length && memcmp(id, module->build_id, length) == 0;
}

/* Opens a regular file and checks that it is the build that ran: its descriptor, or -1 with why. */
static int open_build(const char *path, const struct ht_module *module, const char **problem)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        *problem = "file not found";
    } else {
        Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
        bool is_elf = elf && elf_kind(elf) == ELF_K_ELF;
        bool same = is_elf && is_same_build(elf, module);
        elf_end(elf);
        if (same)
            return fd;
        *problem = is_elf ? "the file is a different build" : "the file is not an ELF file";
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool report_file(struct ht_symbolizer *s, struct loaded *m, const char *path)
{
    int fd = open_build(path, m->module, &m->problem);
    if (fd < 0)
        return false;
    m->dwfl = dwfl_begin(&s->by_path);
    if (m->dwfl) {
        dwfl_report_begin(m->dwfl);
        /* Takes the descriptor over if it succeeds. */
        m->dwfl_module = dwfl_report_elf(m->dwfl, m->module->label, path, fd, MODULE_BASE, true);
        dwfl_report_end(m->dwfl, NULL, NULL);
    }
    if (m->dwfl_module)
        return true;
    close(fd);
    dwfl_end(m->dwfl);
    m->dwfl = NULL;
    m->problem = "the file cannot be read";
    return false;
}

/* The file that was recorded; a file that was removed is recorded as "PATH (deleted)". */
static bool by_recorded_path(struct ht_symbolizer *s, struct loaded *m)
{
    static const char deleted[] = " (deleted)";
    size_t length = strlen(m->module->path), tail = sizeof deleted - 1;
    if (m->module->path[0] != '/') {
        m->problem = "its directory is not known";
        return false;
    }
    if (length > tail && strcmp(m->module->path + length - tail, deleted) == 0)
        length -= tail;
    char *path = ht_format("%.*s", (int)length, m->module->path);
    bool found = report_file(s, m, path);
    free(path);
    return found;
}

/* DIRECTORY/.build-id/ab/cdef….debug for each absolute directory of the debug path. */
static bool by_debug_file(struct ht_symbolizer *s, struct loaded *m)
{
    const struct ht_module *module = m->module;
    char id[2 * 64 + 1];
    if (module->build_id_length < 2 || module->build_id_length > 64)
        return false;
    for (size_t i = 0; i < module->build_id_length; i++)
        snprintf(id + 2 * i, 3, "%02x", module->build_id[i]);
    const char *why = m->problem;
    bool found = false;
    for (const char *at = s->debug_path; *at && !found; at += strcspn(at, ":"), at += *at == ':') {
        const char *directory = at + strspn(at, "+-");
        if (*directory != '/')
            continue;
        char *path = ht_format("%.*s/.build-id/%.2s/%s.debug", (int)strcspn(directory, ":"),
                               directory, id, id + 2);
        found = report_file(s, m, path);
        free(path);
    }
    if (!found)
        m->problem = why; /* what is wrong with the recorded file says more */
    return found;
}

/* By libdwfl's own search for a build-id, which asks debuginfod too. */
static bool by_build_id(struct ht_symbolizer *s, struct loaded *m)
{
    const struct ht_module *module = m->module;
    if (module->build_id_length == 0 || !(m->dwfl = dwfl_begin(&s->by_build_id)))
        return false;
    dwfl_report_begin(m->dwfl);
    m->dwfl_module = dwfl_report_module(m->dwfl, module->label, MODULE_BASE, (GElf_Addr)1 << 40);
    if (m->dwfl_module)
        dwfl_module_report_build_id(m->dwfl_module, module->build_id, module->build_id_length, 0);
    dwfl_report_end(m->dwfl, NULL, NULL);
    GElf_Addr bias;
    if (m->dwfl_module && dwfl_module_getelf(m->dwfl_module, &bias))
        return true;
    dwfl_end(m->dwfl);
    m->dwfl = NULL;
    m->dwfl_module = NULL;
    return false;
}

static bool has_section(Elf *elf, GElf_Word type)
{
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
        GElf_Shdr header;
        if (gelf_getshdr(section, &header) && header.sh_type == type)
            return true;
    }
    return false;
}

/* Sets the bias and what is lacking, once a file was found. */
static void examine(struct loaded *m)
{
    Dwarf_Addr dwarf_bias;
    Elf *elf = dwfl_module_getelf(m->dwfl_module, &m->bias);
    Dwarf *dwarf = dwfl_module_getdwarf(m->dwfl_module, &dwarf_bias);
    m->problem = NULL;
    Dwarf_Off next;
    size_t header_size;
    if (dwarf && dwarf_nextcu(dwarf, 0, &next, &header_size, NULL, NULL, NULL) == 0)
        return;
    m->problem = elf && has_section(elf, SHT_SYMTAB) ? "no debug information, function names only"
                                                     : "stripped, nearest exported symbols only";
}

/* The kernel's own module has none. */
static bool has_file(const struct ht_module *module)
{
    return module->path[0] && module->path[0] != '[';
}

static struct loaded *load(struct ht_symbolizer *s, const struct ht_module *module)
{
    struct loaded *m;
    HASH_FIND_PTR(s->modules, &module, m);
    if (m)
        return m;
    m = ht_allocate_zeroed(1, sizeof *m);
    m->module = module;
    HASH_ADD_PTR(s->modules, module, m);
    if (!has_file(module))
        m->problem = "it has no file";
    else if (by_recorded_path(s, m) || by_debug_file(s, m) || by_build_id(s, m))
        examine(m);
    return m;
}

/* ---- names ----------------------------------------------------------------------------------- */

static char *die_name(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    const char *name = NULL;
    if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute) ||
        dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute))
        name = dwarf_formstring(&attribute);
    if (!name)
        name = dwarf_diename(die);
    return name ? ht_demangle(name) : NULL;
}

static int by_address(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;
    if (x->address != y->address)
        return x->address < y->address ? -1 : 1;
    return x->preference != y->preference ? (x->preference < y->preference ? -1 : 1) : 0;
}

/* Function symbols, by address; of several at one address the preferred one comes last. */
static void make_symbols(struct loaded *m)
{
    m->has_symbols = true;
    int count = dwfl_module_getsymtab(m->dwfl_module);
    if (count <= 0)
        return;
    m->symbols = ht_allocate_zeroed((size_t)count, sizeof *m->symbols);
    for (int i = 1; i < count; i++) {
        GElf_Sym symbol;
        GElf_Addr address;
        GElf_Word section;
        const char *name =
            dwfl_module_getsym_info(m->dwfl_module, i, &symbol, &address, &section, NULL, NULL);
        unsigned type = GELF_ST_TYPE(symbol.st_info), binding = GELF_ST_BIND(symbol.st_info);
        if (!name || !*name || symbol.st_shndx == SHN_UNDEF ||
            (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE))
            continue;
        m->symbols[m->symbol_count++] = (struct symbol){
            .address = address,
            .size = symbol.st_size,
            .name = name,
            .preference = 4 * (type != STT_NOTYPE) + 2 * (binding != STB_LOCAL) + (name[0] != '_'),
        };
    }
    qsort(m->symbols, m->symbol_count, sizeof *m->symbols, by_address);
}

/*
 * The symbol that holds `address`, else the nearest before it; NULL where there is none. A symbol
 * with a size may be nested in another one: a few before the nearest are looked at too.
 */
static const struct symbol *symbol_at(struct loaded *m, GElf_Addr address)
{
    if (!m->has_symbols)
        make_symbols(m);
    size_t low = 0, high = m->symbol_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->symbols[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; i > 0 && i + 8 > low; i--)
        if (address - m->symbols[i - 1].address < m->symbols[i - 1].size)
            return &m->symbols[i - 1];
    return low ? &m->symbols[low - 1] : NULL;
}

/* ---- debug information ----------------------------------------------------------------------- */

static int by_start(const void *a, const void *b)
{
    const struct unit_range *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

static void make_units(struct loaded *m)
{
    m->has_units = true;
    Dwarf_Addr bias;
    for (Dwarf_Die *unit = NULL; (unit = dwfl_module_nextcu(m->dwfl_module, unit, &bias));) {
        Dwarf_Addr base, start, end;
        for (ptrdiff_t at = 0; (at = dwarf_ranges(unit, at, &base, &start, &end)) > 0;) {
            m->units = ht_room_for_one(m->units, m->unit_count, sizeof *m->units);
            m->units[m->unit_count++] = (struct unit_range){start, end, dwarf_dieoffset(unit)};
        }
    }
    if (m->unit_count > 0)
        qsort(m->units, m->unit_count, sizeof *m->units, by_start);
}

/* The compilation unit of an address of the Dwfl, and in `*bias` what its addresses are off by. */
static bool unit_at(struct loaded *m, Dwarf_Addr address, Dwarf_Die *unit, Dwarf_Addr *bias)
{
    Dwarf_Die *known = dwfl_module_addrdie(m->dwfl_module, address, bias);
    if (known) {
        *unit = *known;
        return true;
    }
    Dwarf *dwarf = dwfl_module_getdwarf(m->dwfl_module, bias);
    if (!m->has_units)
        make_units(m);
    size_t low = 0, high = m->unit_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->units[middle].start <= address - *bias)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && address - *bias < m->units[low - 1].end &&
           dwarf_offdie(dwarf, m->units[low - 1].unit, unit);
}

static struct ht_function *add_function(struct ht_place *place)
{
    place->functions = ht_room_for_one(place->functions, place->count, sizeof *place->functions);
    struct ht_function *function = &place->functions[place->count++];
    memset(function, 0, sizeof *function);
    return function;
}

static void set_source(struct ht_function *function, const char *file, int line)
{
    if (!file || !*file)
        return;
    function->file = ht_clean(file, strlen(file));
    function->line = line > 0 ? line : 0; /* 0: code that the compiler made up */
}

static bool is_function(Dwarf_Die *die)
{
    int tag = dwarf_tag(die);
    return tag == DW_TAG_inlined_subroutine || tag == DW_TAG_subprogram ||
           tag == DW_TAG_entry_point;
}

/* Where an inlined function was called: the source of the function around it. */
static void set_call_site(struct ht_function *function, Dwarf_Die *unit, Dwarf_Die *inlined)
{
    Dwarf_Attribute attribute;
    Dwarf_Word file, line;
    Dwarf_Files *files;
    size_t count;
    if (dwarf_getsrcfiles(unit, &files, &count) == 0 &&
        dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &file) == 0 &&
        dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &line) == 0 &&
        file < count && line <= INT32_MAX)
        set_source(function, dwarf_filesrc(files, file, NULL, NULL), (int)line);
}

/*
 * Adds the functions of `scopes`, the innermost one first. The source of each is where the one
 * inlined into it was called; `place` has already one function, with the source of the address.
 */
static void add_functions(struct ht_place *place, Dwarf_Die *unit, Dwarf_Die *scopes, int count)
{
    Dwarf_Die *inner = NULL;
    for (int i = 0; i < count; i++) {
        if (!is_function(&scopes[i]))
            continue;
        struct ht_function *function = &place->functions[place->count - 1];
        if (inner) {
            function->inlined = true;
            function = add_function(place);
            set_call_site(function, unit, inner);
        }
        function->name = die_name(&scopes[i]);
        inner = &scopes[i];
        if (dwarf_tag(inner) != DW_TAG_inlined_subroutine)
            break;
    }
}

/*
 * Where the functions of a unit are described: in the unit itself, or in its .dwo file, of which
 * what the module holds is but the skeleton.
 */
static Dwarf_Die described_in(const Dwarf_Die *unit)
{
    Dwarf_Die split = {0};
    uint8_t type = 0;
    if (dwarf_cu_info(unit->cu, NULL, &type, NULL, &split, NULL, NULL, NULL) == 0 &&
        type == DW_UT_skeleton && split.addr)
        return split;
    return *unit;
}

static void from_dwarf(struct loaded *m, Dwarf_Addr address, struct ht_place *place)
{
    Dwarf_Addr bias;
    Dwarf_Die unit, *scopes = NULL, *parents = NULL;
    if (!unit_at(m, address, &unit, &bias))
        return;
    Dwarf_Line *line = dwarf_getsrc_die(&unit, address - bias);
    int number = 0;
    if (line && dwarf_lineno(line, &number) == 0)
        set_source(&place->functions[0], dwarf_linesrc(line, NULL, NULL), number);
    unit = described_in(&unit);
    /*
     * The scopes around an address change to those of the definition at an inlined function: only
     * the innermost one is taken, and from it the way out through the code as it lies.
     */
    int count = dwarf_getscopes(&unit, address - bias, &scopes);
    if (count > 0) {
        Dwarf_Die innermost = scopes[0];
        count = dwarf_getscopes_die(&innermost, &parents);
        if (count > 0)
            add_functions(place, &unit, parents, count);
    }
    free(scopes);
    free(parents);
}

static void from_symbols(struct loaded *m, GElf_Addr address, struct ht_function *function)
{
    const struct symbol *symbol = symbol_at(m, address);
    if (!symbol)
        return;
    char *name = ht_demangle(symbol->name);
    function->approximate = address - symbol->address >= symbol->size;
    function->name = function->approximate ? ht_format("%s+?", name) : name;
    if (function->approximate)
        free(name);
}

/* ---- the outside ----------------------------------------------------------------------------- */

struct ht_symbolizer *ht_symbolizer_new(const char *debug_path)
{
    struct ht_symbolizer *s = ht_allocate_zeroed(1, sizeof *s);
    elf_version(EV_CURRENT);
    s->shows_progress = !isatty(STDOUT_FILENO);
    if (isatty(STDERR_FILENO))
        setenv("DEBUGINFOD_PROGRESS", "1", 0); /* a download is the longest wait of all */
    s->debug_path = ht_format("%s", debug_path ? debug_path : DEFAULT_PATH);
    s->by_path = (Dwfl_Callbacks){
        .find_debuginfo = dwfl_standard_find_debuginfo,
        .debuginfo_path = &s->debug_path,
    };
    s->by_build_id = s->by_path;
    s->by_build_id.find_elf = dwfl_build_id_find_elf;
    return s;
}

static void look_up(struct ht_symbolizer *s, const struct ht_frame *frame, struct ht_place *place)
{
    add_function(place);
    struct loaded *m = frame->module ? load(s, frame->module) : NULL;
    if (!m || !m->dwfl_module || frame->offset == 0)
        return;
    GElf_Addr address = frame->offset - 1 + m->bias;
    from_dwarf(m, address, place);
    struct ht_function *outermost = &place->functions[place->count - 1];
    if (!outermost->name)
        from_symbols(m, address, outermost);
}

const struct ht_place *ht_symbolize(struct ht_symbolizer *s, const struct ht_frame *frame)
{
    struct known_place *known;
    HASH_FIND(hh, s->places, frame, sizeof *frame, known);
    if (!known) {
        known = ht_allocate_zeroed(1, sizeof *known);
        known->frame = *frame;
        if (s->shows_progress)
            ht_progress("finding names of functions", 0, 0);
        look_up(s, frame, &known->place);
        HASH_ADD(hh, s->places, frame, sizeof *frame, known);
    }
    return &known->place;
}

const struct ht_module *ht_symbolizer_problem(const struct ht_symbolizer *s, size_t i,
                                              const char **why)
{
    for (const struct loaded *m = s->modules; m; m = m->hh.next)
        if (m->problem && has_file(m->module) && i-- == 0) {
            *why = m->problem;
            return m->module;
        }
    return NULL;
}

struct Dwfl_Module *ht_symbolizer_file(struct ht_symbolizer *s, const struct ht_module *module,
                                       uint64_t *bias)
{
    struct loaded *m = load(s, module);
    *bias = m->bias;
    return m->dwfl_module;
}

void ht_symbolizer_free(struct ht_symbolizer *s)
{
    struct known_place *place, *next_place;
    struct loaded *m, *next_m;
    if (!s)
        return;
    ht_progress_end();
    HASH_ITER(hh, s->places, place, next_place)
    {
        HASH_DEL(s->places, place);
        for (size_t i = 0; i < place->place.count; i++) {
            free(place->place.functions[i].name);
            free(place->place.functions[i].file);
        }
        free(place->place.functions);
        free(place);
    }
    HASH_ITER(hh, s->modules, m, next_m)
    {
        HASH_DEL(s->modules, m);
        dwfl_end(m->dwfl);
        free(m->symbols);
        free(m->units);
        free(m);
    }
    free(s->debug_path);
    free(s);
}
