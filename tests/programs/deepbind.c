/*
 * deepbind PLUGIN: blocks that cross to a plugin which bypasses heaptally: 100 of ours are freed
 * there, 100 of theirs are freed here, of many sizes, in turns. 50 more of theirs go through our
 * realloc.
 */
#include "program.h"

#include <dlfcn.h>

int main(int argc, char **argv)
{
    MUST(argc == 2);
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (!plugin)
        fprintf(stderr, "%s\n", dlerror());
    MUST(plugin != NULL);
    void (*their_free)(void *) = (void (*)(void *))(size_t)dlsym(plugin, "plugin_free");
    void *(*their_malloc)(size_t) = (void *(*)(size_t))(size_t)dlsym(plugin, "plugin_allocate");
    void *theirs[150];
    MUST(their_free && their_malloc);
    for (int i = 0; i < 150; i++)
        MUST((theirs[i] = their_malloc((size_t)i * 61 + 1)) != NULL);
    for (int i = 0; i < 100; i++) {
        void *ours = malloc((size_t)i * 61 + 1);
        MUST(ours != NULL);
        memset(ours, 0x5a, (size_t)i * 61 + 1);
        program_sink = ours;
        their_free(ours);
        free(theirs[i]);
    }
    for (int i = 100; i < 150; i++) {
        unsigned char *moved = realloc(theirs[i], 20000);
        MUST(moved != NULL && moved[0] == 0xa5 && moved[i * 61] == 0xa5);
        free(moved);
    }
    keep_blocks("kept", 1000, 100);
    puts("done");
    return 0;
}
