#include "memo_room.h"

#include <stdbool.h>

#include "internal_heap.h"
#include "thread_state.h"

/* Programs of fewer sites do with what threads begin with. */
#define MANY_SITES 2000u

#define LARGE_WORDS     (63u << 10)
#define LARGE_TREE_BITS 13u
#define LARGE_ROOMS     8u /* half a megabyte each; as many threads may have one */

#define MANY_LAPS  2u  /* so often a thread has written over a ring that is too small for it */
#define CALLS_EACH 16u /* of ht_memo_rooms_grow, for one that goes through all threads */

/* NULL without memory. */
static struct ht_memo_room *lay(void)
{
    struct ht_memo_room *room =
        ht_heap_alloc_lasting(sizeof *room + ht_memo_room_bytes(LARGE_WORDS, LARGE_TREE_BITS));
    if (room) {
        room->words = LARGE_WORDS;
        room->tree_bits = LARGE_TREE_BITS;
    }
    return room;
}

/* Whether places in the room can be told from the state of its thread. */
static bool is_in_reach(const struct ht_thread *thread, const struct ht_memo_room *room)
{
    intptr_t words = ((intptr_t)room - (intptr_t)thread) / (intptr_t)sizeof(uint64_t);
    return words > INT32_MIN && words + (intptr_t)sizeof *room + LARGE_WORDS < INT32_MAX;
}

static bool wants_room(const struct ht_thread *thread)
{
    return !thread->larger_room && __atomic_load_n(&thread->taken, __ATOMIC_RELAXED) &&
           __atomic_load_n(&thread->memo_laps, __ATOMIC_RELAXED) >= MANY_LAPS;
}

void ht_memo_rooms_grow(uint32_t sites)
{
    static unsigned calls, rooms;
    if (sites < MANY_SITES || rooms == LARGE_ROOMS || ++calls % CALLS_EACH)
        return;
    struct ht_thread *thread = __atomic_load_n(&ht_threads, __ATOMIC_ACQUIRE);
    for (; thread && rooms < LARGE_ROOMS; thread = thread->next) {
        if (!wants_room(thread))
            continue;
        rooms++; /* also those that cannot be had */
        struct ht_memo_room *room = lay();
        if (room && !is_in_reach(thread, room)) {
            ht_heap_free(room);
            room = NULL;
        }
        /* Without: the one that it has, so that it is not asked for again. */
        __atomic_store_n(&thread->larger_room, room ? room : thread->memo_room, __ATOMIC_RELEASE);
    }
}
