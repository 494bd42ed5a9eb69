#include "launch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

/* The library beside this command: in the build directory or installed. A new string or NULL. */
static char *library_beside(void)
{
    static const char *const places[] = {"../preload/libheaptally.so",
                                         HEAPTALLY_LIBRARY_FROM_COMMAND};
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        return NULL;
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char *candidate = ht_format("%s/%s", self, places[i]);
        char *real = realpath(candidate, NULL);
        free(candidate);
        if (real)
            return real;
    }
    return NULL;
}

char *ht_find_library(void)
{
    const char *given = getenv("HEAPTALLY_LIBRARY");
    char *library = given && *given ? realpath(given, NULL) : library_beside();
    if (given && *given && !library) {
        ht_complain("HEAPTALLY_LIBRARY=%s: %s; name an existing libheaptally.so", given,
                    strerror(errno));
        return NULL;
    }
    if (!library)
        library = ht_format("%s", HEAPTALLY_LIBRARY_INSTALLED);
    if (access(library, R_OK) != 0)
        ht_complain("%s: %s; install heaptally again, or name the library in HEAPTALLY_LIBRARY",
                    library, strerror(errno));
    else if (strpbrk(library, ": \t\n"))
        ht_complain("%s: LD_PRELOAD cannot hold a path with ':' or a blank; install heaptally "
                    "elsewhere",
                    library);
    else
        return library;
    free(library);
    return NULL;
}

void ht_set_variable(const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0) {
        ht_complain("out of memory");
        exit(ht_failure_status);
    }
}

void ht_preload(const char *library)
{
    const char *preloaded = getenv("LD_PRELOAD");
    char *preload =
        preloaded && *preloaded ? ht_format("%s:%s", library, preloaded) : ht_format("%s", library);
    ht_set_variable("LD_PRELOAD", preload);
    free(preload);
    /* The process keeps its number through exec: the library knows by it that it is the first. */
    char *root = ht_format("%ld", (long)getpid());
    ht_set_variable("HEAPTALLY_ROOT", root);
    free(root);
}
