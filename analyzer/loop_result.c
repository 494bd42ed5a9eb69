/*
 * What came of a run. Bytes per step are of the last four fifths of the steps, from exact live
 * bytes: what the first steps allocate once is left out, and so is what destroy gives back.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "heaptally/alert_kinds.h"
#include "heaptally/units.h"
#include "json_parts.h"
#include "loop.h"
#include "rss_trend.h"
#include "text.h"
#include "verdict.h"

struct row {
    const struct ht_tag *tag;
    struct ht_verdict verdict;
    double bytes_per_step; /* NaN where unknown */
};

struct ht_loop_result {
    const struct ht_loop_plan *plan;
    const struct ht_loop_record *record;
    const struct ht_profile *profile;
    struct row *rows; /* the controller's own first, then by bytes per step */
    size_t row_count;
    uint64_t alerts;
    double final_mb, growth_mb; /* NaN where unknown */
    struct ht_rss_trend trend;
    bool passed;
};

/* Whether there was a tick while the controller rested, which `*t_ns` then is the end of. */
static bool has_tick(const struct ht_profile *p, const struct ht_loop_rest *rest, uint64_t *t_ns)
{
    uint64_t start = p->start.start_monotonic_ns;
    if (rest->from_ns < start || rest->to_ns < start)
        return false;
    uint64_t from = rest->from_ns - start;
    *t_ns = rest->to_ns - start;
    for (size_t i = 0; i < p->process.count; i++)
        if (p->process.points[i].t_ns >= from && p->process.points[i].t_ns <= *t_ns)
            return true;
    return false;
}

/* Live bytes at a moment: the past has a point wherever they changed. */
static double live_at(const struct ht_tag *tag, uint64_t t_ns)
{
    double live = 0;
    for (size_t i = 0; i < tag->past.count && tag->past.points[i].t_ns <= t_ns; i++)
        live = (double)tag->past.points[i].high_bytes;
    return live;
}

static int by_weight(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    bool known_x = !isnan(x->bytes_per_step), known_y = !isnan(y->bytes_per_step);
    if (known_x && known_y && x->bytes_per_step != y->bytes_per_step)
        return x->bytes_per_step < y->bytes_per_step ? 1 : -1;
    if (known_x != known_y)
        return known_x ? -1 : 1;
    return strcmp(x->tag->name, y->tag->name);
}

static void judge_rows(struct ht_loop_result *r)
{
    const struct ht_profile *p = r->profile;
    const struct ht_tag *own = NULL;
    for (size_t i = 0; i < p->tag_count; i++)
        if (strcmp(p->tags[i]->name, r->record->tag) == 0)
            own = p->tags[i];
    const struct ht_loop_record *record = r->record;
    uint64_t from_ns, to_ns, steps = record->done - record->mark;
    bool known = steps > 0 && has_tick(p, &record->rests[0], &from_ns) &&
                 has_tick(p, &record->rests[1], &to_ns);
    r->rows = ht_allocate_zeroed(p->tag_count + 1, sizeof *r->rows);
    for (size_t i = 0; i < p->tag_count; i++) {
        struct row *row = &r->rows[r->row_count++];
        row->tag = p->tags[i];
        ht_verdict_of_tag(p, row->tag, &row->verdict);
        row->bytes_per_step =
            known ? (live_at(row->tag, to_ns) - live_at(row->tag, from_ns)) / (double)steps : NAN;
    }
    if (r->row_count > 1)
        qsort(r->rows, r->row_count, sizeof *r->rows, by_weight);
    for (size_t i = 1; i < r->row_count; i++)
        if (r->rows[i].tag == own) {
            struct row row = r->rows[i];
            memmove(r->rows + 1, r->rows, i * sizeof row);
            r->rows[0] = row;
        }
}

struct ht_loop_result *ht_loop_judge(const struct ht_loop_plan *plan,
                                     const struct ht_loop_record *record,
                                     const struct ht_profile *profile)
{
    struct ht_loop_result *r = ht_allocate_zeroed(1, sizeof *r);
    bool known = record->rss_start != HTL_UNKNOWN && record->rss_end != HTL_UNKNOWN;
    r->plan = plan;
    r->record = record;
    r->profile = profile;
    r->final_mb = known ? (double)record->rss_end / (double)HT_MB : NAN;
    r->growth_mb = known ? r->final_mb - (double)record->rss_start / (double)HT_MB : NAN;
    for (size_t i = 0; i < profile->alert_count; i++) {
        const struct htl_alert *alert = &profile->alerts[i].head;
        r->alerts += alert->kind == HEAPTALLY_ALERT_RSS_GROWTH && alert->state != 2;
    }
    ht_rss_trend(profile, &r->trend);
    judge_rows(r);
    r->passed = record->state == HT_LOOP_RAN && !(r->growth_mb >= HT_LOOP_GROWTH_MB);
    for (size_t i = 0; i < r->row_count; i++)
        if (r->rows[i].verdict.kind == HT_VERDICT_LEAK)
            r->passed = false;
    return r;
}

void ht_loop_result_free(struct ht_loop_result *r)
{
    if (!r)
        return;
    free(r->rows);
    free(r);
}

bool ht_loop_passed(const struct ht_loop_result *r)
{
    return r->passed;
}

/* ---- forms ----------------------------------------------------------------------------------- */

static const char *one_place(double value)
{
    return isnan(value) ? "-" : ht_grouped_real(value, 1);
}

void ht_loop_write_text(const struct ht_loop_result *r, FILE *out)
{
    fprintf(out, "%s: %s, %s\n", r->plan->controller, r->passed ? "passed" : "NOT PASSED",
            ht_counted(r->record->done, "iteration"));
    fprintf(out, "  memory     %s MB resident, %s MB growth (below %s passes), %s MB/hour\n",
            ht_grouped_real(r->final_mb, 2), ht_grouped_real(r->growth_mb, 2),
            ht_grouped_real(HT_LOOP_GROWTH_MB, 0), ht_grouped_real(r->trend.mb_per_hour, 2));
    fprintf(out, "  alerts     %s above %s MB of growth\n\n", ht_grouped(r->alerts),
            ht_grouped_real(HT_LOOP_THRESHOLD_MB, 0));
    fprintf(out, "CONTROLLER            BYTES/STEP    LIVE BYTES  VERDICT\n");
    for (size_t i = 0; i < r->row_count; i++) {
        const struct row *row = &r->rows[i];
        char *name = ht_elide(row->tag->name, 20);
        fprintf(out, "%s%*s  %10s  %12s  %s: %s\n", name, (int)(20 - ht_columns(name)), "",
                one_place(row->bytes_per_step), ht_grouped(row->tag->live_bytes),
                ht_verdict_name(row->verdict.kind), row->verdict.reason);
        free(name);
    }
    fprintf(out, "\n'heaptally report %s' says where\n", r->profile->file);
}

static json_t *row_object(const struct row *row)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:o}", "tag", row->tag->name, "bytes_per_step",
                     ht_json_real(row->bytes_per_step), "live_bytes",
                     ht_json_number(row->tag->live_bytes), "live_blocks",
                     ht_json_number(row->tag->live_blocks), "verdict",
                     ht_verdict_name(row->verdict.kind), "reason", row->verdict.reason, "cycles",
                     ht_json_number(row->tag->latest.cycles));
}

void ht_loop_write_json(const struct ht_loop_result *r, FILE *out)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < r->row_count; i++)
        json_array_append_new(rows, row_object(&r->rows[i]));
    json_t *object = json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:s, s:o}", "schema",
        "heaptally-loop/1", "controller", ht_json_text(r->plan->controller), "iterations",
        ht_json_number(r->record->done), "alerts", ht_json_number(r->alerts), "final_memory_mb",
        ht_json_real(r->final_mb), "growth_mb", ht_json_real(r->growth_mb),
        "growth_rate_mb_per_hour", ht_json_real(r->trend.mb_per_hour), "passed", r->passed,
        "cleanup_interval", ht_json_number(r->plan->cleanup_interval), "seed",
        ht_json_number(r->plan->seed), "snapshot", r->profile->file, "controllers", rows);
    json_dumpf(object, out, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    putc('\n', out);
    json_decref(object);
}
