/* See shapes.h: frames of C functions. */
#include "shapes.h"

#include <alloca.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SHAPE ONE_FUNCTION static int

SHAPE plain(int left)
{
    ENTER();
    int result = go_deeper(left - 1) + 1;
    LEAVE();
    return result;
}

SHAPE buffer(int left)
{
    char bytes[200];
    ENTER();
    use_memory(bytes);
    int result = go_deeper(left - 1) + bytes[left];
    LEAVE();
    return result;
}

SHAPE large_frame(int left)
{
    char bytes[70000];
    ENTER();
    use_memory(bytes);
    int result = go_deeper(left - 1) + bytes[left];
    LEAVE();
    return result;
}

SHAPE with_alloca(int left)
{
    ENTER();
    char *bytes = alloca(draw(5000) + 1);
    use_memory(bytes);
    int result = go_deeper(left - 1) + bytes[0];
    LEAVE();
    return result;
}

SHAPE alloca_in_loop(int left)
{
    int result = 0;
    ENTER();
    for (unsigned i = draw(4); i < 4; i++) {
        char *bytes = alloca(draw(300) + 1);
        use_memory(bytes);
        result += bytes[0];
    }
    result += go_deeper(left - 1);
    LEAVE();
    return result;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wvla"
SHAPE with_vla(int left)
{
    ENTER();
    unsigned count = draw(1000) + 1;
    long numbers[count];
    use_memory(numbers);
    int result = go_deeper(left - 1) + (int)numbers[count - 1];
    LEAVE();
    return result;
}

SHAPE realigned_with_vla(int left)
{
    ENTER();
    unsigned count = draw(1000) + 1;
    _Alignas(128) char aligned[128];
    long numbers[count];
    use_memory(aligned);
    use_memory(numbers);
    int result = go_deeper(left - 1) + (int)numbers[0] + aligned[0];
    LEAVE();
    return result;
}
#pragma GCC diagnostic pop

SHAPE realigned(int left)
{
    _Alignas(64) char bytes[256];
    ENTER();
    use_memory(bytes);
    int result = go_deeper(left - 1) + bytes[left];
    LEAVE();
    return result;
}

/* Arguments on the stack and realignment: gcc keeps a pointer to the arguments. */
ONE_FUNCTION static int realigned_inner(int a, int b, int c, int d, int e, int f, int g, int h,
                                        int left)
{
    _Alignas(64) char bytes[64];
    ENTER();
    use_memory(bytes);
    int result = go_deeper(left - 1) + bytes[0];
    result += a + b + c + d + e + f + g + h;
    LEAVE();
    return result;
}

SHAPE realigned_with_arguments(int left)
{
    ENTER();
    int result = realigned_inner(1, 2, 3, 4, 5, 6, 7, (int)draw(10), left) + 1;
    LEAVE();
    return result;
}

ONE_FUNCTION static int many(int a, int b, int c, int d, int e, int f, long g, double h, long i,
                             int left)
{
    ENTER();
    int result = go_deeper(left - 1) + a + b + c + d + e + f + (int)g + (int)h + (int)i;
    LEAVE();
    return result;
}

SHAPE many_arguments(int left)
{
    ENTER();
    int result = many(1, 2, 3, 4, 5, 6, 7, 8.5, (long)draw(9), left);
    result += many(9, 8, 7, 6, 5, 4, 3, 2.5, result, 0);
    LEAVE();
    return result;
}

ONE_FUNCTION static int variable(int count, ...)
{
    va_list arguments;
    int left = 0;
    ENTER();
    va_start(arguments, count);
    while (count--)
        left = va_arg(arguments, int);
    va_end(arguments);
    int result = go_deeper(left - 1) + 1;
    LEAVE();
    return result;
}

SHAPE variable_arguments(int left)
{
    ENTER();
    int result = variable(4, 1, 2, 3, left) + 1;
    LEAVE();
    return result;
}

/* Many values that live across the call: every register that is kept for the caller is saved. */
SHAPE all_registers(int left)
{
    ENTER();
    unsigned a = draw(9), b = draw(9), c = draw(9), d = draw(9), e = draw(9), f = draw(9),
             g = draw(9), h = draw(9);
    int result = go_deeper(left - 1);
    result += (int)(a ^ b << 1 ^ c << 2 ^ d << 3 ^ e << 4 ^ f << 5 ^ g << 6 ^ h << 7);
    LEAVE();
    return result;
}

/* Early exits: code of one function under several rows of the table. */
SHAPE early_exits(int left)
{
    ENTER();
    unsigned way = draw(3);
    if (way == 0) {
        int result = go_deeper(left - 1) + 1;
        LEAVE();
        return result;
    }
    char *bytes = alloca(draw(100) + 1);
    use_memory(bytes);
    if (way == 1) {
        int result = go_deeper(left - 1) + bytes[0];
        LEAVE();
        return result;
    }
    int result = go_deeper(left - 1);
    result += go_deeper(0);
    LEAVE();
    return result + bytes[0];
}

/* ---- Through libc ---------------------------------------------------------------------------- */

static __thread int callback_left;

ONE_FUNCTION static int compare(const void *a, const void *b)
{
    ENTER();
    int left = callback_left;
    callback_left = 1; /* only the first comparison goes on */
    int result = left > 1 ? go_deeper(left - 1) : 0;
    LEAVE();
    return *(const int *)a - *(const int *)b + result * 0;
}

SHAPE through_qsort(int left)
{
    /* 5 elements are sorted on the stack, 2,000 in allocated memory: two paths in libc. */
    static __thread int numbers[2000];
    ENTER();
    for (int i = 0; i < 2000; i++)
        numbers[i] = 2000 - i;
    callback_left = left;
    qsort(numbers, draw(2) ? 5 : 2000, sizeof numbers[0], compare);
    LEAVE();
    return numbers[0];
}

SHAPE through_bsearch(int left)
{
    int numbers[3] = {1, 2, 3}, key = 2;
    ENTER();
    callback_left = left;
    int *found = bsearch(&key, numbers, 3, sizeof numbers[0], compare);
    LEAVE();
    return found ? *found : 0;
}

/* ---- A call that doesn't return, last in its function ---------------------------------------- */

static __thread jmp_buf way_out;

ONE_FUNCTION __attribute__((noreturn)) static void leave_by_longjmp(int left)
{
    ENTER();
    int result = go_deeper(left - 1);
    longjmp(way_out, result * 0 + 1);
}

ONE_FUNCTION __attribute__((noreturn)) static void last_call_does_not_return(int left)
{
    ENTER(); /* taken off by noreturn_at_the_end */
    leave_by_longjmp(left);
}

SHAPE noreturn_at_the_end(int left)
{
    jmp_buf outer;
    ENTER();
    unsigned depth = true_path.depth;
    memcpy(&outer, &way_out, sizeof outer);
    if (!setjmp(way_out))
        last_call_does_not_return(left);
    memcpy(&way_out, &outer, sizeof outer);
    true_path.depth = depth;
    LEAVE();
    return 1;
}

shape *const shapes_c[] = {
    plain,
    buffer,
    large_frame,
    with_alloca,
    alloca_in_loop,
    with_vla,
    realigned,
    realigned_with_vla,
    realigned_with_arguments,
    many_arguments,
    variable_arguments,
    all_registers,
    early_exits,
    through_qsort,
    through_bsearch,
    noreturn_at_the_end,
    NULL,
};
