/*
 * A library is unloaded on one thread; before that thread's dlclose has returned, another loads one
 * of the same layout at the same address and allocates in it, from the very place from which it had
 * allocated in the first. late_dlclose.c makes sure that this is how it goes.
 *
 *   unload_window LIBRARY LIBRARY     prints a line a library, as path_sizes.py reads them
 *
 * Ends with status 4 where the libraries do not come to one address.
 */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TIMES  200
#define SIZE_A ((size_t)96)
#define SIZE_B ((size_t)160)

typedef void plugin_function(size_t size, unsigned long times, void (*allocate)(size_t));

static struct visit {
    const char *file, *function;
    size_t size;
    void *handle;
    ElfW(Addr) base;
    unsigned long blocks;
} visits[2] = {{.function = "plugin_run_a", .size = SIZE_A},
               {.function = "plugin_run_b", .size = SIZE_B}};

static sem_t go, done;

static plugin_function *load(struct visit *visit)
{
    plugin_function *run = NULL;
    struct link_map *map;
    visit->handle = dlopen(visit->file, RTLD_NOW | RTLD_LOCAL);
    if (visit->handle)
        *(void **)&run = dlsym(visit->handle, visit->function);
    if (!run || dlinfo(visit->handle, RTLD_DI_LINKMAP, &map)) {
        fprintf(stderr, "unload_window: %s\n", dlerror());
        exit(3);
    }
    visit->base = map->l_addr;
    return run;
}

static void *visitor(void *argument)
{
    for (int i = 0; i < 2; i++) {
        plugin_function *run = NULL;
        for (int round = 0; round < 4; round++) {
            sem_wait(&go);
            if (!run)
                run = load(&visits[i]);
            run(visits[i].size, TIMES, NULL);
            visits[i].blocks += TIMES;
            sem_post(&done);
        }
    }
    return argument;
}

static void one_round(void)
{
    sem_post(&go);
    sem_wait(&done);
}

void while_dlclose_returns(void)
{
    one_round();
}

int main(int argc, char **argv)
{
    pthread_t thread;
    if (argc != 3)
        return 2;
    visits[0].file = argv[1];
    visits[1].file = argv[2];
    sem_init(&go, 0, 0);
    sem_init(&done, 0, 0);
    if (pthread_create(&thread, NULL, visitor, NULL))
        return 3;
    for (int round = 0; round < 4; round++) {
        one_round();
        usleep(300000); /* enough for the monitor to find out what it was asked */
    }
    dlclose(visits[0].handle);
    for (int round = 1; round < 4; round++) {
        one_round();
        usleep(300000);
    }
    pthread_join(thread, NULL);
    if (visits[0].base != visits[1].base) {
        fprintf(stderr, "unload_window: the loader does not put the libraries at one address\n");
        return 4;
    }
    for (int i = 0; i < 2; i++)
        printf("%s %zu %lu\n", visits[i].function, visits[i].size, visits[i].blocks);
    return 0;
}
