/*
 * How a watched process is talked to while it runs: what `heaptally status PID` and its kin send,
 * and what the monitor thread answers.
 *
 * Where. Each watched process listens on a Unix stream socket DIRECTORY/PID.sock, mode 0600, with
 * the number that it has in its own pid namespace. Where a process of another namespace with the
 * same number listens there already, it is the first of PID-2.sock to PID-9.sock that is free. The
 * directory is the first of htc_directory's places that the process can use; where
 * HEAPTALLY_RUNDIR names one, only that. A directory must be a real one (no symbolic link), belong
 * to the process's user or to root, and be closed to writing by others unless it is sticky. User 0
 * and the process's own user may connect, which the process checks by the peer's credentials;
 * another is told so at once, perhaps before its request has come, and the connection is closed.
 * A socket that nobody listens on is left over from a process that was killed; who finds one
 * (connecting is refused) may remove it.
 *
 * What. The client sends a request: one line, "COMMAND[ ARGUMENT]\n", at most HTC_REQUEST_MAX bytes
 * with its newline, no NUL. It gets one answer:
 *
 *     heaptally/1 ok LENGTH\n       then LENGTH bytes: text or JSON, see HTC_COMMANDS
 *     heaptally/1 error MESSAGE\n   one line for people; nothing was done
 *
 * and may send the next request on the same connection. A request that is not understood costs the
 * connection. The process keeps at most HTC_CLIENTS connections; where more come, the one that has
 * been idle for longest is closed. It is answered between two pieces of the monitor's work: mostly
 * at once, at the latest when a look at all counters is done.
 */
#ifndef HEAPTALLY_CONTROL_PROTOCOL_H
#define HEAPTALLY_CONTROL_PROTOCOL_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#define HTC_GREETING    "heaptally/1 "
#define HTC_SUFFIX      ".sock"
#define HTC_TWINS       9u /* processes of one number that find room in one directory */
#define HTC_REQUEST_MAX 512u
#define HTC_ANSWER_MAX  (4u << 20)
#define HTC_CLIENTS     8u

#define HTC_STATUS_SCHEMA "heaptally-status/1"

/* clang-format off */
/*    id              word              argument      answer */
#define HTC_COMMANDS(X)                                                                            \
    X(STATUS,         "status",         "",           "JSON, " HTC_STATUS_SCHEMA)                  \
    X(CHECK,          "check",          "",           "the standing alert in one line, or nothing") \
    X(TREND,          "trend",          "[TAG]",      "JSON: the plain trend of resident memory, or of a tag") \
    X(REPORT,         "report",         "",           "text: the memory report, then a line for each controller") \
    X(TRACKER,        "tracker",        "",           "JSON: instantiations and MB per 1000 of them") \
    X(LEAKS,          "leaks",          "[MB]",       "JSON: who is above MB per 1000 instantiations") \
    X(SNAPSHOT,       "snapshot",       "",           "the path of the file that holds all figures now") \
    X(RESET_BASELINE, "reset-baseline", "",           "the new baseline in one line")              \
    X(START,          "start",          "",           "one line")                                  \
    X(STOP,           "stop",           "",           "one line")                                  \
    X(SET,            "set",            "KEY=VALUE",  "the value in force in one line")
/* clang-format on */

#define HTC_COMMAND_ENUM(id, ...) HTC_##id,
enum htc_command { HTC_COMMANDS(HTC_COMMAND_ENUM) HTC_COMMAND_COUNT };
#undef HTC_COMMAND_ENUM

static inline const char *htc_command_word(enum htc_command command)
{
#define HTC_COMMAND_WORD(id, word, argument, answer) [HTC_##id] = word,
    static const char *const words[HTC_COMMAND_COUNT] = {HTC_COMMANDS(HTC_COMMAND_WORD)};
#undef HTC_COMMAND_WORD
    return words[command];
}

/* The path of the socket of process `pid` in a directory; `twin` from 1 to HTC_TWINS. False where
 * `out` is too small. */
static inline bool htc_socket_path(const char *directory, long pid, unsigned twin, char *out,
                                   size_t size)
{
    int length = twin > 1 ? snprintf(out, size, "%s/%ld-%u" HTC_SUFFIX, directory, pid, twin)
                          : snprintf(out, size, "%s/%ld" HTC_SUFFIX, directory, pid);
    return length > 0 && (size_t)length < size;
}

/* Whether a file's name is one that a socket may have. */
static inline bool htc_is_socket_name(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    const char *rest = name + digits;
    if (rest[0] == '-' && rest[1] >= '2' && rest[1] <= '0' + (int)HTC_TWINS)
        rest += 2;
    return digits > 0 && strcmp(rest, HTC_SUFFIX) == 0;
}

/* Where sockets may be, in the order in which a process tries them. */
enum htc_place { HTC_RUNDIR, HTC_SYSTEM, HTC_SESSION, HTC_TEMPORARY, HTC_PLACES };

/*
 * The directory of a place for processes of `user`. `rundir` and `session` are what
 * HEAPTALLY_RUNDIR and XDG_RUNTIME_DIR say, or NULL. False where there is none: the variable is
 * not an absolute path, or `out` is too small.
 */
static inline bool htc_directory(enum htc_place place, const char *rundir, const char *session,
                                 uid_t user, char *out, size_t size)
{
    int length = -1;
    if (place == HTC_RUNDIR && rundir && rundir[0] == '/')
        length = snprintf(out, size, "%s", rundir);
    else if (place == HTC_SYSTEM)
        length = snprintf(out, size, "/run/heaptally");
    else if (place == HTC_SESSION && session && session[0] == '/')
        length = snprintf(out, size, "%s/heaptally", session);
    else if (place == HTC_TEMPORARY)
        length = snprintf(out, size, "/tmp/heaptally-%u", (unsigned)user);
    return length > 0 && (size_t)length < size;
}

#endif
