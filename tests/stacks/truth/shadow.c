#include "shadow.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "program.h"

/* The ABI of heaptally.h, absent without the preload. */
uint32_t heaptally_v1_tag(const char *name) __attribute__((weak));
uint32_t heaptally_v1_enter(uint32_t tag) __attribute__((weak));

#define PATHS      (1u << 18)
#define POOL_WORDS ((size_t)1 << 24)
#define KEPT       8192u /* blocks a thread keeps alive */
#define EXCHANGE   4096u /* blocks on their way to another thread */

struct path {
    uint64_t hash; /* 0: free */
    uint64_t *slots;
    uint32_t depth;
    uint32_t phase;
    uint64_t allocated_blocks, allocated_bytes, freed_blocks, freed_bytes;
};

/* What a block begins with. */
struct head {
    uint32_t path;
    uint32_t size;
};

struct worker {
    struct shadow shadow; /* first */
    void *kept[KEPT];
    pthread_t thread;
};

__thread struct shadow *shadow_self __attribute__((tls_model("initial-exec")));

static struct path *paths;
static uint64_t *pool;
static size_t pool_used;
static pthread_spinlock_t lock;
static uint32_t phase;
static void *volatile exchange[EXCHANGE];

static void die(const char *what)
{
    dprintf(2, "truth: %s\n", what);
    _exit(3);
}

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        die("no memory for the record");
    return p;
}

unsigned shadow_random(struct shadow *shadow, unsigned limit)
{
    shadow->random ^= shadow->random << 13;
    shadow->random ^= shadow->random >> 7;
    shadow->random ^= shadow->random << 17;
    return (unsigned)((shadow->random >> 20) % limit);
}

/* ---- paths -----------------------------------------------------------------------------------
 */

static bool is_path(const struct path *path, const struct shadow *shadow, uint64_t hash)
{
    return path->hash == hash && path->depth == shadow->depth && path->phase == phase &&
           memcmp(path->slots, shadow->slots, shadow->depth * sizeof *path->slots) == 0;
}

/* The id of the path on the shadow stack; the lock is held. */
static uint32_t intern(const struct shadow *shadow)
{
    uint64_t hash = phase + 1;
    for (uint64_t i = 0; i < shadow->depth; i++)
        hash = (hash ^ shadow->slots[i]) * UINT64_C(0x9E3779B97F4A7C15) + (hash >> 29);
    hash |= 1;
    uint32_t index = (uint32_t)(hash >> 40) & (PATHS - 1);
    while (paths[index].hash && !is_path(&paths[index], shadow, hash))
        index = (index + 1) & (PATHS - 1);
    struct path *path = &paths[index];
    if (!path->hash) {
        if (pool_used + shadow->depth > POOL_WORDS)
            die("too many paths");
        path->hash = hash;
        path->depth = (uint32_t)shadow->depth;
        path->phase = phase;
        path->slots = pool + pool_used;
        memcpy(path->slots, shadow->slots, shadow->depth * sizeof *path->slots);
        pool_used += shadow->depth;
    }
    return index;
}

static void count_freed(uint32_t id, size_t size)
{
    __atomic_fetch_add(&paths[id].freed_blocks, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&paths[id].freed_bytes, size, __ATOMIC_RELAXED);
}

static void count_allocated(struct shadow *shadow, void *block, size_t size)
{
    if (!block)
        die("out of memory");
    pthread_spin_lock(&lock);
    uint32_t id = intern(shadow);
    pthread_spin_unlock(&lock);
    __atomic_fetch_add(&paths[id].allocated_blocks, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&paths[id].allocated_bytes, size, __ATOMIC_RELAXED);
    *(struct head *)block = (struct head){id, (uint32_t)size};
}

static void release(void *block)
{
    if (!block)
        return;
    struct head head = *(struct head *)block;
    count_freed(head.path, head.size);
    free(block);
}

/* Puts a block where another one was, which goes; now and then by way of another thread. */
static void keep(struct shadow *shadow, void *block)
{
    struct worker *worker = (struct worker *)shadow;
    if (shadow_random(shadow, 8) == 0)
        block = __atomic_exchange_n(&exchange[shadow_random(shadow, EXCHANGE)], block,
                                    __ATOMIC_ACQ_REL);
    void **place = &worker->kept[shadow_random(shadow, KEPT)];
    release(*place);
    *place = block;
}

void shadow_allocated(struct shadow *shadow, void *block, size_t size)
{
    count_allocated(shadow, block, size);
    shadow->depth--; /* the thunk's */
    keep(shadow, block);
}

void shadow_allocated_within(struct shadow *shadow, void *block, size_t size)
{
    shadow->slots[shadow->depth++] = 0; /* within no module that notes its frames */
    count_allocated(shadow, block, size);
    shadow->depth -= 2;
    keep(shadow, block);
}

void shadow_resized(struct shadow *shadow, void *block, size_t size, uint32_t old_path,
                    size_t old_size)
{
    if (old_size)
        count_freed(old_path, old_size);
    count_allocated(shadow, block, size);
    shadow->depth--;
    keep(shadow, block);
}

void *shadow_take_block(struct shadow *shadow, uint32_t *path, size_t *size)
{
    struct worker *worker = (struct worker *)shadow;
    void **place = &worker->kept[shadow_random(shadow, KEPT)], *block = *place;
    *place = NULL;
    *path = block ? ((struct head *)block)->path : 0;
    *size = block ? ((struct head *)block)->size : 0;
    return block;
}

void shadow_passed(struct shadow *shadow)
{
    pthread_spin_lock(&lock);
    intern(shadow);
    pthread_spin_unlock(&lock);
}

/* ---- running ---------------------------------------------------------------------------------
 */

static volatile unsigned rounds_a_phase;
static pthread_barrier_t barrier;

/* Goes all scripts, in an order of its own. */
static SHADOW_OPAQUE void go(void)
{
    SHADOW_ENTER();
    unsigned step = 1 + 2 * shadow_random(shadow, shadow_script_count / 2);
    while (shadow_script_count % step == 0 && step > 1)
        step += 2;
    unsigned at = shadow_random(shadow, shadow_script_count);
    for (unsigned i = 0; i < shadow_script_count; i++) {
        const struct shadow_script *script = &shadow_scripts[at];
        shadow_functions[script->function](script->steps);
        SHADOW_BACK();
        at = (at + step) % shadow_script_count;
    }
    SHADOW_LEAVE();
}

/* Two phases that differ in nothing but the tag: what was learnt in one serves in the other. */
static SHADOW_OPAQUE void go_rounds(bool leads)
{
    SHADOW_ENTER();
    for (unsigned i = 0; i < 2 * rounds_a_phase; i++) {
        if (i == rounds_a_phase) {
            pthread_barrier_wait(&barrier);
            if (leads)
                phase = 1;
            if (heaptally_v1_tag)
                heaptally_v1_enter(heaptally_v1_tag("warm"));
            pthread_barrier_wait(&barrier);
        }
        go();
        SHADOW_BACK();
    }
    SHADOW_LEAVE();
}

static SHADOW_OPAQUE void *work(void *argument)
{
    shadow_self = argument;
    SHADOW_ENTER();
    shadow_passed(shadow);
    go_rounds(false);
    SHADOW_LEAVE();
    return NULL;
}

/* ---- writing the record ----------------------------------------------------------------------
 */

static int out = -1;
static char text[1 << 16];
static size_t text_used;

static __attribute__((format(printf, 1, 2))) void say(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    text_used += (size_t)vsnprintf(text + text_used, sizeof text - text_used, format, list);
    va_end(list);
    if (text_used > sizeof text - 1024) {
        if (write(out, text, text_used) != (ssize_t)text_used)
            die("the record cannot be written");
        text_used = 0;
    }
}

static int say_module(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    (void)context;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X))
            say("module %lx %lx %lx %s\n", (unsigned long)info->dlpi_addr,
                (unsigned long)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr),
                (unsigned long)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr +
                                info->dlpi_phdr[i].p_memsz),
                info->dlpi_name[0] ? info->dlpi_name : "-");
    return 0;
}

static void write_record(const char *file)
{
    out = open(file, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (out < 0)
        die("the record cannot be made");
    dl_iterate_phdr(say_module, NULL);
    for (uint32_t i = 0; i < PATHS; i++) {
        const struct path *path = &paths[i];
        if (!path->hash)
            continue;
        say("path %u %lu %lu %lu %lu", path->phase, (unsigned long)path->allocated_blocks,
            (unsigned long)path->allocated_bytes, (unsigned long)path->freed_blocks,
            (unsigned long)path->freed_bytes);
        for (uint32_t slot = path->depth; slot-- > 0;)
            say(" %lx", (unsigned long)path->slots[slot]);
        say("\n");
    }
    if (write(out, text, text_used) != (ssize_t)text_used || close(out))
        die("the record cannot be written");
}

/* ---- start -----------------------------------------------------------------------------------
 */

static struct worker *make_worker(uint64_t seed)
{
    struct worker *worker = map(sizeof *worker);
    worker->shadow.random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    return worker;
}

static void load_plugins(char **files)
{
    for (; *files; files++) {
        void *handle = dlopen(*files, RTLD_NOW | RTLD_LOCAL);
        void (*fill)(shadow_function *volatile *) = NULL;
        if (handle)
            *(void **)&fill = dlsym(handle, "plugin_functions");
        if (!fill)
            die(dlerror());
        fill(shadow_functions);
    }
}

/* truth RECORD SEED THREADS ROUNDS PLUGIN...: two phases of so many rounds. */
int main(int argc, char **argv)
{
    if (argc < 5)
        die("wants: RECORD SEED THREADS ROUNDS PLUGIN...");
    paths = map(PATHS * sizeof *paths);
    pool = map(POOL_WORDS * sizeof *pool);
    pthread_spin_init(&lock, PTHREAD_PROCESS_PRIVATE);
    uint64_t seed = strtoull(argv[2], NULL, 0);
    unsigned threads = (unsigned)atoi(argv[3]);
    struct worker *first = make_worker(seed), *others[16];
    shadow_self = &first->shadow;
    SHADOW_ENTER();
    shadow_passed(shadow);
    rounds_a_phase = (unsigned)atoi(argv[4]);
    load_plugins(argv + 5);
    if (threads < 1 || threads > 16)
        die("1 to 16 threads");
    pthread_barrier_init(&barrier, NULL, threads);
    for (unsigned t = 1; t < threads; t++) {
        others[t] = make_worker(seed + t);
        if (pthread_create(&others[t]->thread, NULL, work, others[t]))
            die("no thread");
    }
    go_rounds(true);
    SHADOW_BACK();
    for (unsigned t = 1; t < threads; t++)
        pthread_join(others[t]->thread, NULL);
    SHADOW_LEAVE();
    write_record(argv[1]);
    return 0;
}
