/*
 * Every way into and out of a scope, and every other entry. Compiled as C and as C++; the expected
 * transcript of each case is in check_header.py.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "heaptally.h"
#include "cases.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__GNUC__)
#define ALWAYS_INLINE __attribute__((always_inline)) inline
#else
#define ALWAYS_INLINE inline
#endif

static void fall_through(void)
{
    HEAPTALLY_SCOPE("fall")
    {
        say("inside");
    }
    say("after");
}

/* A value set inside is set afterwards, with no warning about it. */
static int value_from_inside(int seed)
{
    int value;
    HEAPTALLY_SCOPE("value")
    {
        value = seed + 1;
    }
    return value;
}

static void value_kept(void)
{
    say(value_from_inside(41) == 42 ? "42" : "another value");
}

static int return_if(int early)
{
    HEAPTALLY_SCOPE("return")
    {
        if (early)
            return 1;
        say("not early");
    }
    return 0;
}

static void early_return(void)
{
    say(return_if(1) == 1 ? "1" : "not 1");
    say(return_if(0) == 0 ? "0" : "not 0");
}

/* The one known warning, gcc's at -O0 alone, which the header's text owns up to. */
#if defined(__GNUC__) && !defined(__clang__) && !defined(__OPTIMIZE__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wreturn-type"
#endif
static int return_always(int value)
{
    HEAPTALLY_SCOPE("always")
    {
        return value;
    }
}
#if defined(__GNUC__) && !defined(__clang__) && !defined(__OPTIMIZE__)
#pragma GCC diagnostic pop
#endif

static void only_return(void)
{
    say(return_always(7) == 7 ? "7" : "not 7");
}

static void break_out(void)
{
    for (int i = 0; i < 2; i++) {
        HEAPTALLY_SCOPE("break")
        {
            if (i == 0)
                break;
            say("not broken");
        }
        say("still in the loop");
    }
}

static void continue_out(void)
{
    for (int i = 0; i < 2; i++) {
        HEAPTALLY_SCOPE("continue")
        {
            if (i == 0)
                continue;
            say("not continued");
        }
        say("still in the loop");
    }
}

static void goto_out(void)
{
    HEAPTALLY_SCOPE("goto-outer")
    {
        HEAPTALLY_SCOPE("goto-inner")
        {
            goto out;
        }
        say("not reached");
    }
    say("not reached");
out:
    say("out");
}

static void goto_back(void)
{
    int again = 1;
restart:
    HEAPTALLY_SCOPE("goto-back")
    {
        if (again) {
            again = 0;
            goto restart;
        }
        say("second time");
    }
}

static void nested(void)
{
    HEAPTALLY_SCOPE("nest-a")
    {
        HEAPTALLY_SCOPE("nest-b")
        {
            say("b");
        }
        say("a");
        HEAPTALLY_SCOPE("nest-b")
        {
            say("b again");
        }
    }
}

/* clang-format off */
static void one_line(void)
{
    HEAPTALLY_SCOPE("l-a") { HEAPTALLY_SCOPE("l-b") say("b"); } HEAPTALLY_SCOPE("l-c") say("c");
    HEAPTALLY_SCOPE("l-d") HEAPTALLY_CONSTRUCT("l-e") say("e");
}

static void choose(int yes)
{
    if (yes)
        HEAPTALLY_SCOPE("if-yes") say("yes");
    else
        HEAPTALLY_SCOPE("if-no") say("no");
    if (yes)
        HEAPTALLY_SCOPE("if-only") { say("only"); }
}

static void if_without_braces(void)
{
    choose(1);
    choose(0);
    for (int i = 0; i < 2; i++)
        HEAPTALLY_SCOPE("for-body") say("body");
}
/* clang-format on */

static void in_switch(void)
{
    for (int i = 1; i < 3; i++) {
        switch (i) {
        case 1:
            HEAPTALLY_SCOPE("case-1")
            {
                break;
            }
            say("one");
            break;
        default:
            HEAPTALLY_SCOPE("case-default")
            {
                say("default");
            }
        }
    }
}

/* One expansion, one name: looked up once. */
static void literal_cached(void)
{
    for (int i = 0; i < 3; i++) {
        HEAPTALLY_SCOPE("cached")
        {
        }
    }
    for (int i = 0; i < 2; i++)
        heaptally_cycle("cached");
}

static void computed_name(void)
{
    char name[16];
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "axis-%d", i);
        HEAPTALLY_SCOPE(name)
        {
            say("inside");
        }
    }
}

/* One expansion, two names, both constants that an optimiser can see. */
static ALWAYS_INLINE void in_scope_of(const char *name)
{
    HEAPTALLY_SCOPE(name)
    {
        say("inside");
    }
    heaptally_cycle(name);
}

static void inlined_names(void)
{
    in_scope_of("inline-a");
    in_scope_of("inline-b");
    in_scope_of("inline-a");
}

static void two_names(void)
{
    static const char *const names[] = {"two-a", "two-b"};
    for (int i = 0; i < 2; i++) {
        HEAPTALLY_SCOPE(names[i])
        {
        }
        HEAPTALLY_CONSTRUCT(i ? "two-d" : "two-c")
        {
        }
    }
}

static const char *next_name(void)
{
    static int calls;
    say("name evaluated");
    return calls++ ? "once-b" : "once-a";
}

static void evaluated_once(void)
{
    HEAPTALLY_SCOPE(next_name())
    {
    }
    heaptally_cycle(next_name());
}

static void no_name(void)
{
    const char *null = NULL;
    HEAPTALLY_SCOPE("named")
    {
        HEAPTALLY_SCOPE("")
        {
        }
        HEAPTALLY_CONSTRUCT(null)
        {
        }
        heaptally_cycle("");
        heaptally_track_instantiation(null, &null);
    }
}

static int fail_to_construct(int fail)
{
    HEAPTALLY_CONSTRUCT("construct")
    {
        if (fail)
            return -1;
        say("built");
    }
    return 0;
}

static void construct(void)
{
    fail_to_construct(0);
    fail_to_construct(1);
}

static void begin_end(void)
{
    heaptally_token outer = heaptally_begin("begin-a");
    heaptally_token inner = heaptally_begin("begin-b");
    heaptally_end(inner);
    heaptally_end(outer);
    outer = heaptally_begin("begin-c");
    (void)heaptally_begin("begin-d"); /* never ended: the outer end closes it too */
    heaptally_end(outer);
}

static jmp_buf environment;

/* C++ forbids a jump past a guard's destructor, so there the inner scope is opened by hand. */
static void jump_out(void)
{
#ifdef __cplusplus
    (void)heaptally_begin("jump-inner");
    longjmp(environment, 1);
#else
    HEAPTALLY_SCOPE("jump-inner")
    {
        longjmp(environment, 1);
    }
#endif
}

static void longjmp_out(void)
{
    const heaptally_token before = heaptally_begin("jump-outer");
    if (setjmp(environment) == 0)
        jump_out();
    say("landed");
    heaptally_end(before);
}

static void longjmp_in_scope(void)
{
    HEAPTALLY_SCOPE("jump-around")
    {
        if (setjmp(environment) == 0)
            jump_out();
        say("landed");
    }
}

static int no_alloc_return(int early)
{
    HEAPTALLY_NO_ALLOC("na-return")
    {
        if (early)
            return 1;
        say("not early");
    }
    return 0;
}

/* Every way out of a region, in and around scopes. */
static void no_alloc(void)
{
    say(no_alloc_return(1) == 1 ? "1" : "not 1");
    say(no_alloc_return(0) == 0 ? "0" : "not 0");
    HEAPTALLY_NO_ALLOC("na-region")
    {
        HEAPTALLY_SCOPE("na-tag")
        {
            HEAPTALLY_NO_ALLOC("na-inner")
            {
                goto out;
            }
        }
        say("not reached");
    }
out:
    HEAPTALLY_SCOPE("na-tag")
    {
        HEAPTALLY_NO_ALLOC("na-region") say("inside");
    }
    for (int i = 0; i < 2; i++)
        HEAPTALLY_NO_ALLOC("na-loop")
        {
            if (i == 0)
                continue;
            say("second time");
        }
}

static void no_alloc_begin_end(void)
{
    const char *null = NULL;
    heaptally_token outer = heaptally_no_alloc_begin("na-a");
    heaptally_token inner = heaptally_no_alloc_begin(null);
    heaptally_no_alloc_end(inner);
    heaptally_no_alloc_end(outer);
}

/* Objects that are a block, or lie in one, or never were one. Each holds a text to be known by. */
static void cycles_and_instances(void)
{
    static const char in_static[] = "static object";
    const char on_stack[] = "stack object";
    char *block = (char *)malloc(64);
    if (!block)
        return;
    strcpy(block, "block");
    strcpy(block + 16, "inside the block");
    heaptally_cycle("cycle");
    heaptally_track_instantiation("adopt", block);
    heaptally_track_instantiation("adopt", block + 16);
    heaptally_track_instantiation("adopt", in_static);
    heaptally_track_instantiation("adopt", on_stack);
    heaptally_track_instantiation("adopt", NULL);
    free(block);
}

/* An object at the start of a mapping: nothing before it may be read. */
static void mapped_instance(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int zero = open("/dev/zero", O_RDWR);
    char *pages = (char *)mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    if (zero < 0 || pages == MAP_FAILED || mprotect(pages, page, PROT_NONE) != 0 ||
        mprotect(pages + 2 * page, page, PROT_NONE) != 0)
        return;
    close(zero);
    strcpy(pages + page, "mapped object");
    heaptally_track_instantiation("mapped", pages + page);
    strcpy(pages + 2 * page - 16, "mapped end");
    heaptally_track_instantiation("mapped", pages + 2 * page - 16);
    munmap(pages, 3 * page);
}

static void *in_thread(void *unused)
{
    (void)unused;
    HEAPTALLY_SCOPE("thread-b")
    {
    }
    return NULL;
}

/* The new thread is not in the scope that it was started in. */
static void threads(void)
{
    pthread_t thread;
    HEAPTALLY_SCOPE("thread-a")
    {
        if (pthread_create(&thread, NULL, in_thread, NULL) != 0 || pthread_join(thread, NULL) != 0)
            say("no thread");
    }
}

/* What a call may answer where heaptally is absent, not yet watching, or doing as asked. */
static const char *answered(int result)
{
    return result >= 0 || result == HEAPTALLY_ABSENT || result == -EAGAIN ? "fine" : "an error";
}

static void asking(void)
{
    struct heaptally_alert alert;
    struct heaptally_trend trend;
    static struct heaptally_leaks leaks;
    char text[8] = "before";
    say(answered(heaptally_check_memory(&alert)));
    say(answered(heaptally_check_memory(NULL)));
    say(alert.size == sizeof alert ? "alert has its size" : "alert without size");
    say(answered(heaptally_analyze_trend(NULL, &trend)));
    say(answered(heaptally_reset_baseline()));
    say(answered(heaptally_memory_report(text, sizeof text)));
    say(strlen(text) < sizeof text && strcmp(text, "before") != 0 ? "fits" : "does not fit");
    say(answered(heaptally_memory_report(NULL, 0)));
    say(answered(heaptally_tracker_report(text, sizeof text)));
    say(answered(heaptally_check_leak_threshold(0, &leaks)));
    say(answered(heaptally_check_leak_threshold(3.5, &leaks)));
    say(leaks.size == sizeof leaks ? "leaks have their size" : "leaks without size");
    say(answered(heaptally_snapshot()));
    say(answered(heaptally_stop()));
    say(answered(heaptally_start()));
}

static void called_back(const struct heaptally_alert *alert, void *user)
{
    *(size_t *)user = alert->size;
}

static void calling_back(void)
{
    size_t size = sizeof(struct heaptally_alert);
    say(answered(heaptally_set_alert_callback(called_back, &size)));
    say(answered(heaptally_set_alert_callback(NULL, NULL)));
    say(size == sizeof(struct heaptally_alert) ? "whole alerts" : "other alerts");
}

void say_active(void)
{
    say(heaptally_active() ? "active 1" : "active 0");
}

const struct test_case common_cases[] = {
    {"fall_through", fall_through},
    {"value_kept", value_kept},
    {"early_return", early_return},
    {"only_return", only_return},
    {"break_out", break_out},
    {"continue_out", continue_out},
    {"goto_out", goto_out},
    {"goto_back", goto_back},
    {"nested", nested},
    {"one_line", one_line},
    {"if_without_braces", if_without_braces},
    {"in_switch", in_switch},
    {"literal_cached", literal_cached},
    {"computed_name", computed_name},
    {"inlined_names", inlined_names},
    {"two_names", two_names},
    {"evaluated_once", evaluated_once},
    {"no_name", no_name},
    {"construct", construct},
    {"begin_end", begin_end},
    {"longjmp_out", longjmp_out},
    {"longjmp_in_scope", longjmp_in_scope},
    {"no_alloc", no_alloc},
    {"no_alloc_begin_end", no_alloc_begin_end},
    {"cycles_and_instances", cycles_and_instances},
    {"mapped_instance", mapped_instance},
    {"threads", threads},
    {"asking", asking},
    {"calling_back", calling_back},
    {NULL, NULL},
};
