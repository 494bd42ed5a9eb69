#include "worker.h"

#include "book.h"
#include "heaptally.h"

struct worker *workers;
thread_local struct worker *worker_here __attribute__((tls_model("initial-exec")));

void tags_prepare()
{
    for (int tag = 1; tag < book_tags; tag++)
        heaptally_end(heaptally_begin(book_name(tag)));
}

void worker_prepare(struct worker *w, uint64_t seed)
{
    w->random = seed * UINT64_C(0x9E3779B97F4A7C15) | 1;
    w->handler_random = w->random ^ UINT64_C(0xD1B54A32D192ED03);
    pthread_mutex_init(&w->lock, nullptr);
}

static unsigned draw(struct worker *w, unsigned below)
{
    return (unsigned)(random_next(&w->random) % below);
}

/* ---- scopes ---------------------------------------------------------------------------------- */

static void open_scope(struct worker *w, int tag)
{
    if (w->depth == scope_depth)
        return;
    w->scopes[w->depth].tag = w->tag;
    w->scopes[w->depth].outer = heaptally_begin(book_name(tag));
    w->depth++;
    w->tag = tag;
}

static void close_scope(struct worker *w)
{
    if (w->depth == 0)
        return;
    w->depth--;
    heaptally_end(w->scopes[w->depth].outer);
    w->tag = w->scopes[w->depth].tag;
}

static void step_scope(struct worker *w)
{
    if (draw(w, 2))
        open_scope(w, TAG_FIRST + (int)draw(w, TAG_LAST_WORK));
    else
        close_scope(w);
}

static void step_count(struct worker *w)
{
    int tag = TAG_FIRST + (int)draw(w, TAG_LAST_WORK);
    if (draw(w, 2)) {
        HEAPTALLY_CONSTRUCT(book_name(tag))
        {
        }
        book_constructed(tag);
    } else {
        heaptally_cycle(book_name(tag));
        book_cycle(tag);
    }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static struct slot *draw_slot(struct worker *w)
{
    return &w->slots[draw(w, worker_slots)];
}

static void step_block(struct worker *w)
{
    struct slot *s = draw_slot(w);
    if (s->block)
        slot_release(&w->random, s);
    else
        slot_fill(&w->random, s, w->tag);
}

static void step_resize(struct worker *w)
{
    struct slot *s = draw_slot(w);
    if (slot_resizable(s))
        slot_resize(&w->random, s, w->tag);
}

/* heaptally_track_instantiation: one instantiation more, and the block changes its owner. */
static void step_adopt(struct worker *w)
{
    struct slot *s = draw_slot(w);
    if (!s->block || !settings.adopting)
        return;
    int tag = TAG_FIRST + (int)draw(w, TAG_LAST_WORK);
    heaptally_track_instantiation(book_name(tag), s->block);
    book_constructed(tag);
    if (tag == s->tag)
        return;
    book_freed(s->tag, s->size);
    book_allocated(tag, s->size);
    s->tag = tag;
}

/* An exception is a block too, under the open scope: only where the book need not know of it. */
static void step_huge(struct worker *w)
{
    if (!settings.huge)
        return;
    struct slot *s = draw_slot(w);
    void *block = slot_resizable(s) ? s->block : nullptr;
    if (!refuse_huge(draw(w, 1000), block, w->tag == TAG_NONE, &w->wrong_errno))
        ledger_fail("a size that cannot be was given");
}

bool worker_post(struct worker *w, const struct slot *s)
{
    pthread_mutex_lock(&w->lock);
    bool room = w->mailbox_used < mailbox_slots;
    if (room)
        w->mailbox[w->mailbox_used++] = *s;
    pthread_mutex_unlock(&w->lock);
    return room;
}

static void step_send(struct worker *w)
{
    struct slot *s = draw_slot(w);
    if (s->block && worker_post(&workers[draw(w, (unsigned)settings.workers)], s))
        s->block = nullptr;
}

/* Frees what others sent, and keeps some of it. */
static void step_receive(struct worker *w)
{
    struct slot *home = draw_slot(w), got;
    pthread_mutex_lock(&w->lock);
    bool any = w->mailbox_used > 0;
    if (any)
        got = w->mailbox[--w->mailbox_used];
    pthread_mutex_unlock(&w->lock);
    if (!any)
        return;
    if (home->block || draw(w, 2))
        slot_release(&w->random, &got);
    else
        *home = got;
}

/* ---- signals --------------------------------------------------------------------------------- */

void worker_on_signal(struct worker *w)
{
    if (!w->window && !settings.signal_safe)
        return; /* the thread may be inside an allocator that cannot be entered twice */
    uint64_t *random = &w->handler_random;
    struct slot *s = &w->handler_slots[random_next(random) % handler_slot_count];
    heaptally_token outer = heaptally_begin(book_name(TAG_HANDLER));
    if (!s->block)
        slot_fill(random, s, TAG_HANDLER);
    else if (slot_resizable(s) && random_next(random) % 2)
        slot_resize(random, s, TAG_HANDLER);
    else
        slot_release(random, s);
    heaptally_end(outer);
    w->handled++;
}

static void step_raise(struct worker *w)
{
    w->window = 1;
    raise(SIGUSR1);
    w->window = 0;
}

/* Outside the allocator, inside heaptally: here the handler may come at any instruction. */
static void step_window(struct worker *w)
{
    w->window = 1;
    for (int i = 0; i < 40; i++) {
        int tag = TAG_FIRST + (int)draw(w, TAG_LAST_WORK);
        heaptally_token outer = heaptally_begin(book_name(tag));
        heaptally_cycle(book_name(tag));
        book_cycle(tag);
        heaptally_end(outer);
    }
    w->window = 0;
}

/* ---- the run --------------------------------------------------------------------------------- */

static const struct {
    unsigned share; /* of all steps */
    void (*step)(struct worker *w);
} steps[] = {
    {520, step_block}, {120, step_resize}, {80, step_send},  {60, step_receive}, {120, step_scope},
    {20, step_huge},   {20, step_count},   {20, step_adopt}, {20, step_raise},   {20, step_window},
};

void worker_run(struct worker *w, int count)
{
    worker_here = w;
    unsigned all = 0;
    for (const auto &s : steps)
        all += s.share;
    while (count-- > 0) {
        unsigned r = draw(w, all);
        const auto *s = steps;
        while (r >= s->share)
            r -= s++->share;
        s->step(w);
    }
    while (w->depth > 0)
        close_scope(w);
}

void worker_clear_some(struct worker *w)
{
    for (struct slot &s : w->slots)
        if (s.block && draw(w, 2))
            slot_release(&w->random, &s);
    for (struct slot &s : w->handler_slots)
        if (s.block && draw(w, 2))
            slot_release(&w->random, &s);
}
