/* Bytes of a module's file, by link-time address.
 *
 * A *module* is one loaded ELF object: the program, a library, the vDSO. What is read here are the
 * tables that its file carries (.eh_frame and its search table). They are read with pread into a
 * cache of MODULE_BYTES_PAGES pages, never from the mapped module: a dlclose on another thread may
 * unmap that at any moment, and under mlockall a touched mapping would stay resident.
 *
 * The file is trusted only once it has been shown to be the one that was loaded: by its build-id,
 * or, where it has none, by the checksum of its unwind table. It is opened for the length
 * of one batch of reads only, and only if the cache lacks a page, since a program may close, or
 * count, every descriptor it finds. A file whose device, inode, size or times changed is identified
 * anew.
 *
 * Link-time address: the address in the file's program headers; run-time address minus load bias.
 *
 * Threads: one thread only (the monitor) uses this file. No locks, no stdio. */
#ifndef HEAPTALLY_MODULE_BYTES_H
#define HEAPTALLY_MODULE_BYTES_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

/* Which file a module was loaded from. All of it is copied from the loaded image by the caller,
 * who owns the pointers; they need to live for the length of a call only. */
struct module_file {
    const char *path;            /* absolute; NULL for the vDSO, which has no file */
    const uint8_t *build_id;     /* NT_GNU_BUILD_ID of the loaded image; NULL if it has none */
    uint32_t build_id_length;    /* in bytes, 0 if it has none */
    uint64_t eh_frame_hdr_vaddr; /* link-time address of PT_GNU_EH_FRAME, 0 if there is none */
    uint64_t eh_frame_hdr_size;  /* p_filesz of it, in bytes */
    /* module_bytes_digest of the loaded module. Looked at only where build_id_length is 0; a module
     * that has neither cannot be told from a file put in its place, and reads as -ESTALE. */
    uint32_t unwind_digest;
};

enum {
    MODULE_BYTES_PAGE = 4096, /* bytes of one cached page */
    MODULE_BYTES_PAGES = 32,  /* pages in the cache: 128 KB, shared by all modules */
    MODULE_BYTES_FILES = 64,  /* files whose identity and segments are remembered */
};

/* Takes the memory of the cache (about 190 KB, malloc). 0, or -ENOMEM. Calling it again is free. */
int module_bytes_open(void);

/* Gives all of it back. Harmless if it isn't open. */
void module_bytes_close(void);

/* Begins a batch of reads from one module. Identifies its file, unless it is known already.
 * 0; -ESTALE if the file at that path is not the one that was loaded; -ENOEXEC if it is no 64-bit
 * ELF file for this machine; -ENOMEM before module_bytes_open; else the -errno of open, fstat or
 * pread. The vDSO is copied from memory once; -ENOENT if there is none. */
int module_bytes_begin(const struct module_file *file);

/* Copies the `length` bytes at link-time address `vaddr` of the module of this batch to `out`.
 * Bytes that a segment has in memory only (.bss) read as 0. The end of a segment is taken at the
 * next multiple of 8, so that the aligned words that hold its last bytes can be read.
 * 0; -EFAULT if no segment holds them all; else as module_bytes_begin, if bytes had to be read
 * from the file. `out` is undefined on error. */
int module_bytes_read(uint64_t vaddr, void *out, size_t length);

/* Ends the batch: closes the descriptor. */
void module_bytes_end(void);

/* Opens the file of a module (O_RDONLY | O_CLOEXEC) and identifies it as module_bytes_read does.
 * The descriptor, which the caller closes, or a -errno as above. -ENOENT for the vDSO. */
int module_bytes_open_file(const struct module_file *file);

/* The checksum of a loaded module's unwind table, for unwind_digest: .eh_frame_hdr and, after it,
 * the records of .eh_frame. Reads the module's memory, so the loader's lock must be held (the
 * program headers and bias are those of a dl_iterate_phdr callback). 0 if the module has no such
 * table. */
uint32_t module_bytes_digest(const Elf64_Phdr *headers, unsigned count, uint64_t load_bias);

#endif
