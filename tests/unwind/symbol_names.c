/* Prints the names that symbol_scan finds in a binary.
 *
 *     symbol_names FILE < ADDRESSES      (link-time, hexadecimal, one a line)
 *
 * One line for each address, in the order of input: ADDRESS START NAME, START and NAME being "-"
 * where there is no name. */
#include "../../preload/symbol_scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "file_module.h"

static struct symbol_request requests[SYMBOL_SCAN_BATCH];
static char names[SYMBOL_SCAN_BATCH][SYMBOL_SCAN_NAME];

static int name_batch(const struct module_file *file, size_t count)
{
    int error = symbol_scan(file, requests, count);
    if (error) {
        fprintf(stderr, "%s: %s\n", file->path, strerror(-error));
        return 2;
    }
    for (size_t i = 0; i < count; i++) {
        if (!names[i][0])
            printf("%" PRIx64 " - -\n", requests[i].vaddr);
        else
            printf("%" PRIx64 " %" PRIx64 " %s%s\n", requests[i].vaddr, requests[i].start, names[i],
                   requests[i].truncated ? "..." : "");
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct unwind_module module;
    char line[64];
    size_t count = 0;
    int status = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: symbol_names FILE < ADDRESSES\n");
        return 2;
    }
    if (file_module(argv[1], &module))
        return 2;
    while (!status && fgets(line, sizeof line, stdin)) {
        requests[count] = (struct symbol_request){
            .vaddr = strtoull(line, NULL, 16),
            .name = names[count],
            .capacity = SYMBOL_SCAN_NAME,
        };
        if (++count < SYMBOL_SCAN_BATCH)
            continue;
        status = name_batch(&module.file, count);
        count = 0;
    }
    if (!status && count)
        status = name_batch(&module.file, count);
    return status;
}
