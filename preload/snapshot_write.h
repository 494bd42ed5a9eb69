/*
 * Writing the snapshot file (heaptally/snapshot_format.h): one buffer, one write a tick, so that a
 * process that is killed loses at most the tick it was in.
 *
 * The descriptor is kept at a high number, and before each write it is checked to be still our
 * file: a program may close every descriptor it finds and open others. If it is gone, the file is
 * opened again by name, and only the same file is accepted.
 *
 * A write that fails (no space, file size limit) is undone by truncating to the last whole record;
 * the tick is dropped, counted, and the next one is tried in full. Where a tick would pass the cap,
 * a new one is written from memory (dictionary, thinned histories, all figures) and renamed over
 * it.
 *
 * Threads: the monitor only, or who stands in for it.
 */
#ifndef HEAPTALLY_SNAPSHOT_WRITE_H
#define HEAPTALLY_SNAPSHOT_WRITE_H

#include <stdbool.h>
#include <stdint.h>

/* Remembers the working directory, which the program may leave before the file is opened. */
void ht_snapshot_begin(void);

/* Starts counting time and opens the file that the settings name. False, said once, where no place
 * can be written to: then ticks go nowhere. */
bool ht_snapshot_open(void);

/* Appends stacks that no tick has listed yet, where very many wait: those of sites that the last
 * look has seen, some at a time, and as long as less than three quarters of the file are taken. */
void ht_snapshot_ahead(void);

/* Appends a tick with what changed. `final`: all figures, and the end record with `reason`. */
void ht_snapshot_tick(bool final, uint32_t end_reason);

/* When the file was begun, CLOCK_MONOTONIC: its histories count their time from then. */
uint64_t ht_snapshot_start_ns(void);

/* Trends begin anew, since counting had been stopped or the warm-up is another: the next tick says
 * so. */
void ht_snapshot_resumed(void);

/* Writes the settings once more, with the next tick: they have changed. */
void ht_snapshot_settings(void);

/* Appends all figures. False where there is no file, or it cannot be written. */
bool ht_snapshot_all(void);

/* fdatasync, where something was written since the last. */
void ht_snapshot_sync(void);

/* In the child of a fork: forgets the parent's file. */
void ht_snapshot_forget(void);

/* Path of the file, "" without one. */
const char *ht_snapshot_path(void);

#endif
