#include "memo_room.h"

#include <stdbool.h>

#include "internal_heap.h"
#include "thread_state.h"

/* Programs of fewer sites do with what threads begin with. */
#define MANY_SITES 2000u

/* Where a thread goes on to, one after the other. The last makes g++ on a file of 50,000 stacks
 * quicker by a twentieth (x 1.16 -> x 1.11 of plain); with four times as much nothing more was
 * gained, since what lies there has to be fetched from ever further away. */
static struct stage {
    uint32_t words, tree_bits;
    unsigned rooms; /* that may still be laid: half a megabyte each, or two */
} stages[] = {{63u << 10, 13, 8}, {223u << 10, 16, 3}};
#define STAGES (sizeof stages / sizeof stages[0])

#define MANY_LAPS  2u  /* so often a thread has written over a ring that is too small for it */
#define CALLS_EACH 16u /* of ht_memo_rooms_grow, for one that goes through all threads */

/* NULL without memory. */
static struct ht_memo_room *lay(const struct stage *stage)
{
    struct ht_memo_room *room =
        ht_heap_alloc_lasting(sizeof *room + ht_memo_room_bytes(stage->words, stage->tree_bits));
    if (room) {
        room->words = stage->words;
        room->tree_bits = stage->tree_bits;
    }
    return room;
}

/* Whether places in the room can be told from the state of its thread. */
static bool is_in_reach(const struct ht_thread *thread, const struct ht_memo_room *room)
{
    intptr_t words = ((intptr_t)room - (intptr_t)thread) / (intptr_t)sizeof(uint64_t);
    return words > INT32_MIN &&
           words + (intptr_t)(sizeof *room / sizeof(uint64_t) + room->words) < INT32_MAX;
}

/* The stage that comes after the room of a thread, if that is too small for it and no larger one is
 * there yet; NULL for none. */
static struct stage *wanted(const struct ht_thread *thread)
{
    const struct ht_memo_room *room = __atomic_load_n(&thread->memo_room, __ATOMIC_ACQUIRE);
    if (thread->gets_no_room || !__atomic_load_n(&thread->taken, __ATOMIC_RELAXED) ||
        __atomic_load_n(&thread->memo_laps, __ATOMIC_RELAXED) < MANY_LAPS ||
        (thread->larger_room && thread->larger_room != room))
        return NULL;
    for (unsigned i = 0; i < STAGES; i++)
        if (stages[i].words > room->words)
            return stages[i].rooms > 0 ? &stages[i] : NULL;
    return NULL;
}

static void give_room(struct ht_thread *thread, struct stage *stage)
{
    struct ht_memo_room *room = lay(stage);
    stage->rooms -= room != NULL;
    if (room && is_in_reach(thread, room)) {
        __atomic_store_n(&thread->larger_room, room, __ATOMIC_RELEASE);
        return;
    }
    ht_heap_free(room);
    thread->gets_no_room = true; /* nor the next time: it is not asked for for ever */
}

void ht_memo_rooms_grow(uint32_t sites)
{
    static unsigned calls;
    if (sites < MANY_SITES || stages[0].rooms + stages[1].rooms == 0 || ++calls % CALLS_EACH)
        return;
    struct ht_thread *thread = __atomic_load_n(&ht_threads, __ATOMIC_ACQUIRE);
    for (; thread; thread = thread->next) {
        struct stage *stage = wanted(thread);
        if (stage)
            give_room(thread, stage);
    }
}
