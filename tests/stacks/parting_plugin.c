/* A library that calls the program back as it is unloaded, where the program wants it, and takes up
 * more addresses than pages of frames are told apart by (frame_table.h). */
#include <dlfcn.h>
#include <stddef.h>

char much[40 << 20]; /* never touched */

__attribute__((destructor)) static void part(void)
{
    void (*parting)(void);
    *(void **)&parting = dlsym(RTLD_DEFAULT, "at_parting");
    if (parting)
        parting();
}
