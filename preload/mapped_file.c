#include "mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 1024 /* bytes that are read at a time */

/* Fields of a line, "start-end permissions offset device inode   path". */
enum { START, END, PERMISSIONS, OFFSET, DEVICE, INODE, PATH };

struct line {
    int field;
    uintptr_t start, end;
    size_t length; /* of the path, also of one that does not fit */
};

struct search {
    uintptr_t address;
    char *path;
    size_t room;
    struct line line;
    bool found;
};

static uintptr_t digit(char c)
{
    return (uintptr_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void take(struct search *search, char c)
{
    struct line *line = &search->line;
    if (line->field < PATH && c == (line->field == START ? '-' : ' ')) {
        line->field++;
    } else if (line->field == START) {
        line->start = line->start * 16 + digit(c);
    } else if (line->field == END) {
        line->end = line->end * 16 + digit(c);
    } else if (line->field == PATH && (c != ' ' || line->length > 0)) {
        if (line->length < search->room)
            search->path[line->length] = c;
        line->length++;
    }
}

/* Whether the path of the line that was just read is one that a file can be opened by. */
static bool is_usable(const struct search *search)
{
    static const char deleted[] = " (deleted)";
    size_t length = search->line.length, tail = sizeof deleted - 1;
    if (length == 0 || length >= search->room || search->path[0] != '/')
        return false;
    search->path[length] = '\0';
    if (length > tail && strcmp(search->path + length - tail, deleted) == 0)
        return false;
    return !strstr(search->path, "\\012"); /* stands for a line feed, or for itself */
}

/* Goes through a piece of the list; whether the line with the address was in it. */
static bool search_in(struct search *search, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        const struct line *line = &search->line;
        if (text[i] != '\n') {
            take(search, text[i]);
        } else if (search->address >= line->start && search->address < line->end) {
            search->found = is_usable(search);
            return true;
        } else {
            search->line = (struct line){.field = START};
        }
    }
    return false;
}

bool ht_mapped_file(uintptr_t address, char *path, size_t room)
{
    struct search search = {.address = address, .path = path, .room = room};
    char text[CHUNK];
    int saved = errno;
    /* Not /proc/self, which is of nothing once the main thread has ended. */
    int fd = open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n;
        do
            n = read(fd, text, sizeof text);
        while (n < 0 ? errno == EINTR : n > 0 && !search_in(&search, text, (size_t)n));
        close(fd);
    }
    errno = saved;
    return search.found;
}
