/*
 * Takes the addresses of malloc, operator new and operator delete, and is built so that it cannot
 * be moved (no PIE): the addresses are then those of stubs in the program itself, for everybody.
 * Ten blocks are kept of each size, all called by name or by address.
 */
#include <cstdio>
#include <cstdlib>
#include <new>

#include "heaptally.h"

static void *kept[40];

int main()
{
    /* In code: in writable data an address could be the library's own. */
    void *(*volatile take)(size_t) = malloc;
    void *(*volatile take_object)(size_t) = operator new;
    void (*volatile give_object)(void *) = operator delete;

    HEAPTALLY_SCOPE("kept")
    {
        for (int i = 0; i < 10; i++) {
            kept[i] = take(100);
            kept[10 + i] = take_object(1000);
            kept[20 + i] = operator new(10000);
            kept[30 + i] = malloc(10);
        }
        for (int i = 0; i < 10; i++) {
            give_object(operator new(50));
            operator delete(take_object(50));
        }
    }
    puts("done");
    return 0;
}
