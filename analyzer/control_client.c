#include "control_client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "heaptally/control_protocol.h"
#include "text.h"

enum {
    PATIENCE_MS = 10000,
    REFUSED_MS = 3000,
    PAUSE_MS = 20,
    ENVIRONMENT_MAX = 1 << 20,
    MOST_DIRECTORIES = 512
};

static long now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (long)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* ---- what /proc says of a process -------------------------------------------------------------
 */

/* A whole small file, a new string; NULL where it cannot be read. */
static char *read_whole(const char *path, size_t *length)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *text = ht_allocate(ENVIRONMENT_MAX);
    *length = fread(text, 1, ENVIRONMENT_MAX - 1, file);
    text[*length] = '\0';
    fclose(file);
    return text;
}

/* The last number of a line. */
static long last_number(const char *line)
{
    long number = 0;
    char *end;
    for (const char *at = line; *at && *at != '\n'; at = end) {
        long next = strtol(at, &end, 10);
        if (end == at)
            break;
        number = next;
        while (*end == ' ' || *end == '\t')
            end++;
    }
    return number;
}

/* The user that a process runs as, and its number in its own pid namespace; false if there is no
 * such process. */
static bool look_up(pid_t pid, uid_t *user, pid_t *inner)
{
    char path[64];
    size_t length;
    unsigned effective;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    char *text = read_whole(path, &length);
    const char *line = text ? strstr(text, "\nUid:") : NULL;
    bool found = line && sscanf(line, "\nUid: %*u %u", &effective) == 1;
    const char *numbers = found ? strstr(text, "\nNSpid:") : NULL;
    if (found) {
        *user = effective;
        *inner = numbers ? (pid_t)last_number(numbers + strlen("\nNSpid:")) : pid;
    }
    free(text);
    return found;
}

/* A variable that the process was started with, a new string; NULL if it is not there or not for us
 * to see. */
static char *variable_of(pid_t pid, const char *name)
{
    char path[64], *found = NULL;
    size_t length, name_length = strlen(name);
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    char *text = read_whole(path, &length);
    for (char *entry = text; entry && entry < text + length && !found; entry += strlen(entry) + 1)
        if (strncmp(entry, name, name_length) == 0 && entry[name_length] == '=')
            found = ht_format("%s", entry + name_length + 1);
    free(text);
    return found;
}

static bool has_library(pid_t pid)
{
    char path[64], line[PATH_MAX + 128];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    bool found = false;
    while (maps && !found && fgets(line, sizeof line, maps))
        found = strstr(line, "/libheaptally.so");
    if (maps)
        fclose(maps);
    return found;
}

/* ---- places -------------------------------------------------------------------------------------
 */

struct places {
    char *directories[MOST_DIRECTORIES];
    size_t count;
};

static void add_place(struct places *places, const char *directory)
{
    for (size_t i = 0; i < places->count; i++)
        if (strcmp(places->directories[i], directory) == 0)
            return;
    if (places->count < MOST_DIRECTORIES)
        places->directories[places->count++] = ht_format("%s", directory);
}

/* Where processes of `user` put their sockets, with these variables (NULL where unknown). */
static void add_places(struct places *places, const char *rundir, const char *session, uid_t user)
{
    char directory[PATH_MAX], standard[64];
    snprintf(standard, sizeof standard, "/run/user/%u", (unsigned)user);
    const char *sessions[] = {session, standard};
    for (int place = 0; place < HTC_PLACES; place++)
        for (size_t i = 0; i < sizeof sessions / sizeof *sessions; i++)
            if (htc_directory((enum htc_place)place, rundir, sessions[i], user, directory,
                              sizeof directory))
                add_place(places, directory);
}

/* The same places as process `pid` finds them, whose root directory or mounts may not be ours. Only
 * the process itself is believed there: whoever made them may have made links to anywhere. */
static void add_places_beneath(struct places *places, pid_t pid)
{
    size_t count = places->count;
    for (size_t i = 0; i < count; i++) {
        char *directory = ht_format("/proc/%d/root%s", (int)pid, places->directories[i]);
        add_place(places, directory);
        free(directory);
    }
}

/* Users have directories of their own, which root can see all. */
static void add_places_of_all(struct places *places)
{
    unsigned user;
    DIR *stream = opendir("/tmp");
    for (struct dirent *entry; stream && (entry = readdir(stream));)
        if (sscanf(entry->d_name, "heaptally-%u", &user) == 1)
            add_places(places, NULL, NULL, user);
    if (stream)
        closedir(stream);
    stream = opendir("/run/user");
    for (struct dirent *entry; stream && (entry = readdir(stream));)
        if (sscanf(entry->d_name, "%u", &user) == 1)
            add_places(places, NULL, NULL, user);
    if (stream)
        closedir(stream);
}

static void free_places(struct places *places)
{
    for (size_t i = 0; i < places->count; i++)
        free(places->directories[i]);
    places->count = 0;
}

/* ---- connecting ---------------------------------------------------------------------------------
 */

/* A connection to the socket at `path`, or -errno. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    long give_up = now_ms() + PATIENCE_MS;
    while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        if ((error != EAGAIN && error != EINTR) || now_ms() > give_up) {
            close(fd);
            return -error;
        }
        pause_ms(PAUSE_MS); /* so many want to be heard that they queue */
    }
    return fd;
}

/* Whether it is the process `pid` that listens at the other end, as `user` or as root. A process of
 * a pid namespace that we do not see into has no number here. */
static bool is_listener(int fd, pid_t pid, uid_t user)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == user || peer.uid == 0) && peer.pid == pid;
}

/* A process that is looked for: its number here and in its own namespace. */
struct wanted {
    pid_t pid, inner;
    uid_t user;
};

/* A connection to it by a socket in `directory`, or why the first that might be its own is none. */
static int connect_in(const char *directory, const struct wanted *wanted)
{
    char path[PATH_MAX + 64];
    int error = -ENOENT;
    for (unsigned twin = 1; twin <= HTC_TWINS; twin++) {
        if (!htc_socket_path(directory, wanted->inner, twin, path, sizeof path))
            return -ENAMETOOLONG;
        int fd = connect_to(path);
        if (fd >= 0 && is_listener(fd, wanted->pid, wanted->user))
            return fd;
        if (fd >= 0) {
            close(fd);
            fd = -EPERM;
        }
        error = error == -ENOENT ? fd : error;
    }
    return error;
}

static char *user_name(uid_t user)
{
    const struct passwd *entry = getpwuid(user);
    return entry ? ht_format("%s", entry->pw_name) : ht_format("%u", (unsigned)user);
}

/* Why there is no connection; `refused`: a socket is there, and nobody listens. */
static char *explain(pid_t pid, uid_t user, bool refused, bool denied)
{
    if (denied || (geteuid() != 0 && user != geteuid())) {
        char *name = user_name(user);
        char *text = ht_format("belongs to another user (%s); ask as that user or as root", name);
        free(name);
        return text;
    }
    if (refused)
        return ht_format("does not listen any more; it may have ended or replaced its program");
    if (has_library(pid))
        return ht_format("has heaptally loaded but is not watched: it is younger than a tick, or "
                         "left out by --only or --no-children, or its socket is in a directory "
                         "that HEAPTALLY_RUNDIR must name here too");
    return ht_format("is not under heaptally; start it with 'heaptally run PROGRAM'");
}

/* Tries all places once; what kept it from connecting is set. */
static int connect_somewhere(const struct places *places, const struct wanted *wanted,
                             bool *refused, bool *denied)
{
    int fd = -ENOENT;
    *refused = *denied = false;
    for (size_t i = 0; i < places->count && fd < 0; i++) {
        fd = connect_in(places->directories[i], wanted);
        *refused |= fd == -ECONNREFUSED;
        *denied |= fd == -EACCES && wanted->user != geteuid();
    }
    return fd;
}

bool ht_client_open(struct ht_client *client, pid_t pid, char **error)
{
    struct wanted wanted = {.pid = pid};
    bool refused, denied;
    client->pid = pid;
    client->fd = -1;
    if (!look_up(pid, &wanted.user, &wanted.inner)) {
        *error = ht_format("there is no such process; see 'heaptally list'");
        return false;
    }
    struct places places = {.count = 0};
    char *rundir = variable_of(pid, "HEAPTALLY_RUNDIR");
    char *session = variable_of(pid, "XDG_RUNTIME_DIR");
    add_places(&places, rundir, session, wanted.user);
    add_places(&places, getenv("HEAPTALLY_RUNDIR"), getenv("XDG_RUNTIME_DIR"), wanted.user);
    add_places_beneath(&places, pid);
    /* A program that has closed all its descriptors has its socket made anew a moment later. */
    long give_up = now_ms() + REFUSED_MS;
    int fd = connect_somewhere(&places, &wanted, &refused, &denied);
    while (fd < 0 && refused && now_ms() < give_up) {
        pause_ms(PAUSE_MS);
        fd = connect_somewhere(&places, &wanted, &refused, &denied);
    }
    free_places(&places);
    free(rundir);
    free(session);
    if (fd < 0)
        *error = explain(pid, wanted.user, refused, denied);
    client->fd = fd < 0 ? -1 : fd;
    return fd >= 0;
}

void ht_client_close(struct ht_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

/* ---- asking -------------------------------------------------------------------------------------
 */

/* Waits until the descriptor is ready; false when the time is over. */
static bool wait_for(int fd, short events, long give_up)
{
    struct pollfd one = {.fd = fd, .events = events};
    long left = give_up - now_ms();
    return left > 0 && (poll(&one, 1, (int)left) > 0 || errno == EINTR);
}

static bool send_all(int fd, const char *bytes, size_t length, long give_up)
{
    while (length) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (n < 0 && !wait_for(fd, POLLOUT, give_up))
            return false;
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        }
    }
    return true;
}

/* Receives `length` bytes, or with `line` up to a newline: how many came, 0 where it went wrong. */
static size_t receive(int fd, char *out, size_t length, bool line, long give_up)
{
    size_t got = 0;
    while (got < length) {
        ssize_t n = recv(fd, out + got, line ? 1 : length - got, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return 0;
        if (n < 0 && !wait_for(fd, POLLIN, give_up))
            return 0;
        if (n > 0)
            got += (size_t)n;
        if (line && n > 0 && out[got - 1] == '\n')
            return got;
    }
    return line ? 0 : got;
}

/* One try. NULL without `*error` where the connection was lost. */
static char *try_to_ask(int fd, const char *request, size_t *length, char **error, long give_up)
{
    char head[2048];
    size_t greeting = strlen(HTC_GREETING), size;
    /* Whoever may not ask is told so unasked: where sending fails, that may have come before. */
    if (send_all(fd, request, strlen(request), give_up))
        send_all(fd, "\n", 1, give_up);
    size_t got = receive(fd, head, sizeof head - 1, true, give_up);
    if (got == 0)
        return NULL;
    head[got - 1] = '\0';
    if (strncmp(head, HTC_GREETING, greeting) == 0 && strncmp(head + greeting, "error ", 6) == 0) {
        *error = ht_clean(head + greeting + 6, strlen(head + greeting + 6));
        return NULL;
    }
    if (strncmp(head, HTC_GREETING, greeting) != 0 ||
        sscanf(head + greeting, "ok %zu", &size) != 1 || size > HTC_ANSWER_MAX) {
        *error = ht_format("gave an answer that is none; is it another version of heaptally?");
        return NULL;
    }
    char *body = ht_allocate(size + 1);
    body[size] = '\0';
    if (size && receive(fd, body, size, false, give_up) == 0) {
        free(body);
        return NULL;
    }
    if (length)
        *length = size;
    return body;
}

char *ht_client_ask(struct ht_client *client, const char *request, size_t *length, char **error)
{
    *error = NULL;
    if (strlen(request) >= HTC_REQUEST_MAX || strchr(request, '\n')) {
        *error = ht_format("the request is too long, or has more than one line");
        return NULL;
    }
    long give_up = now_ms() + (client->patience_ms ? client->patience_ms : PATIENCE_MS);
    do {
        if (client->fd < 0 && !ht_client_open(client, client->pid, error))
            return NULL;
        char *answer = try_to_ask(client->fd, request, length, error, give_up);
        if (answer || *error)
            return answer;
        ht_client_close(client); /* it took somebody else in instead */
        pause_ms(PAUSE_MS);
    } while (now_ms() < give_up);
    *error = ht_format("does not answer; is it stopped, or is the machine very busy?");
    return NULL;
}

json_t *ht_client_ask_json(struct ht_client *client, const char *request, char **error)
{
    size_t length;
    json_error_t problem;
    char *answer = ht_client_ask(client, request, &length, error);
    if (!answer)
        return NULL;
    json_t *json = json_loadb(answer, length, 0, &problem);
    free(answer);
    if (!json)
        *error = ht_format("gave an answer that is no JSON: %s", problem.text);
    return json;
}

bool ht_client_read_pid(const char *command, const char *text, pid_t *pid)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno || *end || end == text || number <= 0 || number > INT_MAX) {
        ht_complain("%s %s: is not the number of a process; see 'heaptally list'", command, text);
        return false;
    }
    *pid = (pid_t)number;
    return true;
}

bool ht_client_read_pids(const char *command, int count, char **texts, pid_t **pids)
{
    *pids = ht_allocate((size_t)count * sizeof **pids);
    for (int i = 0; i < count; i++)
        if (!ht_client_read_pid(command, texts[i], *pids + i)) {
            free(*pids);
            return false;
        }
    return true;
}

/* ---- all of them --------------------------------------------------------------------------------
 */

struct found {
    pid_t *pids;
    size_t count, removed;
};

/* Looks at one socket: keeps its process, or removes what is left of one. */
static void look_at(struct found *found, const char *directory, const char *name)
{
    char path[PATH_MAX + 300];
    struct stat status;
    if (!htc_is_socket_name(name))
        return;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = connect_to(path);
    bool dead = fd == -ECONNREFUSED && lstat(path, &status) == 0 && S_ISSOCK(status.st_mode);
    if (dead && unlink(path) == 0)
        found->removed++;
    if (fd < 0)
        return;
    struct ucred peer;
    socklen_t size = sizeof peer;
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0;
    close(fd);
    for (size_t i = 0; known && i < found->count; i++)
        known = found->pids[i] != peer.pid;
    if (!known)
        return;
    found->pids = ht_room_for_one(found->pids, found->count, sizeof *found->pids);
    found->pids[found->count++] = peer.pid;
}

static int by_number(const void *a, const void *b)
{
    pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
    return x < y ? -1 : x > y;
}

size_t ht_client_each(ht_client_visitor *visit, void *context)
{
    struct places places = {.count = 0};
    struct found found = {.pids = NULL};
    add_places(&places, getenv("HEAPTALLY_RUNDIR"), getenv("XDG_RUNTIME_DIR"), geteuid());
    if (geteuid() == 0)
        add_places_of_all(&places);
    for (size_t i = 0; i < places.count; i++) {
        struct stat status;
        bool real = lstat(places.directories[i], &status) == 0 && S_ISDIR(status.st_mode);
        DIR *stream = real ? opendir(places.directories[i]) : NULL;
        for (struct dirent *entry; stream && (entry = readdir(stream));)
            look_at(&found, places.directories[i], entry->d_name);
        if (stream)
            closedir(stream);
    }
    free_places(&places);
    if (found.count)
        qsort(found.pids, found.count, sizeof *found.pids, by_number);
    for (size_t i = 0; i < found.count; i++)
        visit(found.pids[i], context);
    free(found.pids);
    return found.removed;
}
