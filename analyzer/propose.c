#include "propose.h"

#include <stdlib.h>
#include <string.h>

#include "frame_text.h"
#include "symbol_name.h"
#include "text.h"

/* From the C++ runtime's ABI; there is no C header for it. */
extern char *__cxa_demangle(const char *mangled, char *buffer, size_t *length, int *status);

enum {
    NEARLY_ALL = 90,  /* percent of the bytes: a family that has more tells nothing apart */
    WORTH_A_RULE = 1, /* percent of the bytes: families that have less are left out */
    ENOUGH = 50,      /* percent of the bytes that proposals must cover, else the rest may come */
    LONGEST_FAMILY = 100,
};

struct family {
    char *pattern; /* key */
    char *name;
    uint64_t bytes;     /* of all sites that pass through it */
    uint64_t rest;      /* of those that no proposal has yet */
    size_t depth, uses; /* sum of places from the inside; to prefer what is nearer to malloc */
    bool proposed;
    UT_hash_handle hh;
};

/* A call site with the families that it passes through. */
struct passing {
    uint64_t bytes;
    struct family **families;
    size_t count;
    bool taken;
};

struct work {
    struct family *families;
    struct passing *sites;
    size_t site_count;
    uint64_t bytes;
    struct ht_symbol_names *names;
};

/* ---- names ----------------------------------------------------------------------------------- */

/* A function without its parameters, demangled; a new string. NULL where a rule could not be made
 * of it: it has a type before it, or characters that mean something in a glob. */
static char *plain_name(const char *symbol)
{
    int status = -1;
    char *full = strncmp(symbol, "_Z", 2) == 0 ? __cxa_demangle(symbol, NULL, NULL, &status) : NULL;
    char *name = ht_clean(full ? full : symbol, strlen(full ? full : symbol));
    free(full);
    size_t length = strcspn(name, "(<");
    bool fit = length > 0 && length < LONGEST_FAMILY && !memchr(name, ' ', length) &&
               strcspn(name, "*?[]\\'=;") >= length && name[0] != '_' && name[0] != '.';
    if (fit) {
        name[length] = '\0';
        return name;
    }
    free(name);
    return NULL;
}

/* Names that stand for a whole program. */
static bool is_whole(const char *plain, size_t length)
{
    static const char *const whole[] = {"main", "run", "loop", "thread", "worker"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (strlen(whole[i]) == length && strncmp(plain, whole[i], length) == 0)
            return true;
    return false;
}

/*
 * A family of a plain name, two new strings: of "plan::Path::grow" "plan" and "plan::*", and, if
 * `inner`, "Path" and "plan::Path::*"; of "pid_step" "pid" and "pid_*"; else the function itself.
 * False where there is none.
 */
static bool family_of(const char *plain, bool inner, char **name, char **pattern)
{
    const char *scope = strstr(plain, "::"), *begin = plain;
    if (inner && scope) {
        begin = scope + 2;
        scope = strstr(begin, "::");
    }
    if (inner && !scope)
        return false;
    const char *underscore = strchr(plain, '_');
    size_t length = scope        ? (size_t)(scope - begin)
                    : underscore ? (size_t)(underscore - begin)
                                 : strcspn(begin, ".");
    if (length < 2 || is_whole(begin, length))
        return false;
    const char *tail = scope ? "::*" : underscore ? "_*" : begin[length] ? "*" : "";
    *name = ht_format("%.*s", (int)length, begin);
    *pattern = ht_format("%.*s%s", (int)(begin + length - plain), plain, tail);
    return true;
}

/* ---- what passes through whom ---------------------------------------------------------------- */

static void pass(struct work *work, struct passing *site, const char *plain, bool inner,
                 size_t depth)
{
    char *name, *pattern;
    struct family *family;
    if (!family_of(plain, inner, &name, &pattern))
        return;
    HASH_FIND_STR(work->families, pattern, family);
    if (family) {
        free(name);
        free(pattern);
    } else {
        family = ht_allocate_zeroed(1, sizeof *family);
        family->name = name;
        family->pattern = pattern;
        HASH_ADD_KEYPTR(hh, work->families, family->pattern, strlen(family->pattern), family);
    }
    for (size_t i = 0; i < site->count; i++)
        if (site->families[i] == family)
            return;
    site->families = ht_room_for_one(site->families, site->count, sizeof(struct family *));
    site->families[site->count++] = family;
    family->bytes += site->bytes;
    family->depth += depth;
    family->uses++;
}

static bool may_be_blamed(const struct ht_frame *frame)
{
    return frame->module && !(frame->module->flags & (HTL_MODULE_RUNTIME | HTL_MODULE_SKIPPED));
}

static void look_at(struct work *work, const struct ht_site *site, uint64_t bytes)
{
    work->sites = ht_room_for_one(work->sites, work->site_count, sizeof *work->sites);
    struct passing *passing = &work->sites[work->site_count++];
    *passing = (struct passing){.bytes = bytes};
    work->bytes += bytes;
    for (uint32_t i = 0; i < site->stack->frame_count; i++) {
        bool has_file;
        const struct ht_frame *frame = &site->stack->frames[i];
        if (!may_be_blamed(frame))
            continue;
        const struct ht_function function = {
            .name = plain_name(ht_symbol_name(work->names, frame, &has_file))};
        bool counts = function.name && !ht_is_plumbing(frame, &function);
        for (int inner = 0; counts && inner < 2; inner++)
            pass(work, passing, function.name, inner, i);
        free(function.name);
    }
}

/* Live bytes; where nothing is live, all that was allocated. */
static uint64_t weight(const struct ht_profile *p, const struct ht_site *site)
{
    if (site->scoped.allocated_blocks == site->figures.allocated_blocks)
        return 0; /* what scopes own is told apart already */
    return p->live_bytes ? site->live_bytes : site->figures.allocated_bytes;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static void count_rest(struct work *work)
{
    struct family *family, *next;
    HASH_ITER(hh, work->families, family, next)
    family->rest = 0;
    for (size_t i = 0; i < work->site_count; i++)
        for (size_t k = 0; !work->sites[i].taken && k < work->sites[i].count; k++)
            work->sites[i].families[k]->rest += work->sites[i].bytes;
}

static bool is_nearer(const struct family *a, const struct family *b)
{
    return a->depth * b->uses < b->depth * a->uses;
}

static struct family *choose(struct work *work, bool also_nearly_all)
{
    struct family *best = NULL, *family, *next;
    HASH_ITER(hh, work->families, family, next)
    {
        bool all = family->bytes > work->bytes / 100 * NEARLY_ALL;
        if (family->proposed || (all && !also_nearly_all) || family->rest == 0 ||
            family->rest < work->bytes / 100 * WORTH_A_RULE)
            continue;
        if (!best || family->rest > best->rest ||
            (family->rest == best->rest && is_nearer(family, best)))
            best = family;
    }
    return best;
}

/* Takes the sites that pass through a family; their bytes. */
static uint64_t take(struct work *work, struct family *family)
{
    uint64_t bytes = 0;
    family->proposed = true;
    for (size_t i = 0; i < work->site_count; i++) {
        struct passing *site = &work->sites[i];
        for (size_t k = 0; !site->taken && k < site->count; k++)
            if (site->families[k] == family) {
                site->taken = true;
                bytes += site->bytes;
            }
    }
    return bytes;
}

static void add_tag(struct ht_proposals *found, const struct family *family)
{
    found->tags = ht_room_for_one(found->tags, found->tag_count, sizeof *found->tags);
    found->tags[found->tag_count++] =
        (struct ht_proposal){ht_format("%s", family->name), ht_format("%s", family->pattern)};
}

/* Takes families while there is one; how many bytes they cover. */
static uint64_t take_all(struct work *work, size_t most, bool also_nearly_all,
                         struct family **taken, size_t *count)
{
    uint64_t covered = 0;
    struct family *family, *next;
    HASH_ITER(hh, work->families, family, next)
    family->proposed = false;
    for (size_t i = 0; i < work->site_count; i++)
        work->sites[i].taken = false;
    for (*count = 0; *count < most; taken[(*count)++] = family) {
        count_rest(work);
        family = choose(work, also_nearly_all);
        if (!family)
            break;
        covered += take(work, family);
    }
    return covered;
}

static void propose_tags(struct work *work, size_t most, struct ht_proposals *found)
{
    size_t count = 0;
    most = most < HASH_COUNT(work->families) ? most : HASH_COUNT(work->families);
    struct family **taken = ht_allocate_zeroed(most, sizeof *taken);
    if (take_all(work, most, false, taken, &count) <= work->bytes / 100 * ENOUGH)
        take_all(work, most, true, taken, &count);
    for (size_t i = 0; i < count; i++)
        add_tag(found, taken[i]);
    free(taken);
}

/* ---- who makes one --------------------------------------------------------------------------- */

static bool makes_one(const char *plain)
{
    static const char *const words[] = {"create", "new", "make", "construct", "alloc"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *at = strstr(plain, words[i]);
        if (!at)
            continue;
        char before = at == plain ? '_' : at[-1], after = at[strlen(words[i])];
        if ((before == '_' || before == ':') && (after == '\0' || after == '_'))
            return true;
    }
    return false;
}

static void add_construct(struct ht_proposals *found, const char *plain)
{
    const char *owner = NULL;
    for (int inner = 0; makes_one(plain) && inner < 2; inner++) {
        char *name, *pattern;
        if (!family_of(plain, inner, &name, &pattern))
            continue;
        for (size_t i = 0; i < found->tag_count; i++)
            if (strcmp(found->tags[i].pattern, pattern) == 0)
                owner = found->tags[i].name;
        free(name);
        free(pattern);
    }
    for (size_t i = 0; i < found->construct_count; i++)
        if (strcmp(found->constructs[i].pattern, plain) == 0)
            owner = NULL;
    if (!owner)
        return;
    found->constructs =
        ht_room_for_one(found->constructs, found->construct_count, sizeof *found->constructs);
    found->constructs[found->construct_count++] =
        (struct ht_proposal){ht_format("%s", owner), ht_format("%s", plain)};
}

/* Of all call sites, live or not: the innermost function, where it looks like one that makes one.
 */
static void propose_constructs(struct work *work, const struct ht_profile *p,
                               struct ht_proposals *found)
{
    for (size_t i = 0; i < p->tag_count; i++)
        for (size_t k = 0; k < p->tags[i]->site_count; k++) {
            const struct ht_stack *stack = p->tags[i]->sites[k]->stack;
            bool has_file;
            char *plain =
                stack->frame_count && may_be_blamed(&stack->frames[0])
                    ? plain_name(ht_symbol_name(work->names, &stack->frames[0], &has_file))
                    : NULL;
            if (plain)
                add_construct(found, plain);
            free(plain);
        }
}

/* ---- the outside ----------------------------------------------------------------------------- */

struct ht_proposals ht_propose(const struct ht_profile *p, struct ht_symbolizer *symbolizer,
                               size_t most)
{
    struct ht_proposals found = {0};
    struct work work = {.names = ht_symbol_names_new(symbolizer)};
    struct family *family, *next;
    for (size_t i = 0; i < p->tag_count; i++)
        for (size_t k = 0; k < p->tags[i]->site_count; k++) {
            const struct ht_site *site = p->tags[i]->sites[k];
            if (weight(p, site) > 0)
                look_at(&work, site, weight(p, site));
        }
    propose_tags(&work, most, &found);
    propose_constructs(&work, p, &found);
    HASH_ITER(hh, work.families, family, next)
    {
        HASH_DEL(work.families, family);
        free(family->name);
        free(family->pattern);
        free(family);
    }
    for (size_t i = 0; i < work.site_count; i++)
        free(work.sites[i].families);
    free(work.sites);
    ht_symbol_names_free(work.names);
    return found;
}

static void free_list(struct ht_proposal *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i].name);
        free(list[i].pattern);
    }
    free(list);
}

void ht_proposals_clear(struct ht_proposals *proposals)
{
    free_list(proposals->tags, proposals->tag_count);
    free_list(proposals->constructs, proposals->construct_count);
    *proposals = (struct ht_proposals){0};
}
