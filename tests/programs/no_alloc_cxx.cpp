/*
 * Regions without allocations in C++: three operators break "cxx", 8, 80 and 48 bytes; an exception
 * leaves the region, and what is allocated after that is in none. The exception itself is allocated
 * in "thrown", by the C++ runtime.
 */
#include <cstdio>
#include <new>

#include "heaptally.h"

static void *volatile sink;

__attribute__((noinline)) static void thrower()
{
    HEAPTALLY_NO_ALLOC("thrown")
    {
        HEAPTALLY_SCOPE("inner")
        {
            throw 42;
        }
    }
}

namespace plan
{
template <typename State> struct Step {
    void operator()(const State *) const;
};

template <typename State>
__attribute__((noinline)) void Step<State>::operator()(const State *) const
{
    sink = ::operator new(8);
    sink = ::operator new[](80);
    sink = ::operator new(48, std::nothrow);
}
} // namespace plan

int main()
{
    HEAPTALLY_NO_ALLOC("cxx")
    {
        plan::Step<double>()(nullptr);
    }
    try {
        thrower();
    } catch (int) {
        sink = ::operator new(500);
    }
    HEAPTALLY_SCOPE("after")
    {
        sink = ::operator new(30);
    }
    return 0;
}
