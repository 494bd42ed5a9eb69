/*
 * Three steps: each site of both files is put into words that two runs share and added to its pair;
 * what fallback moved is taken out of the pairs; pairs that still differ are handed out by
 * controller.
 *
 *   frame (module, offset) ── place number: one for all places with the same functions and module
 *   stack                  ── its place numbers, behind whether it is fallback and the tag's number
 *   pair                   ── all sites of both files whose stacks have the same numbers
 */
#include "diff.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clamped.h"
#include "text.h"

/* The words of a place or a tag's name, under a number that grows from 0. */
struct word {
    char *text; /* key */
    uint32_t number;
    UT_hash_handle hh;
};

struct known_place {
    struct ht_frame frame; /* key; without padding */
    uint32_t number;       /* of its words */
    UT_hash_handle hh;
};

enum { OLD, NEW, SIDES };

/* Numbers of a stack; `places` are innermost first. */
struct pair_key {
    uint32_t tag, fallback;
    uint32_t places[];
};

struct pair {
    struct pair_key *key;
    uint32_t place_count;
    uint32_t tag;
    bool fallback, is_explicit; /* explicit: the tag is certain, whatever is known of the stack */
    uint64_t bytes[SIDES], blocks[SIDES];
    int64_t growth_bytes, growth_blocks; /* without what moved */
    const struct ht_site **sites[SIDES];
    size_t site_count[SIDES];
    struct pair *same_caller;
    UT_hash_handle hh;
};

/* A controller while it is compared. */
struct comparison {
    const struct ht_tag *tags[SIDES];
    uint64_t bytes[SIDES], blocks[SIDES];               /* of the tag */
    uint64_t listed_bytes[SIDES], listed_blocks[SIDES]; /* of its sites */
    int64_t rest_bytes, rest_blocks; /* growth of what no site covers, without what moved */
};

struct comparing {
    struct ht_symbolizer *symbolizer;
    struct word *words, *tags;
    struct known_place *places;
    struct pair *pairs;
    struct pair **by_caller;        /* by number of the innermost place; linked by same_caller */
    struct comparison *controllers; /* by number of the tag */
    uint64_t moved_bytes;
    int64_t not_listed; /* bytes that sites of either file moved after they were listed */
};

/* ---- sums that a hostile file cannot overflow ------------------------------------------------ */

static int64_t sum(int64_t a, int64_t b)
{
    int64_t result = ht_clamped_sum(a, b);
    return result < -INT64_MAX ? -INT64_MAX : result; /* so that it can be negated */
}

static int64_t difference(uint64_t new_figure, uint64_t old_figure)
{
    uint64_t size = new_figure > old_figure ? new_figure - old_figure : old_figure - new_figure;
    int64_t most = size > INT64_MAX ? INT64_MAX : (int64_t)size;
    return new_figure > old_figure ? most : -most;
}

static uint64_t excess(uint64_t all, uint64_t part)
{
    return all > part ? all - part : 0;
}

/* ---- words ----------------------------------------------------------------------------------- */

/* The number of a text, which is taken over. */
static uint32_t number_of(struct word **words, char *text)
{
    struct word *word;
    HASH_FIND_STR(*words, text, word);
    if (word) {
        free(text);
        return word->number;
    }
    word = ht_allocate_zeroed(1, sizeof *word);
    word->text = text;
    word->number = HASH_COUNT(*words);
    HASH_ADD_KEYPTR(hh, *words, word->text, strlen(word->text), word);
    return word->number;
}

/* Length of a function's name without what compilers append to parts and clones. */
static size_t name_length(const char *name)
{
    static const char *const endings[] = {".part.", ".constprop.", ".isra.",
                                          ".cold",  ".lto_priv.",  ".llvm."};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const char *ending = strstr(name, endings[i]);
        if (ending && ending > name && (size_t)(ending - name) < length)
            length = (size_t)(ending - name);
    }
    return length;
}

/* A module as two runs share it: nothing for the program, "libplan.so" for libplan.so.1.2. */
static char *module_words(const struct ht_module *module)
{
    if (!module)
        return ht_format("outside");
    if (module->flags & HTL_MODULE_MAIN)
        return ht_format("%s", "");
    const char *base = ht_base_name(module->label), *version = strstr(base, ".so");
    return ht_format("%.*s", version ? (int)(version + 3 - base) : (int)strlen(base), base);
}

static char *place_words(struct comparing *c, const struct ht_frame *frame)
{
    const struct ht_place *place = ht_symbolize(c->symbolizer, frame);
    char *words = module_words(frame->module);
    for (size_t i = 0; i < place->count; i++) {
        const char *name = place->functions[i].name;
        char *longer;
        if (name)
            longer = ht_format("%s\n%.*s", words, (int)name_length(name), name);
        else if (frame->module)
            longer = ht_format("%s\n+%llx", words, (unsigned long long)frame->offset);
        else
            longer = ht_format("%s", words);
        free(words);
        words = longer;
    }
    return words;
}

static uint32_t place_number(struct comparing *c, const struct ht_frame *frame)
{
    struct known_place *known;
    HASH_FIND(hh, c->places, frame, sizeof *frame, known);
    if (!known) {
        known = ht_allocate_zeroed(1, sizeof *known);
        known->frame = *frame;
        known->number = number_of(&c->words, place_words(c, frame));
        HASH_ADD(hh, c->places, frame, sizeof known->frame, known);
    }
    return known->number;
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static struct pair *pair_of(struct comparing *c, const struct ht_site *site, uint32_t tag)
{
    const struct ht_stack *stack = site->stack;
    struct pair *pair;
    size_t size = sizeof(struct pair_key) + stack->frame_count * sizeof(uint32_t);
    struct pair_key *key = ht_allocate(size);
    key->tag = tag;
    key->fallback = (stack->flags & HTL_STACK_FALLBACK) != 0;
    for (uint32_t i = 0; i < stack->frame_count; i++)
        key->places[i] = place_number(c, &stack->frames[i]);
    HASH_FIND(hh, c->pairs, key, size, pair);
    if (pair) {
        free(key);
        return pair;
    }
    pair = ht_allocate_zeroed(1, sizeof *pair);
    pair->key = key;
    pair->place_count = stack->frame_count;
    pair->tag = tag;
    pair->fallback = key->fallback;
    pair->is_explicit = site->tag->kind == HTL_TAG_EXPLICIT;
    HASH_ADD_KEYPTR(hh, c->pairs, key, size, pair);
    return pair;
}

static void add_site(struct comparing *c, const struct ht_site *site, uint32_t tag, int side)
{
    struct pair *pair = pair_of(c, site, tag);
    pair->bytes[side] += site->live_bytes;
    pair->blocks[side] += site->live_blocks;
    pair->sites[side] =
        ht_room_for_one(pair->sites[side], pair->site_count[side], sizeof *pair->sites[side]);
    pair->sites[side][pair->site_count[side]++] = site;
    c->controllers[tag].listed_bytes[side] += site->live_bytes;
    c->controllers[tag].listed_blocks[side] += site->live_blocks;
}

static void add_profile(struct comparing *c, const struct ht_profile *p, int side)
{
    for (size_t i = 0; i < p->tag_count; i++) {
        const struct ht_tag *tag = p->tags[i];
        uint32_t before = HASH_COUNT(c->tags);
        uint32_t number = number_of(&c->tags, ht_format("%s", tag->name));
        if (number == before) {
            c->controllers = ht_room_for_one(c->controllers, before, sizeof *c->controllers);
            c->controllers[number] = (struct comparison){.tags = {NULL, NULL}};
        }
        struct comparison *controller = &c->controllers[number];
        controller->tags[side] = tag;
        controller->bytes[side] += tag->live_bytes;
        controller->blocks[side] += tag->live_blocks;
        for (size_t k = 0; k < tag->site_count; k++)
            add_site(c, tag->sites[k], number, side);
    }
}

/* ---- what fallback moved --------------------------------------------------------------------- */

/* Nearest first: of the same controller, then those that changed least. */
struct candidate {
    struct pair *pair;
    bool other_tag;
};

static int by_nearness(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->other_tag != y->other_tag)
        return x->other_tag ? 1 : -1;
    int64_t m = llabs(x->pair->growth_bytes), n = llabs(y->pair->growth_bytes);
    if (m != n)
        return m < n ? -1 : 1;
    return (x->pair->key > y->pair->key) - (x->pair->key < y->pair->key);
}

/* Whether bytes of `full`, which has the caller of `vague`, may have been counted under that. */
static bool may_be_of(const struct pair *vague, const struct pair *full)
{
    if (full->fallback || full->growth_bytes == 0 ||
        (full->growth_bytes > 0) == (vague->growth_bytes > 0))
        return false;
    return full->tag == vague->tag || !(full->is_explicit || vague->is_explicit);
}

/* Takes what one lost and the other won out of both. */
static void move(struct comparing *c, struct pair *vague, struct pair *full)
{
    bool all = llabs(vague->growth_bytes) <= llabs(full->growth_bytes);
    int64_t bytes = all ? vague->growth_bytes : -full->growth_bytes;
    int64_t blocks = all ? vague->growth_blocks : -full->growth_blocks;
    vague->growth_bytes = sum(vague->growth_bytes, -bytes);
    vague->growth_blocks = sum(vague->growth_blocks, -blocks);
    full->growth_bytes = sum(full->growth_bytes, bytes);
    full->growth_blocks = sum(full->growth_blocks, blocks);
    c->moved_bytes += (uint64_t)llabs(bytes);
}

static void settle_with(struct comparing *c, struct pair *vague, struct candidate *candidates,
                        size_t count)
{
    if (count > 0)
        qsort(candidates, count, sizeof *candidates, by_nearness);
    for (size_t i = 0; i < count && vague->growth_bytes != 0; i++)
        move(c, vague, candidates[i].pair);
}

static void settle_by_caller(struct comparing *c, struct pair *vague, struct candidate *candidates)
{
    size_t count = 0;
    for (struct pair *full = c->by_caller[vague->key->places[0]]; full; full = full->same_caller)
        if (may_be_of(vague, full))
            candidates[count++] = (struct candidate){full, full->tag != vague->tag};
    settle_with(c, vague, candidates, count);
}

/* What is known by its tag only may be of any call site of the tag. */
static void settle_by_tag(struct comparing *c, struct pair *vague, struct candidate *candidates)
{
    size_t count = 0;
    for (struct pair *full = c->pairs; full; full = full->hh.next)
        if (full->tag == vague->tag && may_be_of(vague, full))
            candidates[count++] = (struct candidate){full, false};
    settle_with(c, vague, candidates, count);
}

static void settle_fallback(struct comparing *c)
{
    struct candidate *candidates =
        ht_allocate_zeroed(HASH_COUNT(c->pairs), sizeof(struct candidate));
    c->by_caller = ht_allocate_zeroed(HASH_COUNT(c->words), sizeof(struct pair *));
    for (struct pair *pair = c->pairs; pair; pair = pair->hh.next)
        if (pair->place_count > 0 && !pair->fallback) {
            pair->same_caller = c->by_caller[pair->key->places[0]];
            c->by_caller[pair->key->places[0]] = pair;
        }
    for (struct pair *pair = c->pairs; pair; pair = pair->hh.next)
        if (pair->fallback && pair->growth_bytes != 0 && pair->place_count > 0)
            settle_by_caller(c, pair, candidates);
    for (struct pair *pair = c->pairs; pair; pair = pair->hh.next)
        if (pair->fallback && pair->growth_bytes != 0 && pair->place_count == 0)
            settle_by_tag(c, pair, candidates);
    free(candidates);
    free(c->by_caller);
}

/* ---- what a file did not list ---------------------------------------------------------------- */

/* Pairs of one tag side by side; those that changed least first. */
static int by_tag_and_growth(const void *a, const void *b)
{
    const struct pair *x = *(struct pair *const *)a, *y = *(struct pair *const *)b;
    if (x->tag != y->tag)
        return x->tag < y->tag ? -1 : 1;
    int64_t m = llabs(x->growth_bytes), n = llabs(y->growth_bytes);
    return (m > n) - (m < n);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/*
 * The file of a process that was killed does not list what each site did last, only how much that
 * was of all sites together; what it says of a tag is up to date. So of the pairs of a tag only the
 * growth of the tag stays, with those that changed most, and the others count as moved, as far as
 * what was not listed can explain them.
 */
static void settle_tag(struct comparing *c, struct comparison *of, struct pair **pairs,
                       size_t count)
{
    int64_t grew = 0, shrank = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t growth = pairs[i]->growth_bytes;
        if (growth > 0)
            grew = sum(grew, growth);
        else
            shrank = sum(shrank, -growth);
    }
    int64_t net = sum(sum(grew, -shrank), of->rest_bytes);
    int64_t may_have_grown = least(c->not_listed, net > 0 ? sum(grew, -net) : grew);
    int64_t may_have_shrunk = least(c->not_listed, net < 0 ? sum(shrank, net) : shrank);
    for (size_t i = 0; i < count; i++) {
        struct pair *pair = pairs[i];
        int64_t *left = pair->growth_bytes > 0 ? &may_have_grown : &may_have_shrunk;
        int64_t size = least(llabs(pair->growth_bytes), *left);
        if (size <= 0)
            continue;
        int64_t bytes = pair->growth_bytes > 0 ? size : -size;
        int64_t blocks = size == llabs(pair->growth_bytes) ? pair->growth_blocks : 0;
        *left -= size;
        pair->growth_bytes -= bytes;
        pair->growth_blocks -= blocks;
        of->rest_bytes = sum(of->rest_bytes, bytes);
        of->rest_blocks = sum(of->rest_blocks, blocks);
        c->moved_bytes += (uint64_t)size;
    }
}

static void settle_unlisted(struct comparing *c)
{
    size_t count = 0, tags = HASH_COUNT(c->tags);
    struct pair **changed = ht_allocate_zeroed(HASH_COUNT(c->pairs), sizeof(struct pair *));
    for (size_t i = 0; i < tags; i++) {
        struct comparison *of = &c->controllers[i];
        of->rest_bytes = sum(difference(of->bytes[NEW], of->bytes[OLD]),
                             -difference(of->listed_bytes[NEW], of->listed_bytes[OLD]));
        of->rest_blocks = sum(difference(of->blocks[NEW], of->blocks[OLD]),
                              -difference(of->listed_blocks[NEW], of->listed_blocks[OLD]));
    }
    for (struct pair *pair = c->pairs; pair; pair = pair->hh.next)
        if (pair->growth_bytes != 0)
            changed[count++] = pair;
    if (count > 0)
        qsort(changed, count, sizeof *changed, by_tag_and_growth);
    for (size_t first = 0, end = 0; first < count; first = end) {
        while (end < count && changed[end]->tag == changed[first]->tag)
            end++;
        settle_tag(c, &c->controllers[changed[first]->tag], changed + first, end - first);
    }
    free(changed);
}

/* ---- what is shown --------------------------------------------------------------------------- */

static bool is_same_line(struct comparing *c, const struct ht_frame *a, const struct ht_frame *b)
{
    const struct ht_place *x = ht_symbolize(c->symbolizer, a), *y = ht_symbolize(c->symbolizer, b);
    if (a->module == b->module && a->offset == b->offset)
        return true;
    for (size_t i = 0; i < x->count && i < y->count; i++)
        if (x->functions[i].line != y->functions[i].line)
            return false;
    return x->functions[0].line > 0;
}

/* Live bytes of the sites of the other side that are `site` to the line. */
static uint64_t bytes_at_same_lines(struct comparing *c, const struct pair *pair, int side,
                                    const struct ht_site *site)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < pair->site_count[side]; i++) {
        const struct ht_site *other = pair->sites[side][i];
        uint32_t frame = 0;
        while (frame < pair->place_count &&
               is_same_line(c, &site->stack->frames[frame], &other->stack->frames[frame]))
            frame++;
        if (frame == pair->place_count)
            bytes += other->live_bytes;
    }
    return bytes;
}

enum { MOST_COMPARED = 64 }; /* sites of a pair; there are few, or they are all of one kind */

/* The stack to show for a pair: of what grew (or shrank), the site that did so most. */
static const struct ht_stack *shown_stack(struct comparing *c, const struct pair *pair)
{
    int side = pair->growth_bytes < 0 || pair->site_count[NEW] == 0 ? OLD : NEW, other = !side;
    if (pair->site_count[side] == 0)
        return pair->sites[other][0]->stack;
    const struct ht_site *best = pair->sites[side][0];
    double most = -INFINITY;
    for (size_t i = 0; i < pair->site_count[side] && pair->site_count[side] > 1; i++) {
        const struct ht_site *site = pair->sites[side][i];
        double change = (double)site->live_bytes;
        if (pair->site_count[other] <= MOST_COMPARED)
            change -= (double)bytes_at_same_lines(c, pair, other, site);
        if (change > most) {
            most = change;
            best = site;
        }
    }
    return best->stack;
}

static void add_shown(struct ht_diff_controller *controller, const struct ht_diff_site *site)
{
    controller->sites =
        ht_room_for_one(controller->sites, controller->site_count, sizeof *controller->sites);
    controller->sites[controller->site_count++] = *site;
    controller->growth_bytes = sum(controller->growth_bytes, site->growth_bytes);
    controller->growth_blocks = sum(controller->growth_blocks, site->growth_blocks);
}

static void show_pairs(struct comparing *c, struct ht_diff_controller *controllers)
{
    for (struct pair *pair = c->pairs; pair; pair = pair->hh.next)
        if (pair->growth_bytes != 0 || pair->growth_blocks != 0)
            add_shown(&controllers[pair->tag], &(struct ht_diff_site){
                                                   .stack = shown_stack(c, pair),
                                                   .old_bytes = pair->bytes[OLD],
                                                   .new_bytes = pair->bytes[NEW],
                                                   .growth_bytes = pair->growth_bytes,
                                                   .growth_blocks = pair->growth_blocks,
                                               });
}

/* What a file tells of a controller beyond its sites. */
static void show_rest(const struct comparison *from, struct ht_diff_controller *controller)
{
    struct ht_diff_site rest = {
        .old_bytes = excess(from->bytes[OLD], from->listed_bytes[OLD]),
        .new_bytes = excess(from->bytes[NEW], from->listed_bytes[NEW]),
    };
    rest.growth_bytes = from->rest_bytes;
    rest.growth_blocks = from->rest_blocks;
    if (rest.growth_bytes != 0 || rest.growth_blocks != 0)
        add_shown(controller, &rest);
}

static int by_site_growth(const void *a, const void *b)
{
    const struct ht_diff_site *x = a, *y = b;
    if (x->growth_bytes != y->growth_bytes)
        return x->growth_bytes > y->growth_bytes ? -1 : 1;
    return (x->growth_blocks < y->growth_blocks) - (x->growth_blocks > y->growth_blocks);
}

static int by_growth(const void *a, const void *b)
{
    const struct ht_diff_controller *x = a, *y = b;
    if (x->growth_bytes != y->growth_bytes)
        return x->growth_bytes > y->growth_bytes ? -1 : 1;
    return strcmp(x->tag, y->tag);
}

/* Keeps the controllers that changed, in their order. */
static void show_controllers(struct comparing *c, struct ht_diff *diff)
{
    size_t count = HASH_COUNT(c->tags), kept = 0;
    struct ht_diff_controller *all = ht_allocate_zeroed(count, sizeof *all);
    show_pairs(c, all);
    for (size_t i = 0; i < count; i++) {
        const struct comparison *from = &c->controllers[i];
        struct ht_diff_controller *controller = &all[i];
        show_rest(from, controller);
        if (controller->site_count == 0)
            continue;
        controller->old_tag = from->tags[OLD];
        controller->new_tag = from->tags[NEW];
        controller->tag = (from->tags[NEW] ? from->tags[NEW] : from->tags[OLD])->name;
        controller->old_bytes = from->bytes[OLD];
        controller->new_bytes = from->bytes[NEW];
        controller->moved_bytes =
            sum(difference(from->bytes[NEW], from->bytes[OLD]), -controller->growth_bytes);
        qsort(controller->sites, controller->site_count, sizeof *controller->sites, by_site_growth);
        diff->growth_bytes = sum(diff->growth_bytes, controller->growth_bytes);
        diff->growth_blocks = sum(diff->growth_blocks, controller->growth_blocks);
        all[kept++] = *controller;
    }
    if (kept > 0)
        qsort(all, kept, sizeof *all, by_growth);
    diff->controllers = all;
    diff->controller_count = kept;
    diff->controllers_compared = count;
    diff->sites_compared = HASH_COUNT(c->pairs);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Frames in modules that both files have, the very same build, point to one of them. */
static void share_modules(struct ht_profile *from, const struct ht_profile *to)
{
    for (struct ht_stack *stack = from->all_stacks; stack; stack = stack->next)
        for (uint32_t i = 0; i < stack->frame_count; i++) {
            struct ht_module *mine = stack->frames[i].module, *shared = NULL;
            if (mine)
                HASH_FIND(by_key, to->modules_by_key, mine->key, mine->key_length, shared);
            if (shared)
                stack->frames[i].module = shared;
        }
}

static void forget_words(struct word *words)
{
    struct word *word, *next;
    HASH_ITER(hh, words, word, next)
    {
        HASH_DEL(words, word);
        free(word->text);
        free(word);
    }
}

static void forget(struct comparing *c)
{
    struct known_place *place, *next_place;
    struct pair *pair, *next_pair;
    forget_words(c->words);
    forget_words(c->tags);
    HASH_ITER(hh, c->places, place, next_place)
    {
        HASH_DEL(c->places, place);
        free(place);
    }
    HASH_ITER(hh, c->pairs, pair, next_pair)
    {
        HASH_DEL(c->pairs, pair);
        free(pair->key);
        free(pair->sites[OLD]);
        free(pair->sites[NEW]);
        free(pair);
    }
    free(c->controllers);
}

void ht_diff_make(struct ht_profile *old_profile, struct ht_profile *new_profile,
                  struct ht_symbolizer *symbolizer, struct ht_diff *diff)
{
    const struct htl_file_header *a = &old_profile->start, *b = &new_profile->start;
    struct comparing c = {.symbolizer = symbolizer,
                          .not_listed = sum(difference(old_profile->quality.left_out_bytes, 0),
                                            difference(new_profile->quality.left_out_bytes, 0))};
    *diff = (struct ht_diff){
        .old_profile = old_profile,
        .new_profile = new_profile,
        .symbolizer = symbolizer,
        .same_process = a->pid == b->pid && a->start_realtime_ns == b->start_realtime_ns &&
                        strcmp(old_profile->host, new_profile->host) == 0,
        .seconds = NAN,
    };
    if (diff->same_process)
        diff->seconds = new_profile->duration_s - old_profile->duration_s;
    share_modules(new_profile, old_profile);
    add_profile(&c, old_profile, OLD);
    add_profile(&c, new_profile, NEW);
    for (struct pair *pair = c.pairs; pair; pair = pair->hh.next) {
        pair->growth_bytes = difference(pair->bytes[NEW], pair->bytes[OLD]);
        pair->growth_blocks = difference(pair->blocks[NEW], pair->blocks[OLD]);
    }
    settle_fallback(&c);
    settle_unlisted(&c);
    diff->moved_bytes = c.moved_bytes;
    show_controllers(&c, diff);
    forget(&c);
}

void ht_diff_clear(struct ht_diff *diff)
{
    for (size_t i = 0; i < diff->controller_count; i++)
        free(diff->controllers[i].sites);
    free(diff->controllers);
    *diff = (struct ht_diff){0};
}

bool ht_diff_is_empty(const struct ht_diff *diff)
{
    return diff->controller_count == 0;
}
