#include "site_table.h"

#include "capture_ring.h"
#include "tag.h"

struct ht_intern ht_sites = {
    .stride = 1,
    .segments = {{.base = HT_SITE_BASE, .size = HT_SITE_SEGMENT_0},
                 {.base = HT_SITE_BASE_1, .size = HT_SITE_SEGMENT_1},
                 {.base = HT_SITE_BASE_2, .size = HT_SITE_SEGMENT_2},
                 {.base = HT_SITE_BASE_3, .size = HT_SITE_SEGMENT_3}},
};
_Static_assert(HT_SITE_LIMIT < 1u << 20, "a site id fits the seal");

uint32_t ht_site_fallback(uintptr_t pc, uint32_t tag)
{
    if (ht_frame_is_in_doubt(pc))
        return tag;
    uint32_t frame = ht_frame_intern(pc);
    if (frame == HT_INTERN_FULL)
        return ht_site_intern(HT_INTERN_FULL, tag);
    return ht_site_intern(ht_stack_alone(HT_STACK_FALLBACK, frame), tag);
}

bool ht_site_exists(uint32_t site)
{
    if (!ht_sites.segments[0].slots)
        return false;
    if (site < HT_TAGS)
        return site == 0 || ht_tag(site);
    if (site < HT_SITE_BASE)
        return ht_provisional_tags[site - HT_PROVISIONAL_BASE] != 0;
    for (unsigned s = 0; s < HT_INTERN_SEGMENTS && ht_sites.segments[s].slots; s++)
        if (site - ht_sites.segments[s].base < ht_sites.segments[s].size)
            return ht_intern_key(&ht_sites, site) != 0;
    return false;
}

bool ht_site_begin(void)
{
    return ht_totals_lay(HT_RANGE_TAGS) && ht_totals_lay(HT_RANGE_PROVISIONAL) &&
           ht_totals_lay(HT_RANGE_SITES) && ht_intern_begin(&ht_frames) &&
           ht_intern_begin(&ht_stacks) && ht_intern_begin(&ht_sites);
}

void ht_site_grow(void)
{
    ht_intern_grow(&ht_frames);
    ht_intern_grow(&ht_stacks);
    /* The totals of a segment must be there before any of its ids is. */
    if (ht_intern_wants_room(&ht_sites) &&
        ht_totals_lay(HT_RANGE_SITES + ht_intern_segments(&ht_sites)))
        ht_intern_grow(&ht_sites);
    ht_memo_rooms_grow(ht_intern_used(&ht_sites));
}
