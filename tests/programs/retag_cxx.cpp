/*
 * Functions of C++ for rules on names: a template, overloads, one known by its mangled name, and a
 * scope within a function that a rule means too. Allocates the same in every run, and stays long
 * enough for each stack to become known before most of it is done.
 */
#include <heaptally.h>

#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(__clang__) /* which knows no noclone, and does not clone */
#define KEEP __attribute__((noinline))
#else
#define KEEP __attribute__((noinline, noclone))
#endif

namespace shapes
{
static std::vector<void *> kept(1 << 16); /* no growth of its own among the figures */
static size_t used;

template <typename T> struct Pool {
    KEEP static void take()
    {
        kept[used++] = ::operator new(sizeof(T));
    }
};

KEEP void add(int n)
{
    kept[used++] = std::malloc((size_t)n);
}

KEEP void add(double x)
{
    kept[used++] = std::malloc((size_t)x);
}

KEEP void plain()
{
    HEAPTALLY_SCOPE("scope")
    {
        kept[used++] = std::malloc(77);
    }
    kept[used++] = std::malloc(55);
}
} // namespace shapes

static void round_of_all()
{
    shapes::Pool<long>::take();
    shapes::Pool<char[40]>::take();
    shapes::add(10);
    shapes::add(20.0);
    shapes::plain();
}

int main()
{
    for (int i = 0; i < 200; i++) {
        round_of_all();
        if (i < 20)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
}
