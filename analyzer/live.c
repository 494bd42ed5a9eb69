#include "live.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "heaptally/control_protocol.h"
#include "text.h"

static double number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static char *string_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? ht_clean(json_string_value(value), json_string_length(value))
                                 : ht_format("%s", "");
}

static void take_tag(struct ht_live_tag *tag, const json_t *object)
{
    tag->name = string_of(object, "tag");
    tag->verdict = string_of(object, "verdict");
    tag->reason = string_of(object, "reason");
    tag->live_bytes = number_of(object, "live_bytes");
    tag->live_blocks = number_of(object, "live_blocks");
    tag->peak_bytes = number_of(object, "peak_bytes");
    tag->allocated_bytes = number_of(object, "allocated_bytes");
    tag->instantiations = number_of(object, "instantiations");
    tag->mb_per_1000 = number_of(object, "mb_per_1000");
    tag->cycles = number_of(object, "cycles");
    tag->mb_per_hour = number_of(object, "growth_rate_mb_per_hour");
    tag->ci_low = number_of(object, "ci_low");
    tag->ci_high = number_of(object, "ci_high");
    tag->seconds_to_limit = number_of(object, "seconds_to_limit");
    tag->growth_mb = number_of(object, "growth_mb");
    tag->threshold_mb = number_of(object, "threshold_mb");
}

static void free_tag(struct ht_live_tag *tag)
{
    free(tag->name);
    free(tag->verdict);
    free(tag->reason);
}

static void take_alert(struct ht_live_alert *alert, const json_t *object)
{
    alert->kind = string_of(object, "kind");
    alert->state = string_of(object, "state");
    alert->severity = string_of(object, "severity");
    alert->tag = string_of(object, "tag");
    alert->message = string_of(object, "message");
    alert->number = number_of(object, "number");
    alert->time = number_of(object, "time");
}

int ht_live_rank(const char *verdict)
{
    /* As in reports: what leaks first, then what may. */
    static const char *const order[] = {"bounded", "invalid", "inconclusive", "leak"};
    for (int i = 0; i < (int)(sizeof order / sizeof *order); i++)
        if (strcmp(verdict, order[i]) == 0)
            return i + 1;
    return 0;
}

static int by_urgency(const void *a, const void *b)
{
    const struct ht_live_tag *x = a, *y = b;
    int rank = ht_live_rank(y->verdict) - ht_live_rank(x->verdict);
    if (rank)
        return rank;
    if (x->live_bytes != y->live_bytes)
        return x->live_bytes < y->live_bytes ? 1 : -1;
    return strcmp(x->name, y->name);
}

static void take_all(struct ht_live *live, const json_t *root)
{
    const json_t *process = json_object_get(root, "process");
    const json_t *memory = json_object_get(root, "memory");
    const json_t *tags = json_object_get(root, "controllers");
    const json_t *alerts = json_object_get(root, "alerts");
    live->exe = string_of(process, "exe");
    live->host = string_of(process, "host");
    live->state = string_of(process, "state");
    live->snapshot = string_of(process, "snapshot");
    live->log = string_of(process, "log");
    live->log_lines_lost = number_of(process, "log_lines_lost");
    live->user = number_of(process, "user");
    live->duration_s = number_of(process, "duration_s");
    live->interval_s = number_of(process, "interval_s");
    take_tag(&live->memory, memory);
    live->rss_mb = number_of(memory, "rss_mb");
    live->baseline_mb = number_of(memory, "baseline_mb");
    live->live_bytes = number_of(memory, "live_bytes");
    live->live_blocks = number_of(memory, "live_blocks");
    live->own_bytes = number_of(memory, "own_bytes");
    live->tag_count = json_array_size(tags);
    live->tags = ht_allocate_zeroed(live->tag_count + 1, sizeof *live->tags);
    for (size_t i = 0; i < live->tag_count; i++)
        take_tag(&live->tags[i], json_array_get(tags, i));
    qsort(live->tags, live->tag_count, sizeof *live->tags, by_urgency);
    live->alert_count = json_array_size(alerts);
    live->alerts = ht_allocate_zeroed(live->alert_count + 1, sizeof *live->alerts);
    for (size_t i = 0; i < live->alert_count; i++)
        take_alert(&live->alerts[i], json_array_get(alerts, i));
}

struct ht_live *ht_live_ask(struct ht_client *client, char **error)
{
    json_t *root = ht_client_ask_json(client, htc_command_word(HTC_STATUS), error);
    if (!root)
        return NULL;
    const char *schema = json_string_value(json_object_get(root, "schema"));
    struct ht_live *live = NULL;
    if (schema && strcmp(schema, HTC_STATUS_SCHEMA) == 0) {
        live = ht_allocate_zeroed(1, sizeof *live);
        live->pid = client->pid;
        take_all(live, root);
    } else {
        *error = ht_format("gave an answer of another kind; is it another version of heaptally?");
    }
    json_decref(root);
    return live;
}

void ht_live_free(struct ht_live *live)
{
    if (!live)
        return;
    for (size_t i = 0; i < live->tag_count; i++)
        free_tag(&live->tags[i]);
    for (size_t i = 0; i < live->alert_count; i++) {
        struct ht_live_alert *alert = &live->alerts[i];
        free(alert->kind);
        free(alert->state);
        free(alert->severity);
        free(alert->tag);
        free(alert->message);
    }
    free_tag(&live->memory);
    free(live->tags);
    free(live->alerts);
    free(live->exe);
    free(live->host);
    free(live->state);
    free(live->snapshot);
    free(live->log);
    free(live);
}
