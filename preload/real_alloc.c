#include "real_alloc.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <string.h>

#include "internal_heap.h"
#include "raw_io.h"

struct ht_real ht_real;

/* ---- bootstrap arena ---------------------------------------------------------------------------
 */

#define BOOTSTRAP_SIZE (32 << 10)

static char bootstrap[BOOTSTRAP_SIZE] __attribute__((aligned(4096)));
static size_t bootstrap_used; /* any thread, atomically */

/* Two words before each block: its size, and 0 where glibc keeps a chunk's size, so that the block
 * is never taken for a sealed one. */
struct bootstrap_head {
    size_t size;
    size_t zero;
};

void *ht_bootstrap_alloc(size_t size, size_t alignment)
{
    if (alignment < 16)
        alignment = 16;
    if (size > BOOTSTRAP_SIZE || alignment > BOOTSTRAP_SIZE)
        return NULL;
    size_t used = __atomic_load_n(&bootstrap_used, __ATOMIC_RELAXED), start, end;
    do {
        start = (used + sizeof(struct bootstrap_head) + alignment - 1) & ~(alignment - 1);
        end = start + ((size + 15) & ~(size_t)15);
        if (end > BOOTSTRAP_SIZE)
            return NULL;
    } while (!__atomic_compare_exchange_n(&bootstrap_used, &used, end, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    struct bootstrap_head *head = (struct bootstrap_head *)(bootstrap + start) - 1;
    head->size = size;
    return bootstrap + start;
}

bool ht_bootstrap_owns(const void *block)
{
    return (uintptr_t)block - (uintptr_t)bootstrap < BOOTSTRAP_SIZE;
}

size_t ht_bootstrap_usable(const void *block)
{
    return ((const struct bootstrap_head *)block - 1)->size;
}

/* ---- look-up ------------------------------------------------------------------------------------
 */

static enum { UNRESOLVED, RESOLVING, RESOLVED } stage;

/* ISO C has no conversion from void * to a function pointer; POSIX promises that this works. */
#define LOOK_UP(handle, name) (*(void **)&ht_real.name = dlsym(handle, #name))

/* How the files of C++ runtimes, and of glibc, begin. */
static const char *const runtimes[] = {"libstdc++.", "libc++.", "libc++abi.", NULL};
static const char *const libc[] = {"libc.so", NULL};
/* What puts another allocator behind libc's own functions: those of valgrind's tools that watch
 * blocks, and report whoever reads in front of one. */
static const char *const behind_libc[] = {"vgpreload_memcheck", "vgpreload_helgrind",
                                          "vgpreload_drd",      "vgpreload_massif",
                                          "vgpreload_dhat",     NULL};

/* A library, and what to look for: where `address` is, or whose file name begins with one of
 * `names`, a list that ends with NULL. */
struct library {
    const void *address;
    const char *const *names;
    const char *path; /* as the loader has it; NULL where none was found */
};

static bool begins_with_one_of(const char *path, const char *const *names)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    for (; *names; names++)
        if (strncmp(base, *names, strlen(*names)) == 0)
            return true;
    return false;
}

static bool is_in(const struct dl_phdr_info *info, const void *address)
{
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD &&
            (uintptr_t)address - info->dlpi_addr - info->dlpi_phdr[i].p_vaddr <
                info->dlpi_phdr[i].p_memsz)
            return true;
    return false;
}

static int look_at(struct dl_phdr_info *info, size_t size, void *context)
{
    struct library *library = context;
    (void)size;
    if (library->address ? is_in(info, library->address)
                         : begins_with_one_of(info->dlpi_name, library->names))
        library->path = info->dlpi_name;
    return library->path != NULL;
}

/* The library in which a function is, as the loader names it; NULL where it is in none. Not dladdr,
 * which goes through all symbols of a library to name the nearest. */
static const char *library_of(const void *function)
{
    struct library library = {.address = function};
    if (function)
        dl_iterate_phdr(look_at, &library);
    return library.path;
}

/* Whether a function is in a library whose file name begins with one of `names`. */
static bool in_library(const void *function, const char *const *names)
{
    const char *path = library_of(function);
    return path && begins_with_one_of(path, names);
}

/* Whether both functions are there and come from one library. */
static bool same_library(const void *a, const void *b)
{
    const char *path = library_of(a);
    return path && path == library_of(b);
}

static bool is_loaded(const char *const *names)
{
    struct library library = {.names = names};
    dl_iterate_phdr(look_at, &library);
    return library.path != NULL;
}

/* Whether usable sizes read in front of blocks agree with what the allocator says of them. */
static bool chunk_layout_holds(void)
{
    static const size_t sizes[] = {0, 1, 24, 25, 40, 100, 1000, 5000, 70000, 200000, 40 << 20};
    if (!in_library((void *)ht_real.malloc, libc) ||
        !in_library((void *)ht_real.malloc_usable_size, libc) || is_loaded(behind_libc))
        return false;
    for (unsigned i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i / 2];
        void *p = i % 2 ? ht_real.memalign(256, size) : ht_real.malloc(size);
        if (!p)
            continue;
        size_t word = ((size_t *)p)[-1];
        size_t usable = (word & ~(size_t)7) - (word & 2 ? 16 : 8);
        bool same = usable == ht_real.malloc_usable_size(p) && usable >= size;
        ht_real.free(p);
        if (!same)
            return false;
    }
    return true;
}

/* As the program calls it, whatever the compiler knows of malloc. */
static void *(*volatile asked_by_name)(size_t) = malloc;
static bool redirected; /* calls of our malloc end elsewhere */

/*
 * jemalloc's nallocx, or NULL where the allocator is another. The block of a request has the size
 * that this tells, whether it comes from malloc, calloc or realloc, be it profiled, guarded or
 * resized in place: so all versions since 4.0 assert when they are built for debugging. Others have
 * a function of this name, too, and promise less; none has all of these.
 */
static void *find_nallocx(void)
{
    static const char *const names[] = {"mallctlbymib", "malloc_stats_print", "xallocx", "sallocx",
                                        "nallocx"};
    void *found = NULL;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        found = dlsym(RTLD_NEXT, names[i]);
        if (!same_library(found, (void *)ht_real.malloc))
            return NULL;
    }
    return found;
}

bool ht_real_resolve(void)
{
    if (stage == RESOLVED)
        return true;
    if (stage == RESOLVING)
        return false;
    int saved = errno;
    stage = RESOLVING;
    ht_heap_touch((uintptr_t)bootstrap, sizeof bootstrap);
#define X(name, result, parameters) LOOK_UP(RTLD_NEXT, name);
    HT_REAL_FUNCTIONS(X)
#undef X
    /* The first call may allocate (gperftools: by operator new): from the bootstrap arena then. */
    void *block = ht_real.malloc(1);
    if (block) {
        ht_real.malloc_usable_size(block);
        ht_real.free(block);
    }
    /* Ours would have taken it from the arena. */
    ht_real.blocks_guarded = is_loaded(behind_libc);
    void *asked = ht_real.blocks_guarded ? asked_by_name(1) : NULL;
    redirected = asked && !ht_bootstrap_owns(asked);
    if (redirected)
        ht_real.free(asked);
    stage = RESOLVED;
    ht_real.sizes_unknown =
        !same_library((void *)ht_real.malloc, (void *)ht_real.malloc_usable_size);
    ht_real.chunk_layout_known = chunk_layout_holds();
    if (!ht_real.chunk_layout_known)
        *(void **)&ht_real.nallocx = find_nallocx();
    errno = saved;
    return true;
}

/* Our own definitions, to tell them from others'. */
#define X(name, result, parameters) result name parameters;
HT_REAL_OPERATORS(X)
#undef X

static bool is_runtime_or_allocator(const void *operator_address)
{
    return in_library(operator_address, runtimes) ||
           same_library(operator_address, (void *)ht_real.malloc);
}

/* Whether an address is that of the program's own PLT entry for a function of some library: where
 * code that cannot be moved (no PIE) takes a function's address, the loader has everybody take the
 * entry's for it. What is called through it is the definition that comes first, as by any other
 * call. */
static bool is_plt_entry(const void *function)
{
    Dl_info info;
    void *symbol = NULL;
    return dladdr1(function, &info, &symbol, RTLD_DL_SYMENT) && symbol &&
           ((const ElfW(Sym) *)symbol)->st_shndx == SHN_UNDEF;
}

/* A C++ runtime that is loaded, or NULL: one that came in with a plugin is not in the scope that
 * RTLD_NEXT searches. Asked for by its path: the loader would look through its directories for a
 * name. */
static void *open_runtime(void)
{
    struct library library = {.names = runtimes};
    dl_iterate_phdr(look_at, &library);
    return library.path ? dlopen(library.path, RTLD_LAZY | RTLD_NOLOAD) : NULL;
}

static void *find_operator(const char *name, void *runtime)
{
    void *found = dlsym(RTLD_NEXT, name);
    return found || !runtime ? found : dlsym(runtime, name);
}

void ht_real_late(void)
{
    int saved = errno;
    bool foreign = false;
    void *ours, *defined, *first;
    /* What the program's own references find. Not RTLD_DEFAULT: to a library that is linked with
     * -Bsymbolic, as this one, that shows its own definitions first. */
    void *program = dlopen(NULL, RTLD_LAZY), *runtime = open_runtime();
#define X(name, result, parameters)                                                                \
    if (!ht_real.name)                                                                             \
        *(void **)&ht_real.name = find_operator(#name, runtime);                                   \
    ours = (void *)name;                                                                           \
    defined = dlsym(program, #name);                                                               \
    if (!foreign && defined && defined != ours && !is_runtime_or_allocator(defined))               \
        foreign = !is_plt_entry(defined);                                                          \
    if (ht_real.name && !is_runtime_or_allocator((void *)ht_real.name))                            \
        foreign = true;
    HT_REAL_OPERATORS(X)
#undef X
    if (runtime)
        dlclose(runtime);
    /* Decided once: blocks of our operators must not meet another's delete later. */
    if (!ht_real.operators_known)
        ht_real.operators_foreign = foreign;
    ht_real.operators_of_allocator = same_library((void *)ht_real._Znwm, (void *)ht_real.malloc);
    first = dlsym(program, "malloc");
    ht_real.bypassed = redirected || (first != (void *)malloc && !is_plt_entry(first));
    ht_real.operators_known = true;
    errno = saved;
}
