/* See shapes.h: frames of C++: landing pads, destructors while an exception passes, handlers. */
#include "shapes.h"

namespace
{
#define SHAPE __attribute__((noinline)) int

struct thrown {
    unsigned depth; /* of `true_path` where it was thrown */
};

/* Goes deeper while it is destroyed. */
struct goes_deeper_when_destroyed {
    int left;
    int *result;
    __attribute__((noinline)) ~goes_deeper_when_destroyed() noexcept(true)
    {
        unsigned depth = true_path.depth;
        ENTER();
        *result += go_deeper(left - 1);
        LEAVE();
        true_path.depth = depth;
    }
};

SHAPE destructor(int left)
{
    int result = 0;
    ENTER();
    {
        goes_deeper_when_destroyed object{left, &result};
        use_memory(&object);
    }
    LEAVE();
    return result + 1;
}

__attribute__((noinline)) void throw_it(int left)
{
    ENTER();
    use_memory(&left);
    LEAVE();
    if (left >= 0)
        throw thrown{true_path.depth};
}

/* An exception passes through here and the destructor runs in the clean-up code. */
__attribute__((noinline)) int passes_through(int left, int *result)
{
    ENTER();
    goes_deeper_when_destroyed object{left, result};
    use_memory(&object);
    throw_it(left);
    LEAVE();
    return 1;
}

SHAPE cleanup(int left)
{
    int result = 0;
    ENTER();
    unsigned depth = true_path.depth;
    try {
        result += passes_through(left, &result);
    } catch (const thrown &) {
        true_path.depth = depth;
    }
    LEAVE();
    return result + 1;
}

/* Goes deeper from within a handler. */
SHAPE handler(int left)
{
    int result = 0;
    ENTER();
    unsigned depth = true_path.depth;
    try {
        throw_it(left);
    } catch (const thrown &) {
        true_path.depth = depth;
        result = go_deeper(left - 1);
    }
    LEAVE();
    return result + 1;
}

/* An exception is thrown, by whatever is called, and caught, below frames of all shapes. */
SHAPE rethrows(int left)
{
    int result = 0;
    ENTER();
    unsigned depth = true_path.depth;
    try {
        try {
            throw_it(left);
        } catch (const thrown &) {
            true_path.depth = depth;
            result = go_deeper(left / 2);
            throw;
        }
    } catch (const thrown &) {
        true_path.depth = depth;
        result += go_deeper(left - 1);
    }
    LEAVE();
    return result + 1;
}

/* What std::function does, by functions that note themselves. */
struct callable {
    char *bytes;
    __attribute__((noinline)) int operator()(int left) const
    {
        ENTER();
        int result = go_deeper(left - 1) + bytes[0];
        LEAVE();
        return result;
    }
};

template <typename Call> __attribute__((noinline)) int call_it(const Call &call, int left)
{
    ENTER();
    int result = call(left) + 1;
    LEAVE();
    return result;
}

SHAPE through_template(int left)
{
    char bytes[40];
    ENTER();
    use_memory(bytes);
    int result = call_it(callable{bytes}, left) + 1;
    LEAVE();
    return result;
}

class base
{
  public:
    virtual ~base() = default;
    virtual int run(int left) = 0;
};

class first : public base
{
    int value = 1;

  public:
    __attribute__((noinline)) int run(int left) override
    {
        ENTER();
        int result = go_deeper(left - 1) + value;
        LEAVE();
        return result;
    }
};

class other_base
{
  public:
    virtual ~other_base() = default;
    virtual int walk(int left) = 0;
};

/* Called by way of its second base: through a thunk. */
class second : public first, public other_base
{
  public:
    __attribute__((noinline)) int walk(int left) override
    {
        ENTER();
        int result = go_deeper(left - 1) + 3;
        LEAVE();
        return result;
    }
};

SHAPE virtual_call(int left)
{
    ENTER();
    second object;
    base *as_base = &object;
    other_base *as_other = &object;
    use_memory(&as_base);
    use_memory(&as_other);
    int result = draw(2) ? as_base->run(left) : as_other->walk(left);
    LEAVE();
    return result + 1;
}
} // namespace

extern "C" shape *const shapes_cxx[] = {
    destructor, cleanup, handler, rethrows, through_template, virtual_call, nullptr,
};
