/* See shapes.h: the shapes of shapes.c once more, in a library that is loaded by dlopen. */
#include "shapes.h"

static int (*deeper_in_program)(int);
static struct truth *(*truth_in_program)(void);
static unsigned seed = 7;

#define true_path  (*truth_in_program())
#define go_deeper  deeper_in_program
#define draw       library_draw
#define use_memory library_use_memory

static unsigned draw(unsigned limit)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 16) % limit;
}

static void use_memory(void *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

#define shapes_c shapes_of_library
#include "shapes.c"

shape *const *library_shapes(int (*deeper)(int), struct truth *(*truth_of_thread)(void))
{
    deeper_in_program = deeper;
    truth_in_program = truth_of_thread;
    return shapes_of_library;
}
