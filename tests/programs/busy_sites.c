/*
 * A growing number of call sites and tags, tick after tick, until the program is killed: its file
 * holds records of every kind, and its tail is cut at every byte by a test.
 */
#include "program.h"

#define SITE(n)                                                                                    \
    __attribute__((noinline)) static void site_##n(size_t size)                                    \
    {                                                                                              \
        program_sink = malloc(size + n);                                                           \
        MUST(program_sink);                                                                        \
    }
SITE(1);
SITE(2);
SITE(3);
SITE(4);
SITE(5);
SITE(6);
SITE(7);
SITE(8);

static void (*const sites[])(size_t) = {site_1, site_2, site_3, site_4,
                                        site_5, site_6, site_7, site_8};

int main(void)
{
    for (unsigned i = 0;; i++) {
        char tag[32];
        snprintf(tag, sizeof tag, "controller-%u", i % 40);
        HEAPTALLY_SCOPE(tag)
        {
            sites[i % 8](16 + i % 100);
        }
        sleep_ms(2);
    }
}
