/* A plugin that, loaded with RTLD_DEEPBIND, calls libc's allocator and nobody else's. */
#include <stdlib.h>
#include <string.h>

void plugin_free(void *block);
void *plugin_allocate(size_t size);

void plugin_free(void *block)
{
    free(block);
}

void *plugin_allocate(size_t size)
{
    void *block = malloc(size);
    if (block)
        memset(block, 0xa5, size);
    return block;
}
