/*
 * Talking to a running process through its control socket (heaptally/control_protocol.h): finding
 * it, making sure who answers, asking, and saying in one line why that did not work.
 *
 * The process is trusted no further than its user: an answer has a limit, and whoever listens must
 * be the process itself, by the credentials the kernel gives.
 */
#ifndef HEAPTALLY_ANALYZER_CONTROL_CLIENT_H
#define HEAPTALLY_ANALYZER_CONTROL_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ht_client {
    pid_t pid;
    int fd;           /* -1: not connected */
    long patience_ms; /* how long an answer may take; 0: the standard, 10 s */
};

/* Reads a process id from the command line; false after a message that names `command`. */
bool ht_client_read_pid(const char *command, const char *text, pid_t *pid);

/* The same for `count` of them: a new array, or false after a message on the first that is none. */
bool ht_client_read_pids(const char *command, int count, char **texts, pid_t **pids);

/*
 * Connects to process `pid`: true, or false with `*error` (a new string: what is wrong and how to
 * mend it, without the pid).
 */
bool ht_client_open(struct ht_client *client, pid_t pid, char **error);

/*
 * Sends a request and waits for its answer, as long as patience lasts: a new NUL-terminated string
 * of
 * `*length` bytes (may be NULL), or NULL with `*error`. Connects again where the connection was
 * lost.
 */
char *ht_client_ask(struct ht_client *client, const char *request, size_t *length, char **error);

/* The same where the answer is JSON: a new reference. */
json_t *ht_client_ask_json(struct ht_client *client, const char *request, char **error);

void ht_client_close(struct ht_client *client);

/* Called with the pid of a process that listens. */
typedef void ht_client_visitor(pid_t pid, void *context);

/*
 * Visits all watched processes whose sockets this user can see, by rising pid, each once. Sockets
 * that nobody listens on any more are removed; how many were is returned.
 */
size_t ht_client_each(ht_client_visitor *visit, void *context);

#endif
