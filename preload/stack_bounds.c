#include "stack_bounds.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* The kernel keeps at least this much below the top of the main stack free of other mappings. */
#define MAIN_STACK_CLAIM ((uintptr_t)8 << 20)

#define CONTROL_BLOCK_LIMIT ((uintptr_t)4096) /* it is not searched further */

extern void *__libc_stack_end; /* of the loader: where the main stack began */

/* As they stand in a thread's control block. */
struct stack_words {
    uintptr_t memory, size, guard;
};

static uintptr_t words_at; /* bytes from the start of the control block; 0: not known */

static const struct stack_words *words(uintptr_t at)
{
    return (const struct stack_words *)((uintptr_t)pthread_self() + at);
}

static void search(uintptr_t low, uintptr_t end)
{
    uintptr_t room = end - (uintptr_t)pthread_self();
    for (uintptr_t at = 8; at < CONTROL_BLOCK_LIMIT && at + sizeof(struct stack_words) <= room;
         at += 8) {
        const struct stack_words *found = words(at);
        bool match = found->memory + found->guard == low && found->memory + found->size == end;
        if (match && found->guard > 0) {
            __atomic_store_n(&words_at, at, __ATOMIC_RELAXED);
            return;
        }
    }
}

void ht_stack_bounds_begin(void)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;
    if (words_at || pthread_getattr_np(pthread_self(), &attributes) != 0)
        return;
    if (pthread_attr_getstack(&attributes, &low, &size) == 0)
        search((uintptr_t)low, (uintptr_t)low + size);
    pthread_attr_destroy(&attributes);
}

uintptr_t ht_stack_bounds_low(void)
{
    uintptr_t at = __atomic_load_n(&words_at, __ATOMIC_RELAXED);
    if (!at)
        return 0;
    const struct stack_words *own = words(at);
    bool plausible = own->memory && own->guard < own->size &&
                     (uintptr_t)pthread_self() - own->memory < own->size;
    return plausible ? own->memory + own->guard : 0;
}

uintptr_t ht_stack_bounds_main(uintptr_t *low)
{
    *low = (uintptr_t)__libc_stack_end - MAIN_STACK_CLAIM;
    return (uintptr_t)__libc_stack_end;
}
