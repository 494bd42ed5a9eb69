/* Functions whose frames have every shape that compilers make, called in random order.
 *
 * Each function notes its own return address (__builtin_return_address(0), which needs no unwinder)
 * in `true_path` when it is entered and takes it off again; so at any moment that is the true path.
 * A function goes on by `go_deeper`, which calls another one or, when the path is long enough,
 * checks the stack. */
#ifndef SHAPES_H
#define SHAPES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TRUTH_MAX = 256 };

/* The true path, outermost first; one per thread. */
struct truth {
    unsigned depth;
    uint64_t return_address[TRUTH_MAX];
};
extern __thread struct truth true_path;

#define ENTER()                                                                                    \
    (true_path.return_address[true_path.depth++] =                                                 \
         (uint64_t)__builtin_extract_return_addr(__builtin_return_address(0)))
#define LEAVE() ((void)true_path.depth--)

/* A function that stays one: neither inlined nor copied for its arguments. */
#ifdef __clang__
#define ONE_FUNCTION __attribute__((noinline))
#else
#define ONE_FUNCTION __attribute__((noinline, noclone))
#endif

/* Calls a random function of the tables below with left - 1, or checks the stack if left is 0.
 * Returns something that depends on what was called, so that no call becomes a jump. */
int go_deeper(int left);

/* The same for functions in assembly, which leave it to this one to note their return address. */
int go_deeper_from_assembly(int left, uint64_t return_address);

/* A random number below `limit`. */
unsigned draw(unsigned limit);

/* Keeps the compiler from doing away with what `memory` points to. */
void use_memory(void *memory);

typedef int shape(int left);

/* Defined by shapes.c, shapes_cxx.cc, shapes_asm.S and shapes_library.c; ended by NULL. */
extern shape *const shapes_c[];
extern shape *const shapes_cxx[];
shape *const *library_shapes(int (*deeper)(int), struct truth *(*truth_of_thread)(void));

int asm_with_cfi(int left);
int asm_without_cfi(int left);

#ifdef __cplusplus
}
#endif
#endif
