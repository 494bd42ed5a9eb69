#include "module_map.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "frame_table.h"
#include "frame_info.h"
#include "heaptally/snapshot_format.h"
#include "heaptally/tagging.h"
#include "heaptally/units.h"
#include "internal_heap.h"
#include "mapped_file.h"
#include "stack_cache.h"
#include "tag.h"

#define MAX_MODULES 4096
#define MAX_SKIPS   64
#define MAX_OPEN    8 /* nested calls of dlclose that are told apart */
#define PERIOD      (10 * HT_SECOND)

#define MAX_READINGS 8u /* of the list, where others overtake each; the next is taken as it is */

static struct ht_module *modules[MAX_MODULES];
static _Atomic uint32_t module_count;
static pthread_mutex_t closing = PTHREAD_MUTEX_INITIALIZER; /* before `lock` */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t close_count;                    /* raised whenever modules were found gone; lock */
static unsigned long long last_adds, last_subs; /* of the list that the map agrees with; lock */

/* Calls of dlclose, by whether the period that they began in is odd. They last from one to two
 * periods at most: what takes longer never comes back, as far as anybody knows. With the lock, as
 * all of these. */
static unsigned under_way[2];
static uint32_t period;
static uint64_t period_began;
static uint64_t begun; /* how many calls there were */
static bool unsettled; /* some are over, and what they took away was not looked at */

static struct {
    const char *glob;
    size_t length;
} skips[MAX_SKIPS];
static unsigned skip_count;

void ht_modules_skip(const char *glob, size_t length)
{
    if (skip_count < MAX_SKIPS) {
        skips[skip_count].glob = glob;
        skips[skip_count++].length = length;
    }
}

void ht_modules_hold(void)
{
    pthread_mutex_lock(&closing);
}

void ht_modules_release(void)
{
    pthread_mutex_unlock(&closing);
}

void ht_modules_lock(void)
{
    ht_modules_hold();
    pthread_mutex_lock(&lock);
}

void ht_modules_unlock(void)
{
    pthread_mutex_unlock(&lock);
    ht_modules_release();
}

struct ht_module *ht_module(uint32_t id)
{
    return id < module_count ? modules[id] : NULL;
}

struct ht_module *ht_module_of(uintptr_t pc)
{
    for (uint32_t i = module_count; i-- > 0;) {
        struct ht_module *module = modules[i];
        if (pc > module->unwind.start && pc <= module->unwind.end &&
            !(module->flags & HTL_MODULE_CLOSED))
            return module;
    }
    return NULL;
}

/* ---- what one loaded object looks like ----------------------------------------------------------
 */

/* One object of the loader's list, as long as the list is locked. */
struct seen {
    uint64_t load_bias, start, end, eh_frame_hdr_vaddr, eh_frame_hdr_size;
    uint32_t unwind_digest;
    uint8_t build_id[64];
    uint32_t build_id_length;
    char path[1024]; /* "" where the map has it already */
    char base[256];  /* its last part, as the loader was given it */
    char soname[128];
    bool stays;
};

struct listing {
    struct seen *seen;
    unsigned count, capacity;
    bool unchanged, force;
    bool failed; /* without memory: the list is not whole */
    unsigned long long adds, subs;
};

static void read_build_id(struct seen *seen, const char *notes, size_t size)
{
    while (size >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)notes;
        size_t name = ((size_t)note->n_namesz + 3) & ~(size_t)3;
        size_t total = sizeof *note + name + (((size_t)note->n_descsz + 3) & ~(size_t)3);
        if (total > size)
            return;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
            memcmp(note + 1, "GNU", 4) == 0 && note->n_descsz <= sizeof seen->build_id) {
            seen->build_id_length = note->n_descsz;
            memcpy(seen->build_id, (const char *)(note + 1) + name, note->n_descsz);
            return;
        }
        notes += total;
        size -= total;
    }
}

static void read_soname(struct seen *seen, const ElfW(Dyn) * dynamic)
{
    const char *strings = NULL;
    ElfW(Addr) offset = 0;
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_STRTAB) {
            /* The loader relocates this entry in most objects, but not in the vDSO. */
            ElfW(Addr) address = dynamic->d_un.d_ptr;
            strings =
                (const char *)(address < seen->load_bias ? address + seen->load_bias : address);
        } else if (dynamic->d_tag == DT_SONAME) {
            offset = dynamic->d_un.d_val;
        }
    }
    if (strings && offset)
        strncpy(seen->soname, strings + offset, sizeof seen->soname - 1);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Whether it fits; else `to` is what it was. */
static bool copy_text(char *to, size_t room, const char *text)
{
    size_t length = strlen(text);
    if (length >= room)
        return false;
    memcpy(to, text, length + 1);
    return true;
}

static void set_base(struct seen *seen, const char *path)
{
    memcpy(seen->base, base_name(path), strnlen(base_name(path), sizeof seen->base - 1));
}

static bool same(const struct ht_module *module, const struct seen *seen)
{
    const struct module_file *file = &module->unwind.file;
    return module->unwind.load_bias == seen->load_bias && module->unwind.start == seen->start &&
           file->build_id_length == seen->build_id_length &&
           memcmp(file->build_id, seen->build_id, seen->build_id_length) == 0 &&
           file->unwind_digest == seen->unwind_digest && strcmp(module->base, seen->base) == 0;
}

/* A library that comes again to where it was is the one it was: a program that loads and unloads
 * for ever fills the map once. NULL where there was none. Needs no lock: what is compared of an
 * entry never changes. */
static struct ht_module *find(const struct seen *seen)
{
    for (uint32_t i = 0; i < module_count; i++)
        if (same(modules[i], seen))
            return modules[i];
    return NULL;
}

/* Once the main thread has ended, /proc/self is of something that has no program any more. (It
 * comes first, since tools that run a program in themselves answer for it.) */
static bool read_own_name(char *path, size_t room)
{
    ssize_t n = readlink("/proc/self/exe", path, room);
    if (n <= 0)
        n = readlink("/proc/thread-self/exe", path, room);
    if (n <= 0 || (size_t)n >= room)
        return false;
    path[n] = '\0';
    return true;
}

/* The kernel's own call: libc's may allocate. */
static bool read_in_working_directory(char *path, size_t room, const char *name)
{
    long n = syscall(SYS_getcwd, path, room); /* with its NUL */
    if (n <= 1 || path[0] != '/')
        return false;
    path[n - 1] = '/';
    return copy_text(path + n, room - (size_t)n, name);
}

/* Where a name is relative, or does not fit, the kernel may know the file by a better one. What is
 * left otherwise leads nowhere, but is a name. */
static void read_path(struct seen *seen, const char *name)
{
    size_t room = sizeof seen->path;
    set_base(seen, name);
    if (name[0] == '/' && copy_text(seen->path, room, name))
        return;
    if (find(seen) || ht_mapped_file(seen->start, seen->path, room))
        return;
    if (name[0] == '/' || !name[0] || !read_in_working_directory(seen->path, room, name))
        copy_text(seen->path, room, seen->base);
}

/* What the kernel was to run is the loader where a user starts that, with a program to load; the
 * loader then has the program's name put where the kernel had left its own. That is a text of the
 * program's, which it may write over, and the file may be renamed or removed: the name that was
 * found at first is the name for good. */
static void read_program_path(struct seen *seen)
{
    size_t room = sizeof seen->path;
    const char *given = (const char *)getauxval(AT_EXECFN);
    if (module_count > 0)
        set_base(seen, modules[0]->base);
    else if (getauxval(AT_BASE) ? read_own_name(seen->path, room)
                                : ht_mapped_file(seen->start, seen->path, room))
        set_base(seen, seen->path);
    else
        read_path(seen, given ? given : "");
}

static void read_object(struct seen *seen, const struct dl_phdr_info *info, bool first)
{
    memset(seen, 0, sizeof *seen);
    seen->load_bias = info->dlpi_addr;
    seen->start = UINT64_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uint64_t address = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD) {
            if (address < seen->start)
                seen->start = address;
            if (address + header->p_memsz > seen->end)
                seen->end = address + header->p_memsz;
        } else if (header->p_type == PT_NOTE && !seen->build_id_length) {
            read_build_id(seen, (const char *)address, header->p_memsz);
        } else if (header->p_type == PT_GNU_EH_FRAME) {
            seen->eh_frame_hdr_vaddr = header->p_vaddr;
            seen->eh_frame_hdr_size = header->p_filesz;
        } else if (header->p_type == PT_DYNAMIC) {
            read_soname(seen, (const ElfW(Dyn) *)address);
        }
    }
    if (!seen->build_id_length && seen->eh_frame_hdr_size)
        seen->unwind_digest =
            module_bytes_digest(info->dlpi_phdr, info->dlpi_phnum, info->dlpi_addr);
    if (first)
        read_program_path(seen);
    else if (strncmp(info->dlpi_name, "linux-vdso", 10) == 0 || !info->dlpi_name[0])
        strcpy(seen->path, strcpy(seen->base, "[vdso]"));
    else
        read_path(seen, info->dlpi_name);
}

static int list_object(struct dl_phdr_info *info, size_t size, void *context)
{
    struct listing *listing = context;
    (void)size;
    if (listing->count == 0 && !listing->force && info->dlpi_adds == last_adds &&
        info->dlpi_subs == last_subs) {
        listing->unchanged = true;
        return 1;
    }
    listing->adds = info->dlpi_adds;
    listing->subs = info->dlpi_subs;
    if (listing->count == listing->capacity) {
        unsigned capacity = listing->capacity ? 2 * listing->capacity : 32;
        struct seen *larger = ht_heap_alloc(capacity * sizeof *larger, 16);
        if (!larger) {
            listing->failed = true;
            return 1;
        }
        if (listing->seen)
            memcpy(larger, listing->seen, listing->count * sizeof *larger);
        ht_heap_free(listing->seen);
        listing->seen = larger;
        listing->capacity = capacity;
    }
    read_object(&listing->seen[listing->count], info, listing->count == 0);
    listing->count++;
    return 0;
}

/* The loader itself came with the program, and so did all that is listed before it: what is loaded
 * later is listed later. (Some that came with the program may follow it too, and nobody knows.)
 * Where it lies the loader itself says: the kernel does not where it was told to run the loader. */
static void find_what_stays(struct listing *listing)
{
    unsigned initial = 0;
    for (unsigned j = 0; j < listing->count; j++)
        if (listing->seen[j].load_bias == _r_debug.r_ldbase)
            initial = j;
    for (unsigned j = 0; j <= initial && j < listing->count; j++)
        listing->seen[j].stays = true; /* the program at least */
}

/* ---- the map ------------------------------------------------------------------------------------
 */

static uint32_t classify(const struct ht_module *module)
{
    uint32_t kind = ht_module_kind(module->base, module->soname);
    for (unsigned i = 0; i < skip_count && !kind; i++) {
        char glob[256] = "";
        memcpy(glob, skips[i].glob, skips[i].length < 255 ? skips[i].length : 255);
        if (ht_glob_means_module(glob, module->base, module->soname))
            kind = HTL_MODULE_SKIPPED;
    }
    return kind;
}

static uint32_t tag_for(const struct ht_module *module)
{
    const char *name = module->soname[0] ? module->soname : module->base;
    return ht_tag_intern(name, ht_module_tag_length(name), HTL_TAG_DEFAULT);
}

static void add(const struct seen *seen)
{
    if (module_count == MAX_MODULES)
        return;
    size_t path = strlen(seen->path) + 1, soname = strlen(seen->soname) + 1;
    size_t base = strlen(seen->base) + 1;
    struct ht_module *module =
        ht_heap_alloc(sizeof *module + seen->build_id_length + path + soname + base, 16);
    if (!module)
        return;
    uint8_t *build_id = (uint8_t *)(module + 1);
    char *text = (char *)build_id + seen->build_id_length;
    memcpy(build_id, seen->build_id, seen->build_id_length);
    memcpy(text, seen->path, path);
    memcpy(text + path, seen->soname, soname);
    memcpy(text + path + soname, seen->base, base);
    bool vdso = strcmp(seen->path, "[vdso]") == 0;
    *module = (struct ht_module){
        .id = module_count,
        .generation = close_count,
        .soname = text + path,
        .base = text + path + soname,
        .stays = seen->stays,
        .unwind = {.file = {.path = vdso ? NULL : text,
                            .build_id = seen->build_id_length ? build_id : NULL,
                            .build_id_length = seen->build_id_length,
                            .eh_frame_hdr_vaddr = seen->eh_frame_hdr_vaddr,
                            .eh_frame_hdr_size = seen->eh_frame_hdr_size,
                            .unwind_digest = seen->unwind_digest},
                   .load_bias = seen->load_bias,
                   .start = seen->start,
                   .end = seen->end},
    };
    module->flags = classify(module) | (module_count == 0 ? HTL_MODULE_MAIN : 0);
    module->default_tag = tag_for(module);
    modules[module_count] = module;
    module_count++;
}

/* Closes what is no longer listed, and its frames die; whether there was anything. */
static bool close_missing(const struct listing *listing)
{
    bool any = false;
    for (uint32_t i = 0; i < module_count; i++) {
        struct ht_module *module = modules[i];
        bool there = (module->flags & HTL_MODULE_CLOSED) != 0;
        for (unsigned j = 0; j < listing->count && !there; j++)
            there = same(module, &listing->seen[j]);
        if (there)
            continue;
        module->flags |= HTL_MODULE_CLOSED;
        module->written = false;
        ht_frames_kill(module->unwind.start, module->unwind.end, module->id);
        any = true;
    }
    return any;
}

/* A module has come to where machine code may have been that the program had made itself. */
static void open_module(struct ht_module *known, const struct seen *seen)
{
    if (ht_frames_kill_strangers(seen->start, seen->end))
        ht_memo_next_generation();
    if (known) {
        known->flags &= ~(uint32_t)HTL_MODULE_CLOSED;
        known->written = false;
    } else {
        add(seen);
    }
}

/* Brings the map to what the loader's list says. The caller holds the lock. */
static void update(const struct listing *listing)
{
    if (close_missing(listing)) {
        close_count++;
        ht_memo_next_generation();
    }
    for (unsigned j = 0; j < listing->count; j++) {
        struct ht_module *known = find(&listing->seen[j]);
        if (!known || (known->flags & HTL_MODULE_CLOSED))
            open_module(known, &listing->seen[j]);
    }
    last_adds = listing->adds;
    last_subs = listing->subs;
}

/* What was loaded is counted on and on. What was unloaded is the difference to what is there, in
 * which a namespace's own copy of the loader is counted without ever having been loaded: it falls,
 * even beneath 0, with each namespace that comes, and rises otherwise. */
static bool is_older_than_map(const struct listing *listing)
{
    int64_t adds = (int64_t)(listing->adds - last_adds);
    int64_t subs = (int64_t)(listing->subs - last_subs);
    return adds < 0 || (adds == 0 && subs < 0);
}

enum outcome { UP_TO_DATE, OLD_NEWS, NO_MEMORY };

/* One reading of the list. `at_last`: taken as it is, however old it seems. */
static enum outcome refresh_once(bool force, bool at_last)
{
    struct listing listing = {.force = force};
    enum outcome outcome = UP_TO_DATE;
    dl_iterate_phdr(list_object, &listing);
    if (listing.failed) {
        outcome = NO_MEMORY;
    } else if (!listing.unchanged && listing.count > 0) {
        find_what_stays(&listing);
        ht_modules_lock();
        if (!at_last && is_older_than_map(&listing))
            outcome = OLD_NEWS;
        else
            update(&listing);
        ht_modules_unlock();
    }
    ht_heap_free(listing.seen);
    return outcome;
}

/* False where there was no memory for it: the map is what it was. */
static bool refresh(bool force)
{
    int saved = errno;
    enum outcome outcome = refresh_once(force, false);
    for (unsigned tries = 1; outcome == OLD_NEWS; tries++)
        outcome = refresh_once(true, tries == MAX_READINGS);
    errno = saved;
    return outcome == UP_TO_DATE;
}

void ht_modules_refresh(bool force)
{
    refresh(force);
}

/* ---- unloading ----------------------------------------------------------------------------------
 */

/* The calls of dlclose that this thread is inside of, outermost first: the frames they were made
 * in, and when. Those that are nested deeper are covered by these. */
static __thread struct {
    uintptr_t frames[MAX_OPEN];
    uint32_t periods[MAX_OPEN];
    unsigned depth;
} own __attribute__((tls_model("initial-exec")));

static bool any_under_way(void)
{
    return under_way[0] + under_way[1] > 0;
}

/* Notes a call of this thread. The caller holds the lock, also below. */
static void enter(uintptr_t frame)
{
    begun++;
    if (own.depth == MAX_OPEN)
        return;
    own.frames[own.depth] = frame;
    own.periods[own.depth++] = period;
    under_way[period & 1]++;
}

/* Forgets all calls of this thread but for the outermost `depth`. */
static void leave_to(unsigned depth)
{
    while (own.depth > depth) {
        uint32_t began = own.periods[--own.depth];
        if (period - began < 2) /* else it was given up already */
            under_way[began & 1]--;
    }
}

/* Forgets the calls that this thread has left by a jump: a call that it makes from `frame` is
 * nested in those only whose frames lie above. */
static void leave_abandoned(uintptr_t frame)
{
    unsigned depth = own.depth;
    while (depth > 0 && own.frames[depth - 1] <= frame)
        depth--;
    leave_to(depth);
}

static void leave(uintptr_t frame)
{
    unsigned depth = own.depth;
    while (depth > 0 && own.frames[depth - 1] != frame)
        depth--;
    if (depth > 0)
        leave_to(depth - 1);
}

void ht_modules_unload_begins(uintptr_t frame)
{
    refresh(true); /* what goes away can be named afterwards */
    bool any = false;
    pthread_mutex_lock(&lock);
    leave_abandoned(frame);
    enter(frame);
    for (uint32_t i = 0; i < module_count; i++) {
        const struct ht_module *module = modules[i];
        if (module->stays || (module->flags & HTL_MODULE_CLOSED))
            continue;
        /* A return address may be the byte after the last of its module. */
        ht_frames_doubt(module->unwind.start, module->unwind.end + 1);
        any = true;
    }
    if (any) /* after: who sees the new generation sees the doubt */
        ht_memo_next_generation();
    pthread_mutex_unlock(&lock);
}

void ht_modules_unload_ended(uintptr_t frame)
{
    bool known = refresh(true);
    pthread_mutex_lock(&lock);
    unsettled |= !known;
    leave(frame);
    if (!any_under_way() && !unsettled)
        ht_frames_trust();
    pthread_mutex_unlock(&lock);
}

void ht_modules_thread_ends(void)
{
    sigset_t all, before;
    if (own.depth == 0)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&lock);
    leave_to(0);
    unsettled = true;
    pthread_mutex_unlock(&lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void ht_modules_after_fork(void)
{
    pthread_mutex_lock(&lock);
    unsettled |= any_under_way();
    under_way[0] = under_way[1] = 0;
    for (unsigned i = 0; i < own.depth; i++)
        if (period - own.periods[i] < 2)
            under_way[own.periods[i] & 1]++;
    pthread_mutex_unlock(&lock);
}

/* Begins a period where it is time to; what has lasted since before the last is given up. */
static void turn_period(uint64_t now)
{
    if (now - period_began < PERIOD)
        return;
    period++;
    period_began = now;
    unsettled |= under_way[period & 1] > 0;
    under_way[period & 1] = 0;
}

void ht_modules_settle(uint64_t now)
{
    pthread_mutex_lock(&lock);
    turn_period(now);
    bool wanted = unsettled && !any_under_way();
    uint64_t as_of = begun;
    pthread_mutex_unlock(&lock);
    if (!wanted || !refresh(true))
        return;
    pthread_mutex_lock(&lock);
    if (begun == as_of) {
        unsettled = false;
        ht_frames_trust();
    }
    pthread_mutex_unlock(&lock);
}
