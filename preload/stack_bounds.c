#include "stack_bounds.h"

#include <pthread.h>
#include <stddef.h>

/* The kernel keeps at least this much below the top of the main stack free of other mappings. */
#define MAIN_STACK_CLAIM ((uintptr_t)8 << 20)

/* What the program's entry code has pushed when it calls libc, with what it loses in aligning. */
#define ENTRY_FRAME_LIMIT ((uintptr_t)64)

#define CONTROL_BLOCK_LIMIT ((uintptr_t)4096) /* it is not searched further */

extern void *__libc_stack_end; /* of the loader: where the main stack began */

/* As they stand in a thread's control block. */
struct stack_words {
    uintptr_t memory, size, guard;
};

static uintptr_t words_at;      /* bytes from the start of the control block; 0: not known */
static uintptr_t begins_within; /* bytes from there down to where libc calls a thread's function */

static const struct stack_words *words(uintptr_t at)
{
    return (const struct stack_words *)((uintptr_t)pthread_self() + at);
}

static void search(uintptr_t low, uintptr_t end, uintptr_t began)
{
    uintptr_t room = end - (uintptr_t)pthread_self();
    for (uintptr_t at = 8; at < CONTROL_BLOCK_LIMIT && at + sizeof(struct stack_words) <= room;
         at += 8) {
        const struct stack_words *found = words(at);
        bool match = found->memory + found->guard == low && found->memory + found->size == end;
        if (match && found->guard > 0) {
            __atomic_store_n(&begins_within, (uintptr_t)pthread_self() - began, __ATOMIC_RELAXED);
            __atomic_store_n(&words_at, at, __ATOMIC_RELEASE);
            return;
        }
    }
}

void ht_stack_bounds_begin(uintptr_t began)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;
    if (words_at || pthread_getattr_np(pthread_self(), &attributes) != 0)
        return;
    if (pthread_attr_getstack(&attributes, &low, &size) == 0)
        search((uintptr_t)low, (uintptr_t)low + size, began);
    pthread_attr_destroy(&attributes);
}

uintptr_t ht_stack_bounds_low(void)
{
    uintptr_t at = __atomic_load_n(&words_at, __ATOMIC_ACQUIRE);
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

/* What lies between the control block and the outermost frame, thread-local storage, is as large on
 * every thread, and so is what libc has for the frames of its own. */
bool ht_stack_begins_at(uintptr_t high, uintptr_t sp)
{
    bool is_main = high == (uintptr_t)__libc_stack_end;
    return high - sp <
           (is_main ? ENTRY_FRAME_LIMIT : __atomic_load_n(&begins_within, __ATOMIC_RELAXED));
}
