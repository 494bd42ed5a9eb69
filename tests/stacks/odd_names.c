/*
 * Modules whose names lead astray: what the loader has for a name is too long, relative to a
 * directory that the program has left, or not there any more. The stacks that go through them are
 * known as all others.
 *
 *   odd_names CASE LIBRARY...    prints a function, and how many blocks were allocated through it
 *
 *   long      libraries by relative names of 1,800 characters
 *   absolute  by absolute names of that length
 *   left      one by a relative name; at once the program goes to another directory
 *   titled    the program writes over its first argument, then loads and unloads a library: the
 *             blocks are the program's own, from before and after
 *   replaced  the same, and what the program does before is to have its file replaced by another;
 *             it is there again in the end
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "until_known.h"

#define TIMES  100
#define ROUNDS 10
#define SIZE   ((size_t)96)
#define LENGTH 1800 /* of long names */

typedef void plugin_function(size_t size, unsigned long times, void (*allocate)(size_t));

static unsigned long blocks;

static void need(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "odd_names: %s\n", what);
        exit(3);
    }
}

static void *load(const char *name)
{
    void *handle = dlopen(name, RTLD_NOW);
    need(handle != NULL, "dlopen");
    return handle;
}

static void allocate_in(void *handle)
{
    plugin_function *run;
    *(void **)&run = dlsym(handle, "plugin_run_a");
    need(run != NULL, "dlsym");
    for (int round = 0; round < ROUNDS; round++) {
        run(SIZE, TIMES, NULL);
        blocks += TIMES;
        until_known();
    }
}

static void __attribute__((noinline)) leaf(void)
{
    free(malloc(SIZE));
    __asm__ volatile("" ::: "memory");
}

static void allocate(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < TIMES; i++)
            leaf();
        blocks += TIMES;
        until_known();
    }
}

static void go_to_directory_of(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    need(chdir(dirname(copy)) == 0, "chdir");
}

static const char *last_part(const char *path)
{
    return strrchr(path, '/') + 1;
}

static void by_long_names(char **libraries, int absolute)
{
    for (; *libraries; libraries++) {
        char name[PATH_MAX] = "";
        size_t length = 0;
        go_to_directory_of(*libraries);
        if (absolute)
            need(getcwd(name, sizeof name) && (length = strlen(name)) < LENGTH, "getcwd");
        if (absolute)
            name[length++] = '/';
        for (; length < LENGTH; length += 2)
            memcpy(name + length, "./", 3);
        strcpy(name + length, last_part(*libraries));
        allocate_in(load(name));
    }
}

static void from_directory_left(const char *library)
{
    char name[PATH_MAX];
    go_to_directory_of(library);
    snprintf(name, sizeof name, "./%s", last_part(library));
    void *handle = load(name);
    need(chdir("/") == 0, "chdir");
    allocate_in(handle);
}

static void load_and_unload_between(const char *library)
{
    for (int i = 0; i < 2; i++) {
        dlclose(load(library));
        allocate();
    }
}

static void replaced(const char *library)
{
    char path[PATH_MAX] = "", kept[PATH_MAX + 8];
    need(readlink("/proc/self/exe", path, sizeof path - 1) > 0, "readlink");
    snprintf(kept, sizeof kept, "%s.kept", path);
    need(link(path, kept) == 0 && unlink(path) == 0, "a second name");
    int fd = open(path, O_CREAT | O_WRONLY, 0755);
    need(fd >= 0 && write(fd, "another", 7) == 7, "another file");
    close(fd);
    load_and_unload_between(library);
    need(rename(kept, path) == 0, "rename");
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    const char *what = argv[1], *function = "leaf";
    if (strcmp(what, "long") == 0 || strcmp(what, "absolute") == 0) {
        by_long_names(argv + 2, *what == 'a');
        function = "plugin_run_a";
    } else if (strcmp(what, "left") == 0) {
        from_directory_left(argv[2]);
        function = "plugin_run_a";
    } else if (strcmp(what, "titled") == 0) {
        allocate();
        memset(argv[0], 't', strlen(argv[0]));
        load_and_unload_between(argv[2]);
    } else if (strcmp(what, "replaced") == 0) {
        allocate();
        replaced(argv[2]);
    } else {
        return 2;
    }
    printf("%s %lu\n", function, blocks);
    return 0;
}
