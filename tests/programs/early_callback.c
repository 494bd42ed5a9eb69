/*
 * Loaded before heaptally: its constructor sets an alert callback, its destructor runs after all
 * exit handlers of the program, and destroys what the callback uses while another alert is due.
 * With QUIET in the environment that is the first one.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "heaptally.h"

static atomic_int called, after_end;
static atomic_bool alive = true;
static char *volatile sink;

static void grow(const char *tag)
{
    HEAPTALLY_SCOPE(tag)
    {
        sink = malloc(4096);
    }
}

static void on_alert(const struct heaptally_alert *alert, void *user)
{
    (void)alert, (void)user;
    called++;
    if (!alive)
        after_end++;
}

__attribute__((constructor)) static void begin(void)
{
    if (heaptally_set_alert_callback(on_alert, NULL) != 0)
        _exit(3);
    if (!getenv("QUIET"))
        grow("early");
}

__attribute__((destructor)) static void end(void)
{
    alive = false;
    grow("late");
    usleep(400000);
    printf("called %d after the end %d\n", called, after_end);
    fflush(stdout);
}
