#include "book.h"

#include <atomic>
#include <cstdio>

namespace
{
struct entry {
    std::atomic<uint64_t> allocated_bytes, allocated_blocks, freed_bytes, freed_blocks;
    std::atomic<uint64_t> instantiations, cycles;
};

entry entries[book_tags];

#define TEN       "0123456789"
#define LONG_NAME TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "0123456" /* 127 bytes */

/* One name of the greatest length, one beyond ASCII, one with what JSON and the shell must quote.
 */
const char *const names[book_tags] = {
    "",  "classical",      "régulateur-β", "a \"quoted\" \\name{} $HOME", LONG_NAME, "sta",
    "x", "signal-handler", "visitor",
};
} // namespace

const char *book_name(int tag)
{
    return names[tag];
}

void book_allocated(int tag, size_t size)
{
    entries[tag].allocated_bytes.fetch_add(size, std::memory_order_relaxed);
    entries[tag].allocated_blocks.fetch_add(1, std::memory_order_relaxed);
}

void book_freed(int tag, size_t size)
{
    entries[tag].freed_bytes.fetch_add(size, std::memory_order_relaxed);
    entries[tag].freed_blocks.fetch_add(1, std::memory_order_relaxed);
}

void book_constructed(int tag)
{
    entries[tag].instantiations.fetch_add(1, std::memory_order_relaxed);
}

void book_cycle(int tag)
{
    entries[tag].cycles.fetch_add(1, std::memory_order_relaxed);
}

static void print_quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('"');
}

void book_print()
{
    for (int tag = 1; tag < book_tags; tag++) {
        const entry &e = entries[tag];
        printf("%s{\"tag\": ", tag == 1 ? "[" : ",\n ");
        print_quoted(names[tag]);
        printf(", \"live_bytes\": %llu, \"live_blocks\": %llu",
               (unsigned long long)(e.allocated_bytes - e.freed_bytes),
               (unsigned long long)(e.allocated_blocks - e.freed_blocks));
        printf(", \"allocated_bytes\": %llu, \"allocated_blocks\": %llu",
               (unsigned long long)e.allocated_bytes, (unsigned long long)e.allocated_blocks);
        printf(", \"instantiations\": %llu, \"cycles\": %llu}",
               (unsigned long long)e.instantiations, (unsigned long long)e.cycles);
    }
    printf("]");
}
