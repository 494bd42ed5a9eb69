/* See output.h. */
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "text.h"

enum { STANDARD_WIDTH = 100 };

FILE *ht_output_open(const char *path)
{
    FILE *out = path ? fopen(path, "we") : stdout;
    if (!out)
        ht_complain("%s: cannot be written: %s; name another file", path, strerror(errno));
    return out;
}

bool ht_output_close(FILE *out, const char *path)
{
    bool fine = !ferror(out);
    fine &= (out == stdout ? fflush(stdout) : fclose(out)) == 0;
    if (!fine)
        ht_complain("%s: cannot be written: %s; is the disk full?", path ? path : "standard output",
                    strerror(errno));
    return fine;
}

size_t ht_output_width(FILE *out, size_t least)
{
    struct winsize window;
    const char *columns = getenv("COLUMNS");
    size_t width = STANDARD_WIDTH;
    if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
        width = window.ws_col;
    if (columns && atoi(columns) > 0)
        width = (size_t)atoi(columns);
    return width < least ? least : width;
}
