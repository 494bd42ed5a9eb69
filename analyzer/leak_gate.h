/*
 * run --fail-on-leak: whether the program that has just ended leaked.
 */
#ifndef HEAPTALLY_ANALYZER_LEAK_GATE_H
#define HEAPTALLY_ANALYZER_LEAK_GATE_H

#include <stdint.h>
#include <sys/types.h>

enum ht_gate { HT_GATE_OPEN, HT_GATE_LEAK, HT_GATE_UNKNOWN };

/*
 * Judges the snapshot that the process `pid` wrote, which began not before `since_ns`
 * (CLOCK_MONOTONIC); the latest, where it replaced itself by another program. `pattern` is the
 * --output it ran with. Says in one line on stderr who leaks, what is inconclusive, or why nothing
 * is known: then the answer is HT_GATE_UNKNOWN.
 */
enum ht_gate ht_leak_gate(pid_t pid, uint64_t since_ns, const char *pattern);

/* The path of that file, a new string; NULL where there is none. */
char *ht_find_snapshot(pid_t pid, uint64_t since_ns, const char *pattern);

#endif
