/*
 * A program with operators of its own: new puts a mark in front of the block, delete insists on
 * it. Whoever takes one of the two away breaks the other.
 */
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <string>
#include <unistd.h>

#include "heaptally.h"

static unsigned long taken, given;

void *operator new(size_t size)
{
    auto *mark = static_cast<unsigned long *>(malloc(size + 16));
    if (!mark)
        throw std::bad_alloc();
    mark[0] = 0xfeedfacecafebeef;
    taken++;
    return mark + 2;
}

void operator delete(void *block) noexcept
{
    if (!block)
        return;
    unsigned long *mark = static_cast<unsigned long *>(block) - 2;
    if (mark[0] != 0xfeedfacecafebeef) {
        fputs("own_new: a block without its mark\n", stderr);
        _exit(3);
    }
    mark[0] = 0;
    given++;
    free(mark);
}

void operator delete(void *block, size_t) noexcept
{
    operator delete(block);
}

int main()
{
    {
        std::map<int, std::string> map;
        for (int i = 0; i < 1000; i++)
            map[i] = std::string(100, 'x');
    }
    HEAPTALLY_SCOPE("kept")
    {
        for (int i = 0; i < 10; i++) {
            auto *volatile kept = new long[100];
            (void)kept;
        }
    }
    printf("%lu taken, %lu given back\n", taken, given);
    return taken == given + 10 ? 0 : 3;
}
