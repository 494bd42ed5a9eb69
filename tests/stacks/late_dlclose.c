/* Preloaded beneath heaptally: a dlclose that takes its time to return. Meanwhile the library is
 * gone already, and the program's other threads go on (see unload_window.c). */
#include <dlfcn.h>
#include <stddef.h>

int dlclose(void *handle)
{
    int (*real)(void *);
    void (*meanwhile)(void);
    *(void **)&real = dlsym(RTLD_NEXT, "dlclose");
    *(void **)&meanwhile = dlsym(RTLD_DEFAULT, "while_dlclose_returns");
    int result = real(handle);
    if (meanwhile)
        meanwhile();
    return result;
}
