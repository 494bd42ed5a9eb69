/* See module_bytes.h.
 *
 * Two tables, both of fixed size and evicted least-recently-used first:
 *
 *   files[MODULE_BYTES_FILES]   one per identified file: what it is (key), what fstat said when it
 *                               was last identified, and its PT_LOAD segments.
 *   pages[MODULE_BYTES_PAGES]   one per cached page: (index in files, number of the page by
 *                               link-time address) -> MODULE_BYTES_PAGE bytes.
 *
 * A page is filled from the segments as the kernel would map them, byte for byte; what no segment
 * has in the file is 0. Pages of a file that leaves `files` leave with it. Pages outlive the file
 * on disk: once read from an identified file they are right for ever. */
#include "module_bytes.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "heaptally/crc32c.h"

enum {
    MAX_SEGMENTS = 16,     /* PT_LOAD entries of one file; linkers make 2 to 6 */
    MAX_HEADERS = 64,      /* program headers of one file */
    MAX_BUILD_ID = 64,     /* bytes; SHA-1, the usual one, has 20 */
    MAX_VDSO = 65536,      /* bytes; 8192 as of Linux 6 */
    FRAME_ENCODING = 0x1b, /* how .eh_frame_hdr points to .eh_frame: relative, 4 bytes */
    NO_FILE = 0xffff,      /* no index in files */
};

struct segment {
    uint64_t vaddr, memory_size, offset, file_size;
};

struct known_file {
    bool taken;
    bool vdso;
    uint64_t last_use;
    /* The key: what the caller said of the module. */
    uint64_t path_hash;
    uint8_t build_id[MAX_BUILD_ID];
    uint32_t build_id_length;
    uint32_t unwind_digest;
    uint64_t eh_frame_hdr_vaddr, eh_frame_hdr_size;
    /* The file that was found to be that module. */
    struct stat status;
    unsigned segments;
    struct segment segment[MAX_SEGMENTS];
};

struct cached_page {
    uint16_t file; /* index in files, or NO_FILE */
    uint64_t number;
    uint64_t last_use;
    uint8_t bytes[MODULE_BYTES_PAGE];
};

struct cache {
    uint64_t clock; /* counts uses, for last_use */
    struct known_file files[MODULE_BYTES_FILES];
    struct cached_page pages[MODULE_BYTES_PAGES];
    uint8_t *vdso; /* the copy, NULL until wanted */
    size_t vdso_size;
    /* The batch. */
    uint16_t current;                /* index in files, or NO_FILE */
    const struct module_file *named; /* as the caller of module_bytes_begin described it */
    int descriptor;                  /* -1 while closed */
    unsigned recent;                 /* index of the page that was read last */
};

static struct cache *cache;

int module_bytes_open(void)
{
    if (cache)
        return 0;
    cache = calloc(1, sizeof *cache);
    if (!cache)
        return -ENOMEM;
    for (unsigned i = 0; i < MODULE_BYTES_PAGES; i++)
        cache->pages[i].file = NO_FILE;
    cache->current = NO_FILE;
    cache->descriptor = -1;
    return 0;
}

void module_bytes_close(void)
{
    if (!cache)
        return;
    module_bytes_end();
    free(cache->vdso);
    free(cache);
    cache = NULL;
}

/* Reads exactly `length` bytes at `offset`; -ENOEXEC if the file ends before. */
static int read_exactly(int descriptor, uint64_t offset, void *out, size_t length)
{
    uint8_t *to = out;
    while (length) {
        ssize_t got = pread(descriptor, to, length, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return -ENOEXEC;
        to += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return 0;
}

/* ---- What a file is -------------------------------------------------------------------------- */

struct elf_headers {
    unsigned count;
    Elf64_Phdr header[MAX_HEADERS];
};

static int check_elf_header(const Elf64_Ehdr *header)
{
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) || header->e_ident[EI_CLASS] != ELFCLASS64 ||
        header->e_ident[EI_DATA] != ELFDATA2LSB || header->e_machine != EM_X86_64)
        return -ENOEXEC;
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
        return -ENOEXEC;
    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum > MAX_HEADERS)
        return -ENOEXEC;
    return 0;
}

static int read_headers(int descriptor, struct elf_headers *headers)
{
    Elf64_Ehdr elf;
    int error = read_exactly(descriptor, 0, &elf, sizeof elf);
    if (!error)
        error = check_elf_header(&elf);
    if (error)
        return error;
    headers->count = elf.e_phnum;
    return read_exactly(descriptor, elf.e_phoff, headers->header,
                        headers->count * sizeof headers->header[0]);
}

/* Looks for the build-id among the notes in `bytes`. Its length, 0 if it isn't there; *id points
 * into `bytes`. */
static uint32_t find_build_id(const uint8_t *bytes, size_t length, size_t align, const uint8_t **id)
{
    size_t at = 0;
    while (at + sizeof(Elf64_Nhdr) <= length) {
        Elf64_Nhdr note;
        memcpy(&note, bytes + at, sizeof note);
        uint64_t name = at + sizeof note;
        uint64_t body = name + (((uint64_t)note.n_namesz + align - 1) & ~(uint64_t)(align - 1));
        uint64_t next = body + (((uint64_t)note.n_descsz + align - 1) & ~(uint64_t)(align - 1));
        if (body + note.n_descsz > length)
            break;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            !memcmp(bytes + name, "GNU", 4)) {
            *id = bytes + body;
            return note.n_descsz;
        }
        at = (size_t)next;
    }
    return 0;
}

/* Whether the file has the build-id that the module has; a module without one needs a file
 * without one. 0, -ESTALE, or -errno. */
static int check_build_id(int descriptor, const struct elf_headers *headers,
                          const struct module_file *file)
{
    for (unsigned i = 0; i < headers->count; i++) {
        const Elf64_Phdr *header = &headers->header[i];
        uint8_t notes[MODULE_BYTES_PAGE];
        if (header->p_type != PT_NOTE)
            continue;
        size_t length = header->p_filesz < sizeof notes ? header->p_filesz : sizeof notes;
        int error = read_exactly(descriptor, header->p_offset, notes, length);
        if (error)
            return error;
        const uint8_t *id;
        uint32_t id_length = find_build_id(notes, length, header->p_align == 8 ? 8 : 4, &id);
        if (id_length)
            return id_length == file->build_id_length && !memcmp(id, file->build_id, id_length)
                       ? 0
                       : -ESTALE;
    }
    return file->build_id_length ? -ESTALE : 0;
}

/* A segment with an unwind table, in memory or in the file. */
struct image {
    const Elf64_Phdr *segment;
    int descriptor;     /* of the file, -1: it is in memory */
    uint64_t load_bias; /* where in memory */
};

static int read_image(const struct image *image, uint64_t vaddr, void *out, size_t length)
{
    const Elf64_Phdr *segment = image->segment;
    if (vaddr < segment->p_vaddr || vaddr - segment->p_vaddr > segment->p_filesz ||
        length > segment->p_filesz - (vaddr - segment->p_vaddr))
        return -ENOEXEC;
    if (image->descriptor >= 0)
        return read_exactly(image->descriptor, segment->p_offset + (vaddr - segment->p_vaddr), out,
                            length);
    memcpy(out, (const void *)(image->load_bias + vaddr), length);
    return 0;
}

static int digest_bytes(const struct image *image, uint64_t vaddr, uint64_t length, uint32_t *crc)
{
    while (length) {
        uint8_t block[MODULE_BYTES_PAGE];
        size_t part = length < sizeof block ? (size_t)length : sizeof block;
        int error = read_image(image, vaddr, block, part);
        if (error)
            return error;
        *crc = htl_crc32c(*crc, block, part);
        vaddr += part;
        length -= part;
    }
    return 0;
}

/* The records of .eh_frame, each of which begins with its length, as far as they make sense. */
static int digest_records(const struct image *image, uint64_t vaddr, uint32_t *crc)
{
    uint32_t length;
    while (!read_image(image, vaddr, &length, sizeof length) && length && length < 0xfffffff0) {
        int error = digest_bytes(image, vaddr, sizeof length + (uint64_t)length, crc);
        if (error)
            return error == -ENOEXEC ? 0 : error;
        vaddr += sizeof length + (uint64_t)length;
    }
    return 0;
}

/* Finds the unwind table's header and the segment that holds it; NULL if there is none. */
static const Elf64_Phdr *find_table(const Elf64_Phdr *headers, unsigned count, struct image *image)
{
    const Elf64_Phdr *table = NULL;
    for (unsigned i = 0; i < count; i++)
        if (headers[i].p_type == PT_GNU_EH_FRAME)
            table = &headers[i];
    image->segment = NULL;
    for (unsigned i = 0; table && i < count; i++)
        if (headers[i].p_type == PT_LOAD && table->p_vaddr >= headers[i].p_vaddr &&
            table->p_vaddr - headers[i].p_vaddr < headers[i].p_filesz)
            image->segment = &headers[i];
    return image->segment ? table : NULL;
}

/* The same in memory and in the file, unless relocations changed the table in memory; then the
 * module isn't recognised, which is safe. */
static int digest_table(const struct image *image, const Elf64_Phdr *table, uint32_t *digest)
{
    struct {
        uint8_t version, frame_encoding, count_encoding, table_encoding;
        int32_t frame; /* from here to .eh_frame */
    } start;
    uint32_t crc = 0;
    int error = digest_bytes(image, table->p_vaddr, table->p_filesz, &crc);
    if (!error)
        error = read_image(image, table->p_vaddr, &start, sizeof start);
    if (!error && start.frame_encoding != FRAME_ENCODING)
        error = -ENOEXEC;
    if (!error)
        error = digest_records(image, table->p_vaddr + 4 + (uint64_t)(int64_t)start.frame, &crc);
    *digest = crc ? crc : 1;
    return error;
}

uint32_t module_bytes_digest(const Elf64_Phdr *headers, unsigned count, uint64_t load_bias)
{
    struct image image = {.descriptor = -1, .load_bias = load_bias};
    const Elf64_Phdr *table = find_table(headers, count, &image);
    uint32_t digest;
    return table && !digest_table(&image, table, &digest) ? digest : 0;
}

/* For a module without build-id: whether the file has the module's unwind table. */
static int check_table(int descriptor, const struct elf_headers *headers,
                       const struct module_file *file)
{
    struct image image = {.descriptor = descriptor};
    const Elf64_Phdr *table = find_table(headers->header, headers->count, &image);
    uint32_t digest;
    if (!table || !file->unwind_digest || table->p_vaddr != file->eh_frame_hdr_vaddr ||
        table->p_filesz != file->eh_frame_hdr_size)
        return -ESTALE;
    int error = digest_table(&image, table, &digest);
    if (error)
        return error == -ENOEXEC ? -ESTALE : error;
    return digest == file->unwind_digest ? 0 : -ESTALE;
}

/* Identifies the open file and reads its program headers. */
static int identify(int descriptor, const struct module_file *file, struct elf_headers *headers)
{
    int error = read_headers(descriptor, headers);
    if (!error)
        error = check_build_id(descriptor, headers, file);
    if (!error && !file->build_id_length)
        error = check_table(descriptor, headers, file);
    return error;
}

/* Opens a regular file; not a FIFO or device put in its place, which could block. */
static int open_regular(const char *path, struct stat *status)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0)
        return -errno;
    int error = 0;
    if (fstat(descriptor, status))
        error = -errno;
    else if (!S_ISREG(status->st_mode))
        error = -ESTALE;
    if (!error)
        return descriptor;
    close(descriptor);
    return error;
}

int module_bytes_open_file(const struct module_file *file)
{
    if (!file->path)
        return -ENOENT;
    struct stat status;
    int descriptor = open_regular(file->path, &status);
    if (descriptor < 0)
        return descriptor;
    struct elf_headers headers;
    int error = identify(descriptor, file, &headers);
    if (!error)
        return descriptor;
    close(descriptor);
    return error;
}

/* ---- Known files ----------------------------------------------------------------------------- */

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* FNV-1a. */
static uint64_t hash_path(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (; *path; path++)
        hash = (hash ^ (uint8_t)*path) * 0x100000001b3;
    return hash;
}

static bool is_known_as(const struct known_file *known, const struct module_file *file,
                        uint64_t path_hash)
{
    if (!known->taken || known->vdso != !file->path)
        return false;
    if (known->vdso)
        return true;
    return known->path_hash == path_hash && known->build_id_length == file->build_id_length &&
           !memcmp(known->build_id, file->build_id_length ? file->build_id : known->build_id,
                   file->build_id_length) &&
           known->unwind_digest == file->unwind_digest &&
           known->eh_frame_hdr_vaddr == file->eh_frame_hdr_vaddr &&
           known->eh_frame_hdr_size == file->eh_frame_hdr_size;
}

static void set_key(struct known_file *known, const struct module_file *file, uint64_t path_hash)
{
    known->path_hash = path_hash;
    known->build_id_length = file->build_id_length;
    if (file->build_id_length)
        memcpy(known->build_id, file->build_id, file->build_id_length);
    known->unwind_digest = file->unwind_digest;
    known->eh_frame_hdr_vaddr = file->eh_frame_hdr_vaddr;
    known->eh_frame_hdr_size = file->eh_frame_hdr_size;
}

static int set_segments(struct known_file *known, const Elf64_Phdr *headers, unsigned count)
{
    known->segments = 0;
    for (unsigned i = 0; i < count; i++) {
        const Elf64_Phdr *header = &headers[i];
        if (header->p_type != PT_LOAD)
            continue;
        if (known->segments == MAX_SEGMENTS || header->p_filesz > header->p_memsz ||
            header->p_memsz > UINT64_MAX - 8 - header->p_vaddr ||
            header->p_offset > INT64_MAX - header->p_filesz)
            return -ENOEXEC;
        known->segment[known->segments++] = (struct segment){
            .vaddr = header->p_vaddr,
            .memory_size = header->p_memsz,
            .offset = header->p_offset,
            .file_size = header->p_filesz,
        };
    }
    return 0;
}

/* A free entry of files, the least recently used one if need be; its pages are forgotten. */
static struct known_file *take_file(void)
{
    unsigned oldest = 0;
    for (unsigned i = 0; i < MODULE_BYTES_FILES; i++) {
        if (!cache->files[i].taken) {
            oldest = i;
            break;
        }
        if (cache->files[i].last_use < cache->files[oldest].last_use)
            oldest = i;
    }
    for (unsigned i = 0; i < MODULE_BYTES_PAGES; i++)
        if (cache->pages[i].file == oldest)
            cache->pages[i].file = NO_FILE;
    memset(&cache->files[oldest], 0, sizeof cache->files[oldest]);
    return &cache->files[oldest];
}

/* Opens the file of the batch and makes sure that it is (still) the one that `known` says. */
static int open_known(struct known_file *known)
{
    struct stat status;
    int descriptor = open_regular(cache->named->path, &status);
    if (descriptor < 0)
        return descriptor;
    if (!known->segments || !same_file(&status, &known->status)) {
        struct elf_headers headers;
        int error = identify(descriptor, cache->named, &headers);
        if (!error)
            error = set_segments(known, headers.header, headers.count);
        if (error) {
            close(descriptor);
            return error;
        }
        known->status = status;
    }
    cache->descriptor = descriptor;
    return 0;
}

/* Copies the vDSO, which the kernel maps as the image of an ELF file with one segment. */
static int copy_vdso(struct known_file *known)
{
    const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
    if (!image)
        return -ENOENT;
    Elf64_Ehdr elf;
    memcpy(&elf, image, sizeof elf);
    int error = check_elf_header(&elf);
    if (error)
        return error;
    if (elf.e_phoff + elf.e_phnum * sizeof(Elf64_Phdr) > MODULE_BYTES_PAGE)
        return -ENOEXEC;
    Elf64_Phdr headers[MAX_HEADERS];
    memcpy(headers, image + elf.e_phoff, elf.e_phnum * sizeof headers[0]);
    error = set_segments(known, headers, elf.e_phnum);
    if (error)
        return error;
    if (known->segments != 1 || known->segment[0].offset || known->segment[0].file_size > MAX_VDSO)
        return -ENOEXEC;
    if (!cache->vdso) {
        cache->vdso = malloc(known->segment[0].file_size);
        if (!cache->vdso)
            return -ENOMEM;
        cache->vdso_size = known->segment[0].file_size;
        memcpy(cache->vdso, image, cache->vdso_size);
    }
    return 0;
}

int module_bytes_begin(const struct module_file *file)
{
    if (!cache)
        return -ENOMEM;
    module_bytes_end();
    if (file->build_id_length > MAX_BUILD_ID)
        return -ENOEXEC;
    uint64_t path_hash = file->path ? hash_path(file->path) : 0;
    struct known_file *known = NULL;
    for (unsigned i = 0; i < MODULE_BYTES_FILES && !known; i++)
        if (is_known_as(&cache->files[i], file, path_hash))
            known = &cache->files[i];
    cache->named = file;
    if (!known) {
        known = take_file();
        known->vdso = !file->path;
        set_key(known, file, path_hash);
        int error = known->vdso ? copy_vdso(known) : open_known(known);
        if (error)
            return error;
        known->taken = true;
    }
    known->last_use = ++cache->clock;
    cache->current = (uint16_t)(known - cache->files);
    return 0;
}

void module_bytes_end(void)
{
    if (!cache)
        return;
    if (cache->descriptor >= 0)
        close(cache->descriptor);
    cache->descriptor = -1;
    cache->current = NO_FILE;
    cache->named = NULL;
}

/* ---- Pages ----------------------------------------------------------------------------------- */

/* Copies to the page that begins at `start` what the segment has in the file for it. */
static int fill_from_segment(const struct known_file *known, const struct segment *segment,
                             uint64_t start, uint8_t *bytes)
{
    uint64_t end = start + MODULE_BYTES_PAGE;
    uint64_t from = segment->vaddr > start ? segment->vaddr : start;
    uint64_t to = segment->vaddr + segment->file_size;
    if (to > end)
        to = end;
    if (from >= to)
        return 0;
    uint64_t offset = segment->offset + (from - segment->vaddr);
    if (!known->vdso)
        return read_exactly(cache->descriptor, offset, bytes + (from - start), to - from);
    if (offset + (to - from) > cache->vdso_size)
        return -ENOEXEC;
    memcpy(bytes + (from - start), cache->vdso + offset, to - from);
    return 0;
}

static int fill_page(struct cached_page *page, uint64_t number)
{
    struct known_file *known = &cache->files[cache->current];
    page->file = NO_FILE;
    if (!known->vdso && cache->descriptor < 0) {
        int error = open_known(known);
        if (error)
            return error;
    }
    memset(page->bytes, 0, sizeof page->bytes);
    for (unsigned i = 0; i < known->segments; i++) {
        int error =
            fill_from_segment(known, &known->segment[i], number * MODULE_BYTES_PAGE, page->bytes);
        if (error)
            return error;
    }
    page->file = cache->current;
    page->number = number;
    return 0;
}

/* Finds the page in the cache, or fills the least recently used one with it. */
static int get_page(uint64_t number, const struct cached_page **out)
{
    struct cached_page *page = &cache->pages[cache->recent];
    if (page->file != cache->current || page->number != number) {
        struct cached_page *oldest = &cache->pages[0];
        page = NULL;
        for (unsigned i = 0; i < MODULE_BYTES_PAGES && !page; i++) {
            struct cached_page *other = &cache->pages[i];
            if (other->file == cache->current && other->number == number)
                page = other;
            else if (oldest->file != NO_FILE &&
                     (other->file == NO_FILE || other->last_use < oldest->last_use))
                oldest = other;
        }
        if (!page) {
            int error = fill_page(oldest, number);
            if (error)
                return error;
            page = oldest;
        }
        page->last_use = ++cache->clock;
        cache->recent = (unsigned)(page - cache->pages);
    }
    *out = page;
    return 0;
}

static bool in_one_segment(const struct known_file *known, uint64_t vaddr, size_t length)
{
    for (unsigned i = 0; i < known->segments; i++) {
        const struct segment *segment = &known->segment[i];
        uint64_t start = segment->vaddr & ~(uint64_t)7;
        uint64_t end = (segment->vaddr + segment->memory_size + 7) & ~(uint64_t)7;
        if (vaddr >= start && vaddr < end && length <= end - vaddr)
            return true;
    }
    return false;
}

/* memcpy; most of what is read are single bytes, and words. */
static inline void copy(uint8_t *to, const uint8_t *from, size_t length)
{
    if (length == 1)
        *to = *from;
    else if (length == 8)
        memcpy(to, from, 8);
    else
        memcpy(to, from, length);
}

int module_bytes_read(uint64_t vaddr, void *out, size_t length)
{
    if (!cache || cache->current == NO_FILE)
        return -ENOMEM;
    if (!in_one_segment(&cache->files[cache->current], vaddr, length))
        return -EFAULT;
    uint8_t *to = out;
    while (length) {
        const struct cached_page *page;
        int error = get_page(vaddr / MODULE_BYTES_PAGE, &page);
        if (error)
            return error;
        size_t within = vaddr % MODULE_BYTES_PAGE;
        size_t part = sizeof page->bytes - within;
        if (part > length)
            part = length;
        copy(to, page->bytes + within, part);
        to += part;
        vaddr += part;
        length -= part;
    }
    return 0;
}
