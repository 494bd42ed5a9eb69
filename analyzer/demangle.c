/* libiberty knows the manglings, and bounds its recursion. */
#include "demangle.h"

#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { LONGEST_MANGLED = 8192 };

char *ht_demangle(const char *name)
{
    char *text = NULL;
    if (name[0] == '_' && (name[1] == 'Z' || name[1] == 'R') && strlen(name) <= LONGEST_MANGLED)
        text = cplus_demangle(name, DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO);
    char *clean = ht_clean(text ? text : name, strlen(text ? text : name));
    free(text);
    return clean;
}
