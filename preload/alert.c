#include "alert.h"

#include <stddef.h>

#include "alert_sinks.h"
#include "internal_heap.h"

static struct ht_alert *kept; /* event n is at n % HT_ALERTS_KEPT; NULL before the first */
static uint64_t count;
static void (*subscriber)(const struct ht_alert *alert);

const char *ht_alert_kind_name(uint32_t kind)
{
#define NAME(id, value, name) [value] = name,
    static const char *const names[] = {HEAPTALLY_ALERT_KINDS(NAME)};
#undef NAME
    const char *name = kind < sizeof names / sizeof *names ? names[kind] : NULL;
    return name ? name : "unknown";
}

const char *ht_alert_state_name(uint32_t state)
{
    static const char *const names[] = {"enter", "escalate", "clear"};
    return names[state];
}

const char *ht_alert_severity_name(uint32_t severity)
{
    static const char *const names[] = {"info", "warning", "critical"};
    return names[severity];
}

void ht_alert_begin(const struct ht_settings *settings)
{
    ht_alert_sinks_begin(settings->text[HT_OPT_ALERT_LOG]);
}

void ht_alert_emit(struct ht_alert *alert)
{
    alert->number = ++count;
    if (!kept)
        kept = ht_heap_alloc(HT_ALERTS_KEPT * sizeof *kept, 16);
    if (kept) /* without memory it is told all the same */
        kept[count % HT_ALERTS_KEPT] = *alert;
    ht_alert_sinks_write(alert);
    if (subscriber)
        subscriber(alert);
}

uint64_t ht_alert_count(void)
{
    return count;
}

const struct ht_alert *ht_alert(uint64_t number)
{
    if (!kept || number == 0 || number > count || count - number >= HT_ALERTS_KEPT)
        return NULL;
    const struct ht_alert *alert = &kept[number % HT_ALERTS_KEPT];
    return alert->number == number ? alert : NULL;
}

void ht_alert_subscribe(void (*hook)(const struct ht_alert *alert))
{
    subscriber = hook;
}

void ht_alert_forget(void)
{
    count = 0;
}
