/*
 * The kinds of alerts, once: the snapshot's alert records, the log and the reports share them. The
 * numbers are part of the snapshot format; new kinds go to the end.
 */
#ifndef HEAPTALLY_ALERT_KINDS_H
#define HEAPTALLY_ALERT_KINDS_H

#define HEAPTALLY_ALERT_KINDS(X)                                                                   \
    X(RSS_GROWTH, 1, "rss_growth")   /* resident memory grew past its threshold */                 \
    X(HEAP_GROWTH, 2, "heap_growth") /* live heap grew past its threshold */                       \
    X(TAG_GROWTH, 3, "tag_growth")   /* one tag grew past its threshold */                         \
    X(PER_1000, 4, "per_1000")       /* a tag is above the limit per 1000 instantiations */        \
    X(LEAK, 5, "leak")               /* a verdict: keeps growing after warm-up */                  \
    X(NO_ALLOC, 6, "no_alloc")       /* an allocation where the program promised none */           \
    X(TRIM_HINT, 7, "trim_hint")     /* memory could be given back by trimming */

#define HEAPTALLY_ALERT_ENUM(id, value, name) HEAPTALLY_ALERT_##id = value,
enum heaptally_alert_kind { HEAPTALLY_ALERT_KINDS(HEAPTALLY_ALERT_ENUM) };
#undef HEAPTALLY_ALERT_ENUM

#endif
