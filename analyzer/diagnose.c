/*
 * The course is from the first tick that knows resident memory to the last. Figures at the end of
 * the process are taken as they are: what was freed then and is still resident was retained.
 */
#include "diagnose.h"

#include "heaptally/diagnosis.h"
#include "text.h"
#include "verdict.h"

/* When the first and the last look at resident memory were; false where there are no two. */
static bool stretch(const struct ht_profile *p, uint64_t *from)
{
    size_t looks = 0;
    for (size_t i = 0; i < p->process.count; i++) {
        if (p->process.points[i].high_bytes == HTL_UNKNOWN)
            continue;
        if (looks++ == 0)
            *from = p->process.points[i].t_ns;
    }
    return looks >= 2;
}

/* What a tag held at `t`: what its last point up to then says, 0 before the first. */
static double held_at(const struct ht_tag *tag, uint64_t t)
{
    double held = 0;
    for (size_t i = 0; i < tag->past.count && tag->past.points[i].t_ns <= t; i++)
        held = (double)tag->past.points[i].high_bytes;
    return held;
}

char *ht_diagnosis_of(const struct ht_profile *p)
{
    uint64_t from = 0;
    if (!stretch(p, &from))
        return NULL;
    struct ht_memory_course course = {
        .resident_before = (double)p->rss_baseline,
        .resident_now = (double)p->rss_last,
        .live_now = (double)p->live_bytes,
        .live_blocks = (double)p->live_blocks,
    };
    for (size_t i = 0; i < p->tag_count; i++) {
        const struct ht_tag *tag = p->tags[i];
        struct ht_verdict verdict;
        ht_verdict_of_tag(p, tag, &verdict);
        course.leak |= verdict.kind == HT_VERDICT_LEAK;
        course.live_before += held_at(tag, from);
        course.live_peak += (double)tag->peak_bytes; /* together no less than the peak of all */
    }
    char text[200];
    ht_diagnosis_say(&course, text, sizeof text);
    return ht_format("%s", text);
}
