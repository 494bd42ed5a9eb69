/* Walks this program's own stack by unwind rules, on thousands of random paths through functions
 * of every shape (shapes.h), and compares each walk
 *
 *   - with the true path, which the program keeps itself,
 *   - with libunwind's unw_step on the live stack, and with glibc's backtrace(),
 *
 * frame by frame, to the very end; on the main thread and on another. Then what must cut a stack,
 * exactly where it must: assembly without unwind info, and a signal handler's trampoline.
 *
 *     live_stacks LIBRARY [PATHS]
 *
 * The first difference is printed and ends the program with 1. Prints what was seen. */
#define UNW_LOCAL_ONLY
#include <libunwind.h>

#include <dlfcn.h>
#include <execinfo.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "live_walk.h"
#include "shapes.h"

enum { MAX_SHAPES = 64, MAX_LENGTH = 24 };

__thread struct truth true_path;
extern char asm_without_cfi_returns[];

static shape *shapes[MAX_SHAPES];
static unsigned shape_count;
static __thread uint64_t random_state = 88172645463325252u;
static __thread void (*check)(void); /* what to do at the end of a path */
static unsigned long checks, frames, steps_by_base[UNWIND_CFA_RBP_DEREF + 1];

static void fail(const char *what, const struct walk *walk)
{
    printf("FAILED: %s\n", what);
    for (unsigned i = 0; i < walk->count; i++)
        printf("  walk  %3u %" PRIx64 "\n", i, walk->pc[i]);
    printf("  ended by kind %d\n", walk->kind);
    for (unsigned i = true_path.depth; i--;)
        printf("  truth %3u %" PRIx64 "\n", true_path.depth - 1 - i, true_path.return_address[i]);
    FILE *maps = fopen("/proc/self/maps", "r");
    for (int c; maps && (c = getc(maps)) != EOF;)
        putchar(c);
    fflush(stdout);
    _Exit(1);
}

unsigned draw(unsigned limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state >> 20) % limit);
}

void use_memory(void *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

__attribute__((noinline)) int go_deeper(int left)
{
    ENTER();
    int result = 1;
    if (left > 0 && true_path.depth < TRUTH_MAX - 8)
        result += shapes[draw(shape_count)](left);
    else
        check();
    LEAVE();
    return result;
}

__attribute__((noinline)) int go_deeper_from_assembly(int left, uint64_t return_address)
{
    true_path.return_address[true_path.depth++] = return_address;
    ENTER();
    int result = go_deeper(left) + 1;
    true_path.depth -= 2;
    return result;
}

/* ---- Whole stacks ---------------------------------------------------------------------------- */

/* Whether a return address lies in this program's own code, other than _start. */
static int is_ours(uint64_t pc)
{
    const struct unwind_module *module = walk_module_of(pc);
    return module && module->file.path &&
           (strstr(module->file.path, "live_stacks") ||
            strstr(module->file.path, "shapes_library"));
}

/* pc[i] is the return address of the function that pc[i - 1] lies in. If that function is ours, the
 * truth has it, as the next one; if it is a library's, only the functions it was called back from
 * are in the truth. */
static void compare_with_truth(const struct walk *walk)
{
    unsigned next = true_path.depth;
    for (unsigned i = 1; i < walk->count; i++) {
        if (next && walk->pc[i] == true_path.return_address[next - 1])
            next--;
        else if (is_ours(walk->pc[i - 1]))
            fail("a function of ours is in the walk that was not called there", walk);
    }
    if (next)
        fail("a function that was called is not in the walk", walk);
}

/* Frame 0 differs by the place of the call within the checking function. */
static void compare_with_list(const char *who, const struct walk *walk, const uint64_t *pc,
                              unsigned count)
{
    char text[96];
    snprintf(text, sizeof text, "%s differs", who);
    if (count != walk->count || memcmp(pc + 1, walk->pc + 1, (count - 1) * sizeof *pc)) {
        for (unsigned i = 0; i < count; i++)
            printf("  %s %3u %" PRIx64 "\n", who, i, pc[i]);
        fail(text, walk);
    }
}

static unsigned list_by_libunwind(uint64_t *pc)
{
    unw_context_t context;
    unw_cursor_t cursor;
    unsigned count = 0;
    unw_getcontext(&context);
    unw_init_local(&cursor, &context);
    do {
        unw_word_t ip;
        unw_get_reg(&cursor, UNW_REG_IP, &ip);
        if (!ip)
            break;
        pc[count++] = ip;
    } while (count < WALK_MAX && unw_step(&cursor) > 0);
    return count;
}

__attribute__((noinline)) static void check_whole(void)
{
    static __thread struct walk walk;
    static __thread uint64_t pc[WALK_MAX + 1];
    struct registers registers;
    ENTER();
    capture_registers(&registers);
    walk_stack(&registers, &walk);
    if (walk.kind != UNWIND_END)
        fail("the walk does not reach the end of the stack", &walk);
    compare_with_truth(&walk);
    /* One frame more: the function that makes the list, which may be inlined here. */
    unsigned count = list_by_libunwind(pc);
    compare_with_list("libunwind", &walk, pc + (count - walk.count), walk.count);
    count = (unsigned)backtrace((void **)pc, WALK_MAX);
    compare_with_list("backtrace", &walk, pc, count);
    __atomic_fetch_add(&checks, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&frames, walk.count, __ATOMIC_RELAXED);
    for (unsigned i = 0; i <= UNWIND_CFA_RBP_DEREF; i++)
        __atomic_fetch_add(&steps_by_base[i], walk.cfa[i], __ATOMIC_RELAXED);
    LEAVE();
}

__attribute__((noinline)) static void walk_random_paths(unsigned paths)
{
    ENTER();
    check = check_whole;
    for (unsigned i = 0; i < paths; i++) {
        unsigned depth = true_path.depth;
        go_deeper((int)draw(MAX_LENGTH));
        true_path.depth = depth;
    }
    LEAVE();
}

/* ---- Cut stacks ------------------------------------------------------------------------------ */

static int cuts_seen;

/* Innermost frames up to the assembly must be the truth, then nothing. */
__attribute__((noinline)) static void check_cut_at_assembly(void)
{
    static struct walk walk;
    struct registers registers;
    ENTER();
    capture_registers(&registers);
    walk_stack(&registers, &walk);
    uint64_t cut = (uint64_t)asm_without_cfi_returns;
    if (walk.kind != UNWIND_NONE || walk.pc[walk.count - 1] != cut)
        fail("the walk is not cut at the function without unwind info", &walk);
    for (unsigned i = 1; i < walk.count; i++)
        if (walk.pc[i] != true_path.return_address[true_path.depth - i])
            fail("a frame inside of the cut is wrong", &walk);
    cuts_seen++;
    LEAVE();
}

static struct walk walk_in_handler;
static uint64_t handler_returns_to;

__attribute__((noinline)) static void on_signal(int number)
{
    struct registers registers;
    (void)number;
    handler_returns_to = (uint64_t)__builtin_return_address(0);
    capture_registers(&registers);
    walk_stack(&registers, &walk_in_handler);
}

/* The handler's frame, then the trampoline, then nothing. */
static void check_signal(void)
{
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    if (walk_in_handler.count != 2 || walk_in_handler.kind != UNWIND_SIGNAL ||
        walk_in_handler.pc[1] != handler_returns_to)
        fail("the walk is not cut at the signal trampoline", &walk_in_handler);
}

static void check_cuts(void)
{
    check = check_cut_at_assembly;
    asm_without_cfi(1);
    if (cuts_seen != 1)
        fail("the check was not reached", &walk_in_handler);
    check_signal();
}

/* ---- All of it ------------------------------------------------------------------------------- */

static void add_shapes(shape *const *list)
{
    for (; *list; list++)
        shapes[shape_count++] = *list;
}

static struct truth *truth_of_thread(void)
{
    return &true_path;
}

static unsigned paths = 300;

static void *on_thread(void *unused)
{
    ENTER();
    random_state += 977;
    walk_random_paths(paths);
    LEAVE();
    return unused;
}

static void list_shapes(const char *library)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        printf("FAILED: %s\n", dlerror());
        exit(1);
    }
    shape *const *(*shapes_of)(int (*)(int), struct truth *(*)(void));
    *(void **)&shapes_of = dlsym(handle, "library_shapes");
    add_shapes(shapes_c);
    add_shapes(shapes_cxx);
    add_shapes(shapes_of(go_deeper, truth_of_thread));
    shapes[shape_count++] = asm_with_cfi;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    void *first[1];
    ENTER();
    if (argc < 2)
        return 2;
    if (argc > 2)
        paths = (unsigned)atoi(argv[2]);
    int error = unwind_rule_open();
    if (error) {
        printf("FAILED: unwind_rule_open: %s\n", strerror(-error));
        return 1;
    }
    list_shapes(argv[1]);
    backtrace(first, 1); /* loads libgcc_s */
    walk_list_modules();
    walk_random_paths(paths);
    unsigned long of_main = checks;
    /* Rules are for one thread at a time: this one waits meanwhile. */
    if (pthread_create(&thread, NULL, on_thread, NULL) || pthread_join(thread, NULL))
        return 1;
    check_cuts();
    printf("ok: %lu stacks on the main thread, %lu on another, %.1f frames each; cfa: sp %lu, rbp "
           "%lu, rbp deref %lu\n",
           of_main, checks - of_main, (double)frames / (double)checks, steps_by_base[0],
           steps_by_base[1], steps_by_base[2]);
    unwind_rule_close();
    LEAVE();
    return 0;
}
