/*
 * Which limit a growing process will meet first, and how many bytes are left until then: a
 * threshold of the user's, memory.max of its control group (version 2, or limit_in_bytes of version
 * 1) or of a group around it, RLIMIT_AS, or the memory that the machine has available.
 *
 * What the kernel can take back by itself (inactive file pages of the group) counts as left.
 * Threads: the monitor only. Some file reads each time: not for every tick.
 */
#ifndef HEAPTALLY_NEAREST_LIMIT_H
#define HEAPTALLY_NEAREST_LIMIT_H

#include <stdint.h>

#define HT_LIMITS(X)                                                                               \
    X(NONE, "none")                                                                                \
    X(THRESHOLD, "threshold")                                                                      \
    X(CGROUP, "cgroup memory.max")                                                                 \
    X(ADDRESS_SPACE, "RLIMIT_AS")                                                                  \
    X(AVAILABLE, "available memory")

#define HT_LIMIT_ENUM(id, name) HT_LIMIT_##id,
enum ht_limit_kind { HT_LIMITS(HT_LIMIT_ENUM) HT_LIMIT_KINDS };
#undef HT_LIMIT_ENUM

struct ht_limit {
    enum ht_limit_kind kind;
    uint64_t room; /* bytes left below it; 0 also where it is passed already */
};

const char *ht_limit_name(enum ht_limit_kind kind);

/* One of the limits that the system sets (not the threshold): HT_LIMIT_NONE where it is not set, or
 * cannot be read. `root` as below. */
struct ht_limit ht_limit_of(enum ht_limit_kind kind, const char *root);

/* The least of the limits that the system sets. `root` is put before every path ("" outside of
 * tests). HT_LIMIT_NONE where there is none that can be read. */
struct ht_limit ht_limit_of_system(const char *root);

/* The nearer of two limits; HT_LIMIT_NONE is the farthest. */
struct ht_limit ht_limit_nearer(struct ht_limit a, struct ht_limit b);

#endif
