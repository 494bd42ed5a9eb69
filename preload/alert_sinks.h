/*
 * Where alerts are written to: a log line on stderr or to syslog, and files of JSON lines.
 *
 * The log line, one for each event:
 *
 *   heaptally: WARNING leak classical +2.1 MB/h [1.9, 2.3], 41 MB live, limit in 9 d: history_push
 *   (libplan.so+0x1f3c); heaptally report FILE
 *
 * A file of JSON lines has one object an event, with the keys of the report's alerts and those of
 * the process. It is made with mode 0600, a symlink is not followed, and nothing but a regular file
 * of our own is written to; at 4 MB it is renamed to FILE.1 and begun anew.
 *
 * Nothing here waits: a pipe or a log that is full loses the line. No descriptor is kept, since
 * programs close what they do not know. Threads: the monitor, or who holds the gate.
 */
#ifndef HEAPTALLY_ALERT_SINKS_H
#define HEAPTALLY_ALERT_SINKS_H

#include "alert.h"

/* Takes the items of --alert-log: stderr, syslog, or a file. The text must live for ever. */
void ht_alert_sinks_begin(const char *items);

/* The snapshot file that log lines name; the text must live for ever and may change. */
void ht_alert_sinks_name_file(const char *path);

void ht_alert_sinks_write(const struct ht_alert *alert);

#endif
