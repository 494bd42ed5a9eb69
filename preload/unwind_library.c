/* See unwind_library.h. */
#include "unwind_library.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY "libunwind-x86_64.so.8"

/* The names of the symbols, from libunwind's own macros. */
#define TEXT_OF(name) #name
#define TEXT(name)    TEXT_OF(name)

struct symbol {
    const char *name;
    size_t at; /* offset of the pointer in struct unwind_library */
};

#define unw_dwarf_search_unwind_table UNW_OBJ(dwarf_search_unwind_table)
static const struct symbol symbols[] = {
#define SYMBOL(name, result, parameters) {TEXT(unw_##name), offsetof(struct unwind_library, name)},
    UNWIND_LIBRARY_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

/* ---- The pipe that libunwind opens when it is first used --------------------------------------
 */

enum { MAX_PIPES = 256 };

/* The ends of pipes among the open descriptors. */
struct pipe_ends {
    bool complete; /* false: more than MAX_PIPES, or /proc can't be read */
    unsigned count;
    struct {
        int descriptor;
        ino_t inode;
    } end[MAX_PIPES];
};

static void list_pipe_ends(struct pipe_ends *ends)
{
    ends->count = 0;
    ends->complete = false;
    DIR *directory = opendir("/proc/thread-self/fd");
    if (!directory)
        return;
    ends->complete = true;
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct stat status;
        int descriptor = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fstat(descriptor, &status) || !S_ISFIFO(status.st_mode))
            continue;
        if (ends->count == MAX_PIPES) {
            ends->complete = false;
            break;
        }
        ends->end[ends->count].descriptor = descriptor;
        ends->end[ends->count++].inode = status.st_ino;
    }
    closedir(directory);
}

static bool has_inode(const struct pipe_ends *ends, ino_t inode)
{
    for (unsigned i = 0; i < ends->count; i++)
        if (ends->end[i].inode == inode)
            return true;
    return false;
}

/* libunwind makes its pipe close-on-exec and non-blocking. */
static bool has_the_flags(int descriptor)
{
    int status = fcntl(descriptor, F_GETFL), own = fcntl(descriptor, F_GETFD);
    return status >= 0 && own >= 0 && (status & O_NONBLOCK) && (own & FD_CLOEXEC);
}

/* Closes the pipe that came between the two lists, if there is exactly one that can be meant:
 * another thread of the program may open pipes at the same time, and then both are left alone. */
static void close_the_new_pipe(const struct pipe_ends *before, const struct pipe_ends *after)
{
    int found[2];
    unsigned count = 0;
    ino_t inode = 0;
    if (!before->complete || !after->complete)
        return;
    for (unsigned i = 0; i < after->count; i++) {
        if (has_inode(before, after->end[i].inode) || !has_the_flags(after->end[i].descriptor))
            continue;
        if (count == 2 || (count == 1 && after->end[i].inode != inode))
            return;
        inode = after->end[i].inode;
        found[count++] = after->end[i].descriptor;
    }
    if (count != 2)
        return;
    close(found[0]);
    close(found[1]);
}

static int refuse_word(unw_addr_space_t space, unw_word_t address, unw_word_t *value, int write,
                       void *argument)
{
    (void)space, (void)address, (void)value, (void)write, (void)argument;
    return -UNW_EUNSPEC;
}

static int refuse_register(unw_addr_space_t space, unw_regnum_t number, unw_word_t *value,
                           int write, void *argument)
{
    (void)space, (void)number, (void)value, (void)write, (void)argument;
    return -UNW_EUNSPEC;
}

/* Makes libunwind initialise itself, by a cursor that cannot be had. */
static int initialise(const struct unwind_library *library)
{
    unw_accessors_t accessors = {.access_mem = refuse_word, .access_reg = refuse_register};
    unw_cursor_t cursor;
    unw_addr_space_t space = library->create_addr_space(&accessors, 0);
    if (!space)
        return -ENOMEM;
    memset(&cursor, 0, sizeof cursor);
    library->init_remote(&cursor, space, NULL);
    library->destroy_addr_space(space);
    return 0;
}

int unwind_library_load(struct unwind_library *library)
{
    static struct unwind_library loaded;
    static bool done;
    if (!done) {
        /* A program that has it already has its pipe too, and may need it. */
        bool ours = !dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
        void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
        if (!handle)
            return -ENOENT;
        for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
            void *address = dlsym(handle, symbols[i].name);
            if (!address)
                return -ENOSYS;
            memcpy((char *)&loaded + symbols[i].at, &address, sizeof address);
        }
        struct pipe_ends *ends = ours ? malloc(2 * sizeof *ends) : NULL;
        if (ends)
            list_pipe_ends(&ends[0]);
        int error = initialise(&loaded);
        if (ends && !error) {
            list_pipe_ends(&ends[1]);
            close_the_new_pipe(&ends[0], &ends[1]);
        }
        free(ends);
        if (error)
            return error;
        done = true;
    }
    *library = loaded;
    return 0;
}
