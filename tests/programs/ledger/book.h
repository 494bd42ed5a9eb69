/*
 * The ledger's book: what the program itself knows about its blocks, per tag.
 *
 * It is the truth that heaptally's figures are held against, so it shares nothing with them: its
 * memory is static, never from malloc, and every entry is an atomic that a signal handler may add
 * to. Entry 0 stands for "no scope open" and is kept but not printed: the blocks that libc takes
 * for itself fall there too, and the book does not see those.
 */
#ifndef LEDGER_BOOK_H
#define LEDGER_BOOK_H

#include <cstddef>
#include <cstdint>

constexpr int book_tags = 9; /* entry 0 included */

enum book_tag { TAG_NONE = 0, TAG_FIRST = 1, TAG_LAST_WORK = 6, TAG_HANDLER = 7, TAG_VISITOR = 8 };

/* The name of entry `tag` (1 to book_tags - 1); static storage. */
const char *book_name(int tag);

/* A block of `size` requested bytes now belongs to `tag`. Async-signal-safe, any thread. */
void book_allocated(int tag, size_t size);

/* A block that book_allocated() entered under the same `tag` and `size` is gone. */
void book_freed(int tag, size_t size);

void book_constructed(int tag);
void book_cycle(int tag);

/* Prints all entries but 0 as a JSON array to stdout. Call when no other thread is running. */
void book_print();

#endif
