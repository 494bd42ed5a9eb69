/*
 * Stands in for libFuzzer where the compiler has none: runs every file of the directories that are
 * named, and N mutations of each, always the same ones.
 *
 *   fuzz_replay N DIRECTORY...
 *
 * Dies of what a fuzzer would die of; the file is named before it is run.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { MOST_BYTES = 1 << 17 };

static uint8_t original[MOST_BYTES], input[MOST_BYTES];
static unsigned long runs;
static uint64_t state = 1;

static size_t draw(size_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(state >> 33) % below;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
    size_t at = draw(size + 1), count = 1 + draw(16);
    switch (draw(4)) {
    case 0: /* longer */
        if (size + count > max_size)
            return size;
        memmove(data + at + count, data + at, size - at);
        for (size_t i = 0; i < count; i++)
            data[at + i] = (uint8_t)draw(256);
        return size + count;
    case 1: /* shorter */
        if (at + count > size)
            return at;
        memmove(data + at, data + at + count, size - at - count);
        return size - count;
    default:
        if (at < size)
            data[at] = draw(2) ? (uint8_t)draw(256) : (uint8_t)(data[at] ^ 1u << draw(8));
        return size;
    }
}

static size_t read_file(const char *path)
{
    FILE *in = fopen(path, "rb");
    if (!in) {
        perror(path);
        exit(2);
    }
    size_t size = fread(original, 1, sizeof original, in);
    fclose(in);
    return size;
}

static void run_file(const char *path, unsigned mutations)
{
    size_t size = read_file(path);
    printf("%s: %zu bytes\n", path, size);
    fflush(stdout);
    LLVMFuzzerTestOneInput(original, size);
    runs++;
    for (unsigned seed = 0; seed < mutations; seed++) {
        size_t length = size;
        memcpy(input, original, size);
        for (unsigned n = 0; n < 1 + seed % 5; n++)
            length = LLVMFuzzerCustomMutator(input, length, sizeof input, 5 * seed + n);
        LLVMFuzzerTestOneInput(input, length);
        runs++;
    }
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    LLVMFuzzerInitialize(&argc, &argv);
    fuzz_takes_all_ways = true;
    for (int i = 2; i < argc; i++) {
        struct dirent **names;
        int count = scandir(argv[i], &names, is_visible, alphasort);
        if (count < 0) {
            perror(argv[i]);
            return 2;
        }
        for (int j = 0; j < count; j++) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], names[j]->d_name);
            run_file(path, (unsigned)strtoul(argv[1], NULL, 10));
            free(names[j]);
        }
        free(names);
    }
    printf("%lu runs\n", runs);
    return runs ? 0 : 1;
}
