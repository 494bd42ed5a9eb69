/*
 * heaptally.h: tell heaptally which controller owns an allocation, and count its work.
 *
 *     #include <heaptally.h>
 *
 *     struct pid *pid_create(void)
 *     {
 *         struct pid *pid;
 *         HEAPTALLY_CONSTRUCT("pid") {             // one more "pid"; what is allocated in the
 *             pid = calloc(1, sizeof(*pid));       // braces belongs to it until it is freed
 *             pid->history = malloc(4096);
 *         }
 *         return pid;
 *     }
 *
 *     void pid_step(struct pid *pid)
 *     {
 *         heaptally_cycle("pid");                  // one more pass of the control loop
 *         HEAPTALLY_SCOPE("pid") {                 // allocations here are the pid's as well
 *             record(pid->history, measure());
 *         }
 *     }
 *
 * The whole interface:
 *
 *     HEAPTALLY_SCOPE(name) { ... }                the block's allocations belong to `name`
 *     HEAPTALLY_CONSTRUCT(name) { ... }            the same, and counts one instantiation
 *     heaptally_begin(name), heaptally_end(token)  a scope where a block in braces does not fit
 *     HEAPTALLY_NO_ALLOC(name) { ... }             every allocation in the block is reported
 *     heaptally_no_alloc_begin(name), heaptally_no_alloc_end(token)    the same without braces
 *     heaptally_track_instantiation(name, pointer) counts one instantiation that exists already
 *     heaptally_cycle(name)                        counts one cycle
 *     heaptally_active()                           1 where heaptally is loaded and counts, else 0
 *
 * and what the process knows of itself, for programs that look after their own memory:
 *
 *     heaptally_check_memory(&alert)               is growth above the threshold?
 *     heaptally_analyze_trend(tag, &trend)         how memory has developed, and the verdict on it
 *     heaptally_reset_baseline()                   growth counts from now on
 *     heaptally_memory_report(buffer, size)        ten lines for people, then one per controller
 *     heaptally_tracker_report(buffer, size)       instantiations and what they cost, as JSON
 *     heaptally_check_leak_threshold(mb, &leaks)   who is above so many MB per 1000 instantiations
 *     heaptally_set_alert_callback(function, user) have alerts passed on to the program
 *     heaptally_snapshot()                         write all figures to the file now
 *     heaptally_start(), heaptally_stop()          count, or do not
 *
 * No library. This file is all there is: nothing to link, nothing to initialise. The program finds
 * heaptally when `heaptally run` (or LD_PRELOAD) has loaded it; otherwise every entry does nothing,
 * at the cost of one or two loads and branches. Ship the program as it is.
 *
 * Words. A *tag* is the name of the owner of allocations, a controller. A *scope* is a stretch of a
 * thread's execution in which allocations get one tag. An *instantiation* is one construction of a
 * controller, a *cycle* one pass of its loop; both only make rates ("1.2 MB per 1000
 * instantiations") and never change what is counted.
 *
 * Names are UTF-8, at most 127 bytes, and are copied: the string need not outlive the call. The
 * same name is the same tag everywhere in the process. NULL and "" name nothing: a scope of that
 * name has no tag (inside it, ownership is found as if no scope were open), and nothing is counted.
 *
 * Cost. With a string literal the tag is looked up once per place in the source and remembered
 * there; after that a scope costs two indirect calls. A name computed at run time is looked up each
 * time, which is always right and slower. A name's first use in the process registers it: let
 * that happen before the real-time part of the program begins.
 *
 * Threads. Everything here may be called on any thread at any time. A scope belongs to the thread
 * that opened it: other threads, those started inside it too, are not in it. So does a region
 * without allocations (HEAPTALLY_NO_ALLOC), in which a signal handler is that strikes there. A
 * coroutine or fiber must not be switched while a scope is open (no co_await, no swapcontext),
 * since the tag would stay with the thread.
 *
 * Errors. Scopes and counts report none. What asks or tells answers 0 or more where it was done,
 * else a negative number of errno.h, HEAPTALLY_ABSENT without heaptally. errno is kept, and nothing
 * here makes a program fail.
 *
 * Where it works. C99 and C++11 or later, gcc and clang, ELF: executables of every kind (PIE or
 * not, LTO or not) and shared objects. A static program cannot be preloaded, so there it does
 * nothing; nor does it with other compilers. Other languages may look up the heaptally_v1_
 * functions below with dlsym(RTLD_DEFAULT, ...). On processors other than x86-64 and AArch64,
 * compile with -fPIE or -fPIC: without, the linker may settle for good that heaptally is absent.
 */
#ifndef HEAPTALLY_H
#define HEAPTALLY_H

#include <stddef.h>
#include <stdint.h>

/* What heaptally_begin returns: the scope that was in force. Only heaptally_end makes use of it. */
typedef uint32_t heaptally_token;

/*
 * HEAPTALLY_SCOPE(name) statement-or-block
 *
 * Opens a scope for `name` around the statement that follows, usually a block. The innermost open
 * scope owns an allocation. It closes on every way out: the end of the block, return, goto, and an
 * exception (in C++; in C only where compiled with -fexceptions). It is one statement, so it may be
 * the body of an `if` with or without `else`, and scopes may be nested, on one line too.
 *
 * `break` and `continue` inside the block leave the scope only, never a loop or switch around it:
 * to leave that too, use goto or return, or heaptally_begin and heaptally_end. A goto or case label
 * must not jump into the block. longjmp out of the block does not close it; see heaptally_end.
 *
 * Two warnings are the compiler's to keep: gcc -O0 -Wall asks for a return after a block that
 * always returns (any other build knows), and clang dislikes the remembered tag in a C function
 * that is inline without being static (it is harmless there).
 */
#define HEAPTALLY_SCOPE(name) HEAPTALLY_BLOCK_(heaptally_end, heaptally_begin(name))

/*
 * HEAPTALLY_CONSTRUCT(name) statement-or-block
 *
 * The same, and counts one instantiation of `name`: on entry, so that a constructor that fails and
 * leaks what it had allocated is in the count that its leak is divided by.
 */
#define HEAPTALLY_CONSTRUCT(name)                                                                  \
    HEAPTALLY_BLOCK_(heaptally_end, heaptally_begin_construct_(HEAPTALLY_TAG_(name)))

/*
 * heaptally_token heaptally_begin(const char *name)
 *
 * Opens a scope for `name` on the calling thread, to be closed by heaptally_end with the token it
 * returns, on the same thread. Scopes nest: close the innermost first. A macro; `name` is evaluated
 * once.
 */
#define heaptally_begin(name) heaptally_enter_(HEAPTALLY_TAG_(name))

/*
 * HEAPTALLY_NO_ALLOC(name) statement-or-block
 *
 * For code that must not allocate, the loop of a real-time thread: every allocation in the block,
 * however deep in the calls, is a *violation* of the region `name`. It is made as ever; heaptally
 * counts it and keeps its stack, raises an alert for the region at its first violation, and another
 * whenever there are ten times as many as at the last alert, also after a clear, which comes with
 * an hour without one: a region that is violated now and then is told of a few times and not for
 * ever. Reports list all of them, and `heaptally check` can set a limit. malloc and its kin count,
 * realloc whatever it does, and C++ operators; free does not.
 *
 * Regions and scopes nest in either order and know nothing of each other: a block that is allocated
 * in a region belongs to whom it would belong without. Of regions in each other the innermost is
 * violated. A region of no name, NULL or "", is none: in a region it exempts a part of the code.
 *
 * A region ends as a scope does, see HEAPTALLY_SCOPE for what may be written in it. Its cost is
 * that of a scope; a scope that is opened inside a region looks the pair up, some 20 ns.
 */
#define HEAPTALLY_NO_ALLOC(name)                                                                   \
    HEAPTALLY_BLOCK_(heaptally_no_alloc_end, heaptally_no_alloc_begin(name))

/*
 * heaptally_token heaptally_no_alloc_begin(const char *name)
 *
 * Opens a region without allocations on the calling thread, to be closed by heaptally_no_alloc_end
 * with the token it returns, on the same thread, innermost scope or region first. A macro; `name`
 * is evaluated once.
 */
#define heaptally_no_alloc_begin(name) heaptally_no_alloc_enter_(HEAPTALLY_TAG_(name))

/*
 * void heaptally_track_instantiation(const char *name, const void *pointer)
 *
 * Counts one instantiation of `name`, and moves the block at `pointer` to that tag if `pointer` is
 * what malloc or its kin returned. Any other object will do, and is only counted: one on the stack,
 * in static or mapped memory, inside a block; so is NULL. Not a pointer to what is gone. Blocks
 * that the object owns besides are not moved. `pointer` is not kept. A macro; the arguments are
 * evaluated once.
 */
#define heaptally_track_instantiation(name, pointer)                                               \
    heaptally_adopt_(HEAPTALLY_TAG_(name), (pointer))

/*
 * void heaptally_cycle(const char *name)
 *
 * Counts one cycle of `name`: call it once per pass of the control loop. A macro; `name` is
 * evaluated once.
 */
#define heaptally_cycle(name) heaptally_cycle_(HEAPTALLY_TAG_(name))

/* -ENOSYS: heaptally is not loaded into this process. */
#define HEAPTALLY_ABSENT (-38)

/*
 * What the calls below fill. Each begins with its size in bytes, which the calls set themselves: a
 * heaptally that is older or newer than this header fills what both know. MB is 1024 * 1024 bytes;
 * a number that is not known is NaN; texts are UTF-8 and end with a NUL.
 */

/* One edge of a condition (it was entered, it escalated, it was cleared), or how it stands. */
struct heaptally_alert {
    size_t size;
    uint64_t number;     /* of the event in this process: 1, 2, 3, ...; 0 before the first */
    double timestamp;    /* seconds since 1970 */
    double rss_mb;       /* resident memory */
    double growth_mb;    /* since the baseline: of the tag, or of resident memory */
    double threshold_mb; /* what was passed */
    double value_mb;     /* what passed it; of a leak its MB per hour */
    char severity[16];   /* "info", "warning", "critical" */
    char kind[16];       /* "rss_growth", "heap_growth", "tag_growth", "per_1000", "leak",
                            "no_alloc", "trim_hint"; others may be added */
    char state[16];      /* "enter", "escalate", "clear" */
    char tag[128];       /* "" where it is about the whole process */
    char message[512];   /* one line in plain words */
};

/* The last samples of resident memory, or of a tag's live bytes, and the verdict on all of it. */
struct heaptally_trend {
    size_t size;
    int insufficient_data; /* 1 with fewer than 10 samples: then only `samples` and the verdict */
    int monotonic_growth;  /* 1: rose at least once and never fell, in these samples */
    uint64_t samples;      /* at most --trend-window, one a tick */
    double current_mb;
    double baseline_mb;
    double growth_mb;
    double growth_rate_mb_per_hour; /* least squares over the samples; says little by itself */
    double time_span_hours;
    char shape[16];   /* "flat", "growing", "sawtooth", "step" */
    char verdict[16]; /* of the detector: "leak", "bounded", "inconclusive", "invalid" */
    double leak_rate_mb_per_hour; /* growth after the warm-up, with its 95 % interval */
    double ci_low, ci_high;
    double seconds_to_limit; /* of a leak: until the nearest limit is met, at this rate */
    char reason[192];        /* of the verdict, in plain words */
};

/* A controller that keeps more for each 1000 instantiations than it may. */
struct heaptally_leak {
    char tag[128];
    uint64_t instantiations;
    uint64_t live_bytes;
    double memory_per_1000_mb;
    double threshold_mb;
    double exceeded_by_mb;
};

struct heaptally_leaks {
    size_t size;
    int has_leaks;
    uint32_t leak_count;           /* may be more than `leaks` holds: the worst come first */
    uint64_t total_instantiations; /* of all controllers */
    double total_growth_mb;        /* resident memory since the baseline */
    struct heaptally_leak leaks[16];
};

/* What the program gives heaptally_set_alert_callback. `alert` lives for the call only. */
typedef void heaptally_alert_function(const struct heaptally_alert *alert, void *user);

/* How C and C++ spell the same thing. */
#ifdef __cplusplus
#define HEAPTALLY_INLINE_   inline
#define HEAPTALLY_NOEXCEPT_ noexcept
#define HEAPTALLY_NULL_     nullptr
#else
#define HEAPTALLY_INLINE_ static inline
#define HEAPTALLY_NOEXCEPT_
#define HEAPTALLY_NULL_ ((void *)0)
#endif

#if defined(__GNUC__) && defined(__ELF__)

/*
 * The way to the preload.
 *
 * Functions that heaptally's preload defines, and nobody else. Never call them by name: use what is
 * above and below. Ids of tags never change and are never reused within a process; 0 is no tag.
 */
#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)
uint32_t heaptally_v1_tag(const char *name); /* id, made on first use; 0 for NULL, "" */
uint32_t heaptally_v1_enter(uint32_t tag);   /* opens a scope, returns the previous tag */
void heaptally_v1_leave(uint32_t previous);  /* closes it: restores what enter returned */
void heaptally_v1_constructed(uint32_t tag); /* one instantiation more */
void heaptally_v1_cycle(uint32_t tag);       /* one cycle more */
void heaptally_v1_adopt(uint32_t tag, const void *block); /* one more; the block becomes tag's */
uint32_t heaptally_v1_no_alloc_enter(uint32_t region);    /* `region`: the id of its name */
void heaptally_v1_no_alloc_leave(uint32_t previous);      /* what no_alloc_enter returned */
int heaptally_v1_active(void);
int heaptally_v1_check_memory(struct heaptally_alert *alert);
int heaptally_v1_analyze_trend(const char *tag, struct heaptally_trend *trend);
int heaptally_v1_reset_baseline(void);
int heaptally_v1_memory_report(char *buffer, size_t size);
int heaptally_v1_tracker_report(char *buffer, size_t size);
int heaptally_v1_check_leak_threshold(double mb_per_1000, struct heaptally_leaks *leaks);
int heaptally_v1_set_alert_callback(int (*invoke)(heaptally_alert_function *,
                                                  const struct heaptally_alert *, void *),
                                    heaptally_alert_function *function, void *user);
int heaptally_v1_snapshot(void);
int heaptally_v1_start(void);
int heaptally_v1_stop(void);
#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

/*
 * HEAPTALLY_FIND_(function) defines heaptally_find_FUNCTION_(): the address of
 * heaptally_v1_FUNCTION, or NULL without the preload.
 *
 * On x86-64 a plain weak reference will not do. In code that is not position-independent the
 * compiler puts the address into an instruction, and the linker, which sees no definition, makes it
 * 0 for good: such a program would never find the preload, and nobody would notice. Only an address
 * that is read from the global offset table stays open until the program starts, and only as long
 * as no other reference in the program says otherwise; so the table is read by hand, and the
 * functions are never referred to in C. AArch64 compilers read it there for every weak symbol,
 * others at least under -fPIC and -fPIE.
 */
#if defined(__x86_64__) && defined(__LP64__) && !defined(__code_model_large__)
#define HEAPTALLY_FIND_(function)                                                                  \
    HEAPTALLY_INLINE_ __typeof__(&heaptally_v1_##function) heaptally_find_##function##_(void)      \
        HEAPTALLY_NOEXCEPT_                                                                        \
    {                                                                                              \
        __typeof__(&heaptally_v1_##function) address;                                              \
        __asm__(".weak heaptally_v1_" #function "\n\t"                                             \
                "mov{q\theaptally_v1_" #function "@GOTPCREL(%%rip), %0"                            \
                "|\t%0, QWORD PTR heaptally_v1_" #function "@GOTPCREL[rip]}"                       \
                : "=r"(address));                                                                  \
        return address;                                                                            \
    }
#else
#define HEAPTALLY_FIND_(function)                                                                  \
    static __typeof__(heaptally_v1_##function) heaptally_weak_##function##_                        \
        __attribute__((__weakref__("heaptally_v1_" #function), __unused__));                       \
    HEAPTALLY_INLINE_ __typeof__(&heaptally_v1_##function) heaptally_find_##function##_(void)      \
        HEAPTALLY_NOEXCEPT_                                                                        \
    {                                                                                              \
        return heaptally_weak_##function##_;                                                       \
    }
#endif

/* An inline function is private to each shared object: two may be built with different headers. */
#pragma GCC visibility push(hidden)
HEAPTALLY_FIND_(tag)
HEAPTALLY_FIND_(enter)
HEAPTALLY_FIND_(leave)
HEAPTALLY_FIND_(constructed)
HEAPTALLY_FIND_(cycle)
HEAPTALLY_FIND_(adopt)
HEAPTALLY_FIND_(no_alloc_enter)
HEAPTALLY_FIND_(no_alloc_leave)
HEAPTALLY_FIND_(active)
HEAPTALLY_FIND_(check_memory)
HEAPTALLY_FIND_(analyze_trend)
HEAPTALLY_FIND_(reset_baseline)
HEAPTALLY_FIND_(memory_report)
HEAPTALLY_FIND_(tracker_report)
HEAPTALLY_FIND_(check_leak_threshold)
HEAPTALLY_FIND_(set_alert_callback)
HEAPTALLY_FIND_(snapshot)
HEAPTALLY_FIND_(start)
HEAPTALLY_FIND_(stop)

/* Calls heaptally_v1_FUNCTION with the arguments in parentheses, else gives `absent`. */
#define HEAPTALLY_ASK_(function, arguments, absent)                                                \
    (heaptally_find_##function##_() ? heaptally_find_##function##_() arguments : (absent))

/*
 * The id of `name`, or 0. `cache` is NULL, or a word that starts as 0 and serves this one name:
 * threads that race on it all store the same id.
 */
HEAPTALLY_INLINE_ uint32_t heaptally_tag_(const char *name, uint32_t *cache) HEAPTALLY_NOEXCEPT_
{
    __typeof__(&heaptally_v1_tag) look_up = heaptally_find_tag_();
    uint32_t tag = 0;
    if (!look_up)
        return 0;
    if (cache)
        tag = __atomic_load_n(cache, __ATOMIC_RELAXED);
    if (tag == 0) {
        tag = look_up(name);
        if (cache)
            __atomic_store_n(cache, tag, __ATOMIC_RELAXED);
    }
    return tag;
}

HEAPTALLY_INLINE_ heaptally_token heaptally_enter_(uint32_t tag) HEAPTALLY_NOEXCEPT_
{
    __typeof__(&heaptally_v1_enter) enter = heaptally_find_enter_();
    return enter ? enter(tag) : 0;
}

HEAPTALLY_INLINE_ heaptally_token heaptally_no_alloc_enter_(uint32_t region) HEAPTALLY_NOEXCEPT_
{
    __typeof__(&heaptally_v1_no_alloc_enter) enter = heaptally_find_no_alloc_enter_();
    return enter ? enter(region) : 0;
}

HEAPTALLY_INLINE_ heaptally_token heaptally_begin_construct_(uint32_t tag) HEAPTALLY_NOEXCEPT_
{
    __typeof__(&heaptally_v1_constructed) constructed = heaptally_find_constructed_();
    if (constructed && tag != 0)
        constructed(tag);
    return heaptally_enter_(tag);
}

HEAPTALLY_INLINE_ void heaptally_adopt_(uint32_t tag, const void *block) HEAPTALLY_NOEXCEPT_
{
    __typeof__(&heaptally_v1_adopt) adopt = heaptally_find_adopt_();
    if (adopt && tag != 0)
        adopt(tag, block);
}

HEAPTALLY_INLINE_ void heaptally_cycle_(uint32_t tag) HEAPTALLY_NOEXCEPT_
{
    __typeof__(&heaptally_v1_cycle) cycle = heaptally_find_cycle_();
    if (cycle && tag != 0)
        cycle(tag);
}

/*
 * Closes the scope whose heaptally_begin returned `token`, with every scope that was opened inside
 * it and is still open: what was in force before that begin is in force again. Hence after a
 * longjmp out of scopes, the first enclosing scope to close, or a heaptally_end with a token from
 * before the setjmp, puts the thread right; until then allocations belong to the scope that was
 * jumped out of. A token is used once, and not after one from further out.
 */
HEAPTALLY_INLINE_ void heaptally_end(heaptally_token token) HEAPTALLY_NOEXCEPT_
{
    __typeof__(&heaptally_v1_leave) leave = heaptally_find_leave_();
    if (leave)
        leave(token);
}

/* Closes the region whose heaptally_no_alloc_begin returned `token`, just as heaptally_end closes a
 * scope. */
HEAPTALLY_INLINE_ void heaptally_no_alloc_end(heaptally_token token) HEAPTALLY_NOEXCEPT_
{
    __typeof__(&heaptally_v1_no_alloc_leave) leave = heaptally_find_no_alloc_leave_();
    if (leave)
        leave(token);
}

/*
 * The name's tag. If `name` is a string literal, it is remembered in a word of this place in the
 * source.
 *
 * __builtin_constant_p on a pointer is true for literals alone, and is settled when the text is
 * read: an inline function that passes its parameter on as the name never shares one word between
 * two names, however it is inlined.
 */
#define HEAPTALLY_TAG_(name)                                                                       \
    heaptally_tag_((name), __extension__({                                                         \
                       static uint32_t heaptally_cache_;                                           \
                       __builtin_constant_p(name) ? &heaptally_cache_ : (HEAPTALLY_NULL_);         \
                   }))

/*
 * One statement that runs the statement after it once, inside a guard, which gives `token` to the
 * function `close`.
 *
 * The switch jumps over `while (0)` to the for, which declares the guard and would run for ever;
 * its step jumps to `while (0)`, out of the guard and done. So a compiler sees that the body runs
 * exactly once (no false "may be uninitialised" after it, as a loop condition would give), and
 * there is no `if` that an `else` after the body could fall to.
 */
#define HEAPTALLY_BLOCK_(close, token)       HEAPTALLY_BLOCK_AT_(close, token, __COUNTER__)
#define HEAPTALLY_BLOCK_AT_(close, token, n) HEAPTALLY_BLOCK_NAMED_(close, token, n)
/* clang-format off */
#define HEAPTALLY_BLOCK_NAMED_(close, token, n)                                                    \
    switch (0)                                                                                     \
    heaptally_done_##n##_:                                                                         \
        while (0)                                                                                  \
        default:                                                                                   \
            for (HEAPTALLY_GUARD_(close, heaptally_guard_##n##_, token);;                          \
                 __extension__({ goto heaptally_done_##n##_; }))
/* clang-format on */

#ifdef __cplusplus

extern "C++" { /* also where the header is included in extern "C" */
template <void (*close)(heaptally_token)> class heaptally_guard_
{
  public:
    explicit heaptally_guard_(heaptally_token outer) noexcept : outer_(outer)
    {
    }
    ~heaptally_guard_()
    {
        close(outer_);
    }
    heaptally_guard_(const heaptally_guard_ &) = delete;
    heaptally_guard_ &operator=(const heaptally_guard_ &) = delete;

  private:
    heaptally_token outer_;
};
}

#define HEAPTALLY_GUARD_(close, guard, token) ::heaptally_guard_<::close> guard(token)

#else

static inline void heaptally_end_at_(heaptally_token *outer)
{
    heaptally_end(*outer);
}

static inline void heaptally_no_alloc_end_at_(heaptally_token *outer)
{
    heaptally_no_alloc_end(*outer);
}

#define HEAPTALLY_GUARD_(close, guard, token)                                                      \
    heaptally_token guard __attribute__((__cleanup__(close##_at_), __unused__)) = (token)

#endif
#pragma GCC visibility pop

#else /* another compiler or object format: arguments are evaluated, and nothing else happens */

HEAPTALLY_INLINE_ uint32_t heaptally_nothing_(const void *unused) HEAPTALLY_NOEXCEPT_
{
    (void)unused;
    return 0;
}

HEAPTALLY_INLINE_ void heaptally_end(heaptally_token token) HEAPTALLY_NOEXCEPT_
{
    (void)token;
}

HEAPTALLY_INLINE_ void heaptally_no_alloc_end(heaptally_token token) HEAPTALLY_NOEXCEPT_
{
    (void)token;
}

#define HEAPTALLY_ASK_(function, arguments, absent) (absent)

#define HEAPTALLY_TAG_(name)            heaptally_nothing_(name)
#define heaptally_enter_(tag)           (tag)
#define heaptally_begin_construct_(tag) (tag)
#define heaptally_no_alloc_enter_(tag)  (tag)
#define heaptally_adopt_(tag, pointer)  ((void)(tag), (void)heaptally_nothing_(pointer))
#define heaptally_cycle_(tag)           ((void)(tag))
/* clang-format off */
#define HEAPTALLY_BLOCK_(close, token)                                                             \
    switch ((void)(token), 0)                                                                      \
        while (0)                                                                                  \
        default:
/* clang-format on */

#endif

/* ---- asking and telling ------------------------------------------------------------------------
 *
 * heaptally_active and heaptally_check_memory never wait and make no system call. The others may
 * wait for the monitor, 0.1 s at most where nothing else is said, and then answer -EAGAIN; so they
 * do where the process is not watched: a child younger than a tick, or one that has been left out.
 * They are for the parts of a program that may wait, and not for signal handlers.
 */
#if defined(__GNUC__) && defined(__ELF__)
#pragma GCC visibility push(hidden)
#endif

/*
 * 1 if heaptally is loaded into this process and counts; 0 where it is not loaded, has been
 * stopped, or has gone dormant, which it says itself.
 */
HEAPTALLY_INLINE_ int heaptally_active(void) HEAPTALLY_NOEXCEPT_
{
    return HEAPTALLY_ASK_(active, (), 0);
}

/*
 * Has resident memory grown by more than the threshold (--threshold, 500 MB) since the baseline?
 * 1 and `*alert` (may be NULL) tells by how much: "critical" above 1.5 times the threshold, else
 * "warning". 0, and only its figures of memory are set, where not. As of the last tick; cheap
 * enough for every pass of a loop. While the answer stays 1 no further event comes: `number` tells
 * whether this is news.
 */
HEAPTALLY_INLINE_ int heaptally_check_memory(struct heaptally_alert *alert) HEAPTALLY_NOEXCEPT_
{
    if (alert)
        alert->size = sizeof(*alert);
    return HEAPTALLY_ASK_(check_memory, (alert), HEAPTALLY_ABSENT);
}

/*
 * Fills `*trend` for the controller `tag`, or for resident memory where it is NULL. 0; -ENOENT if
 * nothing is known of such a tag.
 */
HEAPTALLY_INLINE_ int heaptally_analyze_trend(const char *tag,
                                              struct heaptally_trend *trend) HEAPTALLY_NOEXCEPT_
{
    (void)tag;
    trend->size = sizeof(*trend);
    return HEAPTALLY_ASK_(analyze_trend, (tag, trend), HEAPTALLY_ABSENT);
}

/* From now on growth counts from here. What was sampled stays, so that trends go on. 0. */
HEAPTALLY_INLINE_ int heaptally_reset_baseline(void) HEAPTALLY_NOEXCEPT_
{
    return HEAPTALLY_ASK_(reset_baseline, (), HEAPTALLY_ABSENT);
}

/*
 * Writes the memory report: ten lines on the process, then one for each controller; with fewer than
 * 10 samples "Insufficient data for memory report". Returns its length without the NUL, as snprintf
 * does: where that is `size` or more, the text was cut. `buffer` may be NULL where `size` is 0.
 */
HEAPTALLY_INLINE_ int heaptally_memory_report(char *buffer, size_t size) HEAPTALLY_NOEXCEPT_
{
    if (size)
        buffer[0] = 0;
    return HEAPTALLY_ASK_(memory_report, (buffer, size), HEAPTALLY_ABSENT);
}

/*
 * Writes as JSON what controllers cost: {"initial_memory_mb", "current_memory_mb",
 * "total_growth_mb", "total_instantiations", "by_controller": {NAME: {"count", "live_bytes",
 * "memory_per_1000_instantiations_mb"}}}, with all controllers whose instantiations are counted.
 * Returns as heaptally_memory_report.
 */
HEAPTALLY_INLINE_ int heaptally_tracker_report(char *buffer, size_t size) HEAPTALLY_NOEXCEPT_
{
    if (size)
        buffer[0] = 0;
    return HEAPTALLY_ASK_(tracker_report, (buffer, size), HEAPTALLY_ABSENT);
}

/*
 * Fills `*leaks` with the controllers that keep more than `mb_per_1000` MB for each 1000
 * instantiations; 0 or less takes the limit of --leak-threshold (1.0). Returns how many there are.
 */
HEAPTALLY_INLINE_ int
heaptally_check_leak_threshold(double mb_per_1000,
                               struct heaptally_leaks *leaks) HEAPTALLY_NOEXCEPT_
{
    (void)mb_per_1000;
    leaks->size = sizeof(*leaks);
    return HEAPTALLY_ASK_(check_leak_threshold, (mb_per_1000, leaks), HEAPTALLY_ABSENT);
}

/* Runs the program's function; in C++ no exception leaves it. 1 where one was caught, else 0. */
HEAPTALLY_INLINE_ int heaptally_invoke_(heaptally_alert_function *function,
                                        const struct heaptally_alert *alert, void *user)
{
#if defined(__cplusplus) && (defined(__cpp_exceptions) || defined(__EXCEPTIONS))
    try {
        function(alert, user);
    } catch (...) {
        return 1;
    }
#else
    function(alert, user);
#endif
    return 0;
}

/*
 * Has `function` called with `user` for each alert from now on, in place of the one before; NULL
 * ends that. It runs on a thread of its own, which starts with the first call of this: there it may
 * block, allocate, throw (in C++), and call anything of heaptally, without harm to the program's
 * threads or to the watch; it must not end the thread. That thread has all signals blocked, so that
 * the program's handlers run on the program's threads; a process that the function starts inherits
 * the mask, unless it is reset. While the function does not return, 16 alerts are kept for it and
 * further ones dropped, which is said on stderr. The log (--alert-log) goes on.
 *
 * After the return the function before is not called any more, so that its library may be unloaded;
 * -EBUSY: it has been running for a second. A child of fork has no callback until it sets one.
 *
 * At the end of the process this is as an exit handler that is registered here: what exists by now,
 * static objects and what earlier handlers destroy, is there for every call. When exit or
 * quick_exit comes to it, no call begins any more, and one that runs has a second to return; later
 * alerts go to the log and the files only. For what is made later, set NULL before it is destroyed.
 *
 * 0; -EAGAIN or -ENOMEM where no thread can be started, or the process is ending.
 */
HEAPTALLY_INLINE_ int heaptally_set_alert_callback(heaptally_alert_function *function,
                                                   void *user) HEAPTALLY_NOEXCEPT_
{
    (void)function;
    (void)user;
    return HEAPTALLY_ASK_(set_alert_callback, (heaptally_invoke_, function, user),
                          HEAPTALLY_ABSENT);
}

/*
 * Has all figures of this moment written to the snapshot file, and waits for that, 2 s at most. 0;
 * -EAGAIN: it is not done yet; -EIO: there is no file, or it cannot be written.
 */
HEAPTALLY_INLINE_ int heaptally_snapshot(void) HEAPTALLY_NOEXCEPT_
{
    return HEAPTALLY_ASK_(snapshot, (), HEAPTALLY_ABSENT);
}

/*
 * Begin to count, and stop; they wait until that is done, 2 s at most. What is allocated while
 * nothing is counted stays uncounted, and so do instantiations and cycles; blocks that were counted
 * are counted out when they are freed. Trends and baselines begin anew with a start. 0, also where
 * it is so already; -EPERM where the process is left out of counting for good.
 */
HEAPTALLY_INLINE_ int heaptally_start(void) HEAPTALLY_NOEXCEPT_
{
    return HEAPTALLY_ASK_(start, (), HEAPTALLY_ABSENT);
}

HEAPTALLY_INLINE_ int heaptally_stop(void) HEAPTALLY_NOEXCEPT_
{
    return HEAPTALLY_ASK_(stop, (), HEAPTALLY_ABSENT);
}

#if defined(__GNUC__) && defined(__ELF__)
#pragma GCC visibility pop
#endif
#endif
