#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "answers.h"
#include "heaptally/control_protocol.h"
#include "heaptally/units.h"
#include "moment.h"
#include "raw_io.h"
#include "text_out.h"

/* Programs look at, close and count the low descriptors; ours stay out of their way. */
#define LOWEST_DESCRIPTOR 700
#define BACKLOG           64
#define ACCEPTS_A_TURN    16

#define RETRY_AFTER     HT_SECOND       /* between two tries to make the socket */
#define FILE_LOOK_EVERY (5 * HT_SECOND) /* whether its file is there */
#define HALF_A_REQUEST                                                                             \
    (2 * HT_SECOND)                   /* from the connection, or the first byte, to the newline    \
                                       */
#define NO_REQUEST   (60 * HT_SECOND) /* from an answer to the next request */
#define NO_PROGRESS  (5 * HT_SECOND)  /* while an answer waits to be taken */
#define WAIT_TALKING (2 * HT_MILLISECOND)
#define WAIT_SILENT  (20 * HT_MILLISECOND)
#define TALKING      (100 * HT_MILLISECOND)
#define REST         4u /* times the last turn */

/* A socket of ours: number, and what tells whether it is still behind the number. */
struct own_socket {
    int fd; /* -1: none */
    dev_t device;
    ino_t inode;
};

struct client {
    struct own_socket socket;
    uint64_t deadline; /* by then something must have happened */
    uint64_t active;   /* when it last did */
    char request[HTC_REQUEST_MAX];
    size_t got; /* bytes in `request` */
    char head[32 + HT_MESSAGE_MAX];
    size_t head_size, sent; /* `sent` counts head and answer */
    struct ht_out answer;
    bool answering, last; /* `last`: the connection ends with this answer */
};

static struct {
    struct own_socket listener;
    uid_t user;                 /* who we were when it was made */
    struct sockaddr_un address; /* sun_path "" where there is no file of ours */
    dev_t device;               /* of that file */
    ino_t inode;
    uint64_t retry, due;
    bool tried;
    struct client clients[HTC_CLIENTS];
} control = {.listener.fd = -1, .due = UINT64_MAX};

static char rundir[PATH_MAX], session[PATH_MAX]; /* "" where not set */

/* ---- descriptors --------------------------------------------------------------------------------
 */

static bool is_ours(const struct own_socket *socket)
{
    struct stat status;
    return socket->fd >= 0 && fstat(socket->fd, &status) == 0 && S_ISSOCK(status.st_mode) &&
           status.st_dev == socket->device && status.st_ino == socket->inode;
}

/* Takes `fd` to a high number; -errno and `fd` closed on failure. */
static int adopt(struct own_socket *socket, int fd)
{
    struct stat status;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR);
    if (high >= 0) {
        close(fd);
        fd = high;
    }
    if (fstat(fd, &status) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    *socket = (struct own_socket){fd, status.st_dev, status.st_ino};
    return 0;
}

static void close_own(struct own_socket *socket)
{
    if (is_ours(socket))
        close(socket->fd);
    socket->fd = -1;
}

/* ---- the socket ---------------------------------------------------------------------------------
 */

static void copy_variable(char *out, const char *name)
{
    const char *value = getenv(name);
    if (value && strlen(value) < PATH_MAX)
        strcpy(out, value);
}

void ht_control_begin(void)
{
    ht_answers_begin();
    copy_variable(rundir, "HEAPTALLY_RUNDIR");
    copy_variable(session, "XDG_RUNTIME_DIR");
    for (unsigned i = 0; i < HTC_CLIENTS; i++)
        control.clients[i].socket.fd = -1;
}

/* Whether a socket may lie in `directory`, which is made if it can be: 0 or -errno. */
static int use_directory(const char *directory)
{
    struct stat status;
    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return -errno;
    if (lstat(directory, &status) != 0)
        return -errno;
    if (!S_ISDIR(status.st_mode))
        return -ENOTDIR;
    if (status.st_uid != geteuid() && status.st_uid != 0)
        return -EPERM;
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) && !(status.st_mode & S_ISVTX))
        return -EPERM;
    return faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0 ? 0 : -errno;
}

/* Whether our address is not to be had: somebody listens there, or it is a file of another kind,
 * to which connecting is refused as well. */
static bool is_taken(void)
{
    struct stat status;
    if (lstat(control.address.sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return true;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return true;
    bool refused = connect(fd, (struct sockaddr *)&control.address, sizeof control.address) != 0 &&
                   errno == ECONNREFUSED;
    close(fd);
    return !refused;
}

/* Binds and listens; what an earlier process of our number left behind is removed. */
static int bind_and_listen(int fd)
{
    const struct sockaddr *address = (const struct sockaddr *)&control.address;
    const char *path = control.address.sun_path;
    struct stat status;
    int bound = bind(fd, address, sizeof control.address);
    if (bound != 0 && errno == EADDRINUSE) {
        if (is_taken())
            return -EADDRINUSE;
        unlink(path);
        bound = bind(fd, address, sizeof control.address);
    }
    if (bound != 0)
        return -errno;
    if (lstat(path, &status) != 0)
        return -errno;
    control.device = status.st_dev;
    control.inode = status.st_ino;
    if (chmod(path, 0600) != 0 || listen(fd, BACKLOG) != 0) {
        int error = -errno;
        unlink(path);
        return error;
    }
    return 0;
}

/* Makes the socket in `directory`: 0 or -errno. A directory may be shared with other pid
 * namespaces, and our number be taken there. */
static int listen_in(const char *directory)
{
    int error = use_directory(directory);
    if (error)
        return error;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    error = -EADDRINUSE;
    for (unsigned twin = 1; twin <= HTC_TWINS && error == -EADDRINUSE; twin++) {
        control.address = (struct sockaddr_un){.sun_family = AF_UNIX};
        error = htc_socket_path(directory, getpid(), twin, control.address.sun_path,
                                sizeof control.address.sun_path)
                    ? bind_and_listen(fd)
                    : -ENAMETOOLONG;
    }
    if (error) {
        close(fd);
        return error;
    }
    return adopt(&control.listener, fd);
}

/* Makes the socket in the first place that can be used. What keeps it out of the directory that
 * the user named is said once. */
static void begin_listening(void)
{
    char directory[PATH_MAX];
    int error = -ENOENT;
    control.user = geteuid();
    for (int place = 0; place < HTC_PLACES && error; place++) {
        if (rundir[0] && place != HTC_RUNDIR)
            break;
        if (htc_directory((enum htc_place)place, rundir, session, control.user, directory,
                          sizeof directory))
            error = listen_in(directory);
    }
    if (error) {
        control.address.sun_path[0] = '\0';
        if (rundir[0] && !control.tried)
            ht_say("HEAPTALLY_RUNDIR %s: cannot be used (%s); commands do not reach this process. "
                   "It must be a directory of its user, closed to writing by others",
                   rundir, ht_error_words(-error));
    }
    control.tried = true;
}

/* Removes the file, if it is still the one that we made. */
static void remove_file(void)
{
    struct stat status;
    const char *path = control.address.sun_path;
    if (path[0] && lstat(path, &status) == 0 && status.st_dev == control.device &&
        status.st_ino == control.inode)
        unlink(path);
    control.address.sun_path[0] = '\0';
}

/* Whether the socket's file is still there: a user's directory for sockets is removed when that
 * user logs out, and programs go on. Looked at now and then. */
static bool is_findable(uint64_t now)
{
    static uint64_t next;
    struct stat status;
    if (now < next)
        return true;
    next = now + FILE_LOOK_EVERY;
    return lstat(control.address.sun_path, &status) == 0 && status.st_ino == control.inode &&
           status.st_dev == control.device;
}

/* Sees to it that there is a socket that can be found: a program may have closed ours, or have
 * become another user, whom the old one does not answer. */
static void keep_listening(uint64_t now)
{
    if (!is_ours(&control.listener))
        control.listener.fd = -1; /* what has this number now is the program's */
    else if (control.user == geteuid() && is_findable(now))
        return;
    if (now < control.retry)
        return;
    control.retry = now + RETRY_AFTER;
    close_own(&control.listener);
    remove_file();
    begin_listening();
}

/* ---- clients ------------------------------------------------------------------------------------
 */

static void let_go(struct client *client)
{
    close_own(&client->socket);
    ht_out_free(&client->answer);
    client->got = client->head_size = client->sent = 0;
    client->answering = client->last = false;
}

static bool may_connect(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

/* A free place, else that of the client that has been idle for longest. */
static struct client *place_for_client(void)
{
    struct client *oldest = &control.clients[0];
    for (unsigned i = 0; i < HTC_CLIENTS; i++) {
        struct client *client = &control.clients[i];
        if (client->socket.fd < 0)
            return client;
        if (client->active < oldest->active)
            oldest = client;
    }
    let_go(oldest);
    return oldest;
}

static void take_in(int fd, uint64_t now)
{
    static const char refusal[] =
        HTC_GREETING "error the process belongs to another user; only that user and root may ask\n";
    if (!may_connect(fd)) {
        send(fd, refusal, sizeof refusal - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        close(fd);
        return;
    }
    struct client *client = place_for_client();
    if (adopt(&client->socket, fd) != 0)
        return;
    client->active = now;
    client->deadline = now + HALF_A_REQUEST;
}

static void accept_clients(uint64_t now)
{
    for (unsigned i = 0; i < ACCEPTS_A_TURN && control.listener.fd >= 0; i++) {
        int fd = accept4(control.listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            take_in(fd, now);
        else if (errno != EINTR && errno != ECONNABORTED)
            break;
    }
}

static void answer_with_error(struct client *client, const char *message)
{
    ht_out_free(&client->answer);
    int length = snprintf(client->head, sizeof client->head, HTC_GREETING "error %s\n", message);
    client->head_size = (size_t)length < sizeof client->head ? (size_t)length : 0;
}

/* Carries out the request of `length` bytes at the front of the buffer. */
static void carry_out(struct client *client, size_t length)
{
    char line[HTC_REQUEST_MAX], error[HT_MESSAGE_MAX] = "";
    memcpy(line, client->request, length);
    line[length] = '\0';
    client->got -= length + 1;
    memmove(client->request, client->request + length + 1, client->got);
    ht_out_begin(&client->answer, HTC_ANSWER_MAX);
    client->sent = 0;
    client->answering = true;
    if (strlen(line) != length || !ht_answer(line, &client->answer, error, sizeof error))
        answer_with_error(client, error[0] ? error : "the request holds a NUL");
    else if (client->answer.failed)
        answer_with_error(client, "the answer is too large, or there is no memory for it");
    else
        client->head_size = (size_t)snprintf(client->head, sizeof client->head,
                                             HTC_GREETING "ok %zu\n", client->answer.used);
}

/* Reads what has come; false where the connection is over. */
static bool receive(struct client *client, uint64_t now)
{
    char *end = client->request + client->got;
    ssize_t n = recv(client->socket.fd, end, sizeof client->request - client->got, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (client->got == 0)
        client->deadline = now + HALF_A_REQUEST;
    client->got += (size_t)n;
    client->active = now;
    return n > 0;
}

/* Carries out the next request if it is there whole; false where the connection is over. */
static bool hear(struct client *client, uint64_t now)
{
    char *newline = memchr(client->request, '\n', client->got);
    if (!newline && !receive(client, now))
        return false;
    newline = memchr(client->request, '\n', client->got);
    if (newline) {
        carry_out(client, (size_t)(newline - client->request));
        client->deadline = now + NO_PROGRESS;
    } else if (client->got == sizeof client->request) {
        client->answering = client->last = true;
        client->sent = 0;
        answer_with_error(client, "the request is too long");
    }
    return true;
}

/* Sends what can be sent; false where the connection is over. */
static bool say(struct client *client, uint64_t now)
{
    while (client->answering) {
        bool head = client->sent < client->head_size;
        size_t done = client->sent - (head ? 0 : client->head_size);
        const char *from = (head ? client->head : client->answer.bytes) + done;
        size_t left = (head ? client->head_size : client->answer.used) - done;
        ssize_t n = left ? send(client->socket.fd, from, left, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        client->sent += (size_t)n;
        client->active = now;
        client->deadline = now + NO_PROGRESS;
        if (client->sent == client->head_size + client->answer.used) {
            ht_out_free(&client->answer);
            client->answering = false;
            client->deadline = now + NO_REQUEST;
        }
    }
    return !client->last;
}

static void serve_client(struct client *client, uint64_t now)
{
    bool stays = is_ours(&client->socket) && now < client->deadline;
    if (stays && !client->answering)
        stays = hear(client, now);
    if (stays)
        stays = say(client, now);
    if (!stays)
        let_go(client);
}

/* When to look again, given that this turn took from `began` until now. */
static uint64_t plan(uint64_t began)
{
    uint64_t ended = ht_now_ns(), wait = UINT64_MAX;
    for (unsigned i = 0; i < HTC_CLIENTS; i++) {
        const struct client *client = &control.clients[i];
        if (client->socket.fd < 0)
            continue;
        uint64_t own = began - client->active < TALKING ? WAIT_TALKING : WAIT_SILENT;
        wait = own < wait ? own : wait;
    }
    if (wait == UINT64_MAX)
        return UINT64_MAX;
    uint64_t rest = (ended - began) * REST;
    return ended + (wait > rest ? wait : rest);
}

void ht_control_serve(uint64_t now)
{
    uint64_t began = ht_now_ns();
    if (control.due != UINT64_MAX && now < control.due)
        return;
    keep_listening(now);
    accept_clients(now);
    for (unsigned i = 0; i < HTC_CLIENTS; i++)
        if (control.clients[i].socket.fd >= 0)
            serve_client(&control.clients[i], now);
    control.due = plan(began);
}

uint64_t ht_control_due(void)
{
    return control.due;
}

static void drop_clients(void)
{
    for (unsigned i = 0; i < HTC_CLIENTS; i++)
        if (control.clients[i].socket.fd >= 0)
            let_go(&control.clients[i]);
    control.due = UINT64_MAX;
}

void ht_control_end(void)
{
    drop_clients();
    remove_file();
    close_own(&control.listener);
}

void ht_control_forget(void)
{
    ht_answers_begin();
    /* Another thread of the parent may have held the heap's lock: nothing is given back to it. */
    for (unsigned i = 0; i < HTC_CLIENTS; i++)
        control.clients[i].answer = (struct ht_out){0};
    drop_clients();
    close_own(&control.listener);
    control.address.sun_path[0] = '\0';
    control.retry = 0;
    control.tried = false;
}
