/*
 * What the monitor answers to requests from outside (heaptally/control_protocol.h).
 *
 * Threads: the monitor, or who holds the gate.
 */
#ifndef HEAPTALLY_ANSWERS_H
#define HEAPTALLY_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

#include "text_out.h"

/* Begins to count the time that `status` tells. Once, at start, and in the child of a fork. */
void ht_answers_begin(void);

/* Carries out a request, one line without its newline, and puts the answer into `out`. False, with
 * one line in `error`, where it is none or cannot be done. */
bool ht_answer(const char *request, struct ht_out *out, char *error, size_t error_size);

/* What a thread of the program may have the monitor do (ht_monitor_request): it may take more stack
 * than that thread has. */
enum ht_job { HT_JOB_SNAPSHOT, HT_JOB_START, HT_JOB_STOP, HT_JOBS };

/* Does it: 0 or -errno. */
int ht_carry_out(enum ht_job job);

#endif
