/*
 * Writes a large snapshot file: a controller that ran for a long time, with a tick each second.
 *
 *   make_large FILE TICKS SITES MODULE START SIZE
 *
 * MODULE is an ELF file of this machine, whose code is SIZE bytes at START: the frames lie in it,
 * so that there are symbols to be found. All figures are made from TICKS and SITES alone.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heaptally/crc32c.h"
#include "heaptally/snapshot_format.h"

enum { TAGS = 8, DEPTH = 16, PLACES = 4000, SITES_A_TICK = 4, POINTS = 1000, SITE_PASTS = 100 };

static const uint64_t second = 1000000000, begin = 5000000000;

static FILE *out;
static unsigned char *payload;
static size_t used;
static uint64_t state = 1;

static uint64_t draw(uint64_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % below;
}

static void put(const void *bytes, size_t size)
{
    memcpy(payload + used, bytes, size);
    used += size;
}

static void finish(enum htl_record_type type)
{
    static const char zeros[HTL_ALIGNMENT];
    struct htl_record_header h = {(uint16_t)type, 0, (uint32_t)used, 0, 0};
    h.crc = htl_crc32c(htl_crc32c(0, &h, sizeof h), payload, used);
    fwrite(&h, sizeof h, 1, out);
    fwrite(payload, used, 1, out);
    fwrite(zeros, (HTL_ALIGNMENT - used % HTL_ALIGNMENT) % HTL_ALIGNMENT, 1, out);
    used = 0;
}

static void put_header(void)
{
    static const char exe[] = "/usr/bin/plant", host[] = "rig--";
    struct htl_file_header h = {
        .magic = HTL_MAGIC,
        .version = HTL_VERSION,
        .machine = 62,
        .header_size = sizeof h + 24,
        .pid = 4242,
        .start_realtime_ns = 1700000000 * second,
        .start_monotonic_ns = begin,
        .page_size = 4096,
        .exe_length = 14,
        .host_length = 5,
    };
    char all[sizeof h + 24] = {0};
    memcpy(all, &h, sizeof h);
    memcpy(all + sizeof h, exe, 14);
    memcpy(all + sizeof h + 14, host, 5);
    h.crc = htl_crc32c(0, all, sizeof all);
    memcpy(all, &h, sizeof h);
    fwrite(all, sizeof all, 1, out);
}

static void put_dictionary(uint32_t sites, const char *module, uint64_t start, uint64_t size)
{
    struct htl_module m = {.id = 1, .path_length = (uint16_t)strlen(module), .flags = 1};
    put(&m, sizeof m);
    put(module, m.path_length);
    finish(HTL_MODULE);
    for (uint32_t i = 0; i < TAGS; i++) {
        char name[32];
        struct htl_tag tag = {i, HTL_TAG_RULE, (uint16_t)snprintf(name, sizeof name, "part%u", i)};
        put(&tag, sizeof tag);
        put(name, tag.name_length);
        finish(HTL_TAG);
    }
    for (uint32_t i = 0; i < sites; i++) {
        struct htl_stack stack = {i, 0, DEPTH, sizeof(struct htl_frame)};
        put(&stack, sizeof stack);
        for (int j = 0; j < DEPTH; j++) {
            struct htl_frame frame = {1, 0, start + 1 + draw(PLACES) * (size / PLACES)};
            put(&frame, sizeof frame);
        }
        finish(HTL_STACK);
        struct htl_site site = {i, i, i % TAGS, 0, 0};
        put(&site, sizeof site);
        finish(HTL_SITE);
    }
}

/* What a site has allocated after `t` ticks; one tag grows, the others come and go. */
static struct htl_figures site_at(uint32_t site, uint64_t t)
{
    uint64_t blocks = t * (site % 7 + 1), size = site % 500 + 16;
    uint64_t left = site % TAGS == 0 ? t / 10 : site % 50;
    left = left < blocks ? left : blocks;
    return (struct htl_figures){blocks * size, blocks, (blocks - left) * size, blocks - left};
}

static struct htl_tag_figures tag_at(uint32_t tag, uint64_t t)
{
    struct htl_figures f = site_at(tag, 100 * t);
    uint64_t now = f.allocated_bytes - f.freed_bytes;
    return (struct htl_tag_figures){tag, 0, f, now, now + 1000, tag % 2 ? t : HTL_UNKNOWN, t};
}

static void put_tick(uint64_t t, bool all, uint32_t sites)
{
    uint32_t listed = all ? sites : SITES_A_TICK, tags = all ? TAGS : TAGS / 2;
    struct htl_tick tick = {
        .sequence = t,
        .monotonic_ns = begin + t * second,
        .realtime_ns = (1700000000 + t) * second,
        .rss_bytes = (64u << 20) + 100 * t,
        .own_bytes = 6 << 20,
        .tag_count = tags,
        .tag_size = sizeof(struct htl_tag_figures),
        .site_count = listed,
        .site_size = sizeof(struct htl_site_figures),
    };
    for (uint32_t i = 0; i < TAGS; i++) {
        struct htl_figures f = tag_at(i, t).figures;
        tick.total.allocated_bytes += f.allocated_bytes;
        tick.total.allocated_blocks += f.allocated_blocks;
        tick.total.freed_bytes += f.freed_bytes;
        tick.total.freed_blocks += f.freed_blocks;
    }
    put(&tick, sizeof tick);
    for (uint32_t i = 0; i < tags; i++) {
        struct htl_tag_figures f = tag_at(all ? i : (uint32_t)(t + i) % TAGS, t);
        put(&f, sizeof f);
    }
    for (uint32_t i = 0; i < listed; i++) {
        uint32_t site = all ? i : (uint32_t)draw(draw(2) ? 100 : sites);
        struct htl_site_figures f = {site, 0, site_at(site, t)};
        put(&f, sizeof f);
    }
    finish(all ? HTL_SNAPSHOT : HTL_TICK);
}

static void put_histories(uint64_t ticks)
{
    for (uint32_t subject = 0; subject < TAGS + SITE_PASTS; subject++) {
        bool tag = subject < TAGS;
        uint32_t id = tag ? subject : subject - TAGS;
        struct htl_history head = {id, tag ? 0 : HTL_HISTORY_SITE, POINTS,
                                   sizeof(struct htl_history_point)};
        put(&head, sizeof head);
        for (uint64_t i = 1; i <= POINTS; i++) {
            uint64_t t = i * ticks / POINTS;
            struct htl_figures f = tag ? tag_at(id, t).figures : site_at(id, t);
            struct htl_history_point point = {
                .t_ns = t * second,
                .low_bytes = f.allocated_bytes - f.freed_bytes,
                .high_bytes = f.allocated_bytes - f.freed_bytes,
                .allocated_bytes = f.allocated_bytes,
                .allocated_blocks = f.allocated_blocks,
                .freed_blocks = f.freed_blocks,
                .instantiations = HTL_UNKNOWN,
                .cycles = HTL_UNKNOWN,
            };
            put(&point, sizeof point);
        }
        finish(HTL_HISTORY);
    }
}

int main(int argc, char **argv)
{
    if (argc != 7 || !(out = fopen(argv[1], "wb")))
        return 2;
    uint64_t ticks = strtoul(argv[2], NULL, 0);
    uint32_t sites = (uint32_t)strtoul(argv[3], NULL, 0);
    payload =
        malloc(sizeof(struct htl_tick) + sites * sizeof(struct htl_site_figures) + (1u << 20));
    put_header();
    put_dictionary(sites, argv[4], strtoul(argv[5], NULL, 0), strtoul(argv[6], NULL, 0));
    for (uint64_t t = 1; t <= ticks; t++)
        put_tick(t, false, sites);
    put_tick(ticks, true, sites);
    put_histories(ticks);
    struct htl_end end = {begin + ticks * second, (1700000000 + ticks) * second, HTL_END_EXIT, 0};
    put(&end, sizeof end);
    finish(HTL_END);
    free(payload);
    return ferror(out) | fclose(out) ? 1 : 0;
}
