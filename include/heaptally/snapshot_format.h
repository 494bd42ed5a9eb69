/*
 * The snapshot file (.htl): what the preload writes and the analyzer reads.
 *
 * A file is one `htl_file_header`, then records until the end. All numbers are little-endian and
 * fixed-width; every record starts at a multiple of 8 bytes from the start of the file. The file
 * is append-only: what was written once stays readable whatever happens to the process later. A
 * reader takes records while they are whole and their CRC agrees, and stops at the first that is
 * not: that is the torn tail.
 *
 *   offset 0           htl_file_header, exe path, host name, padding to 8
 *   then, repeatedly   htl_record_header (16 bytes), payload (`length` bytes), padding to 8
 *
 * Identifiers (module, tag, stack, site) are small integers, chosen by the writer, dense or not. A
 * dictionary record (MODULE, TAG, STACK, SITE) always comes before the first record that uses the
 * identifier. A dictionary record may come again with the same identifier; the later one replaces
 * the earlier one: a SITE moves to another tag or stack when its call site becomes better known.
 *
 * Counters are monotonic since the start of counting (see TICK). Live figures are derived:
 * live = allocated - freed.
 *
 * Evolution: new record types may appear at any time; a reader skips a type that it does not know
 * unless HTL_RECORD_REQUIRED is set in the record's flags. Payloads may grow at their end; a reader
 * takes the `*_size` fields of the payload as the stride and ignores what it does not know. A set
 * bit in `incompatible` that the reader does not know makes the file unreadable for it.
 */
#ifndef HEAPTALLY_SNAPSHOT_FORMAT_H
#define HEAPTALLY_SNAPSHOT_FORMAT_H

#include <stdint.h>

/* Bytes that are mangled by text-mode copies, so that such a copy is seen at once. */
#define HTL_MAGIC              "\x89HTL\r\n\x1a\n"
#define HTL_VERSION            1u
#define HTL_INCOMPATIBLE_KNOWN 0u /* no incompatible feature exists yet */
#define HTL_COMPATIBLE_SITES   1u /* htl_site.flags tell sites of scopes from all others */
#define HTL_ALIGNMENT          8u
#define HTL_MAX_RECORD         (64u << 20) /* a longer `length` is damage, not data */
#define HTL_UNKNOWN            UINT64_MAX  /* "not counted", for figures where 0 means zero */

struct htl_file_header {
    char magic[8];         /* HTL_MAGIC */
    uint16_t version;      /* HTL_VERSION */
    uint16_t machine;      /* ELF e_machine of the process */
    uint32_t header_size;  /* bytes up to the first record, strings and padding included */
    uint32_t compatible;   /* feature bits that a reader may ignore */
    uint32_t incompatible; /* feature bits that a reader must know */
    uint32_t pid;
    uint32_t parent_pid;
    uint64_t start_realtime_ns;  /* start of counting, CLOCK_REALTIME */
    uint64_t start_monotonic_ns; /* the same moment, CLOCK_MONOTONIC; ticks count from this */
    uint32_t page_size;
    uint16_t exe_length;    /* bytes of the exe path, which follows this struct, without a NUL */
    uint16_t host_length;   /* bytes of the host name, which follows the exe path */
    uint32_t pid_namespace; /* its inode; 0: the machine's first, or not known */
    uint32_t crc;           /* CRC-32C of the whole header (header_size bytes) with this field 0 */
};
_Static_assert(sizeof(struct htl_file_header) == 64, "file header layout");

enum htl_record_type {
    HTL_SETTINGS = 1, /* text, "key=value\n" for each option and fact of the environment */
    HTL_MODULE = 2,   /* struct htl_module */
    HTL_TAG = 3,      /* struct htl_tag */
    HTL_STACK = 4,    /* struct htl_stack */
    HTL_SITE = 5,     /* struct htl_site */
    HTL_TICK = 6,     /* struct htl_tick: what changed since the last tick */
    HTL_SNAPSHOT = 7, /* struct htl_tick with every tag and every site */
    HTL_HISTORY = 8,  /* struct htl_history: thinned past of one tag or of the process */
    HTL_ALERT = 9,    /* struct htl_alert */
    HTL_END = 10,     /* struct htl_end: written in good order, nothing follows */
    HTL_REGION = 11,  /* struct htl_region: comes again whenever its figures have risen */
};

#define HTL_RECORD_REQUIRED 0x0001u /* a reader that does not know the type must stop here */

struct htl_record_header {
    uint16_t type;   /* enum htl_record_type */
    uint16_t flags;  /* HTL_RECORD_* */
    uint32_t length; /* bytes of payload, without header and padding */
    uint32_t crc;    /* CRC-32C of this header with crc = 0, then of the payload */
    uint32_t reserved;
};
_Static_assert(sizeof(struct htl_record_header) == 16, "record header layout");

/* ---- dictionary ------------------------------------------------------------------------------ */

#define HTL_MODULE_MAIN    0x01u /* the executable */
#define HTL_MODULE_RUNTIME 0x02u /* language runtime or allocator: never blamed */
#define HTL_MODULE_SKIPPED 0x04u /* middleware or interpreter: blamed only for want of better */
#define HTL_MODULE_CLOSED  0x08u /* was unloaded; the addresses may belong to another one now */

struct htl_module {
    uint32_t id;
    uint32_t generation;      /* how many unloads had been seen when it was first seen */
    uint32_t flags;           /* HTL_MODULE_* */
    uint16_t build_id_length; /* bytes, 0 where the module has none */
    uint16_t path_length;     /* bytes, without a NUL */
    uint64_t load_bias;       /* run-time address minus address in the file */
    uint64_t start, end;      /* run-time extent of its loaded segments */
    /* then: build-id bytes, path bytes ("[vdso]" for the kernel's), and to the end of the payload
     * the soname, where it has one */
};
_Static_assert(sizeof(struct htl_module) == 40, "module layout");

enum htl_tag_kind {
    HTL_TAG_EXPLICIT = 1, /* from heaptally.h */
    HTL_TAG_RULE = 2,     /* from --tag or --construct */
    HTL_TAG_DEFAULT = 3,  /* a module's name */
    HTL_TAG_RUNTIME = 4,  /* "[runtime]": runtime frames only */
    HTL_TAG_ANON = 5,     /* "[anon]": code outside any module */
    HTL_TAG_OTHER = 6,    /* "[other]": more tags than the table holds */
};

struct htl_tag {
    uint32_t id;
    uint16_t kind;        /* enum htl_tag_kind */
    uint16_t name_length; /* bytes of UTF-8, 1..127, follow this struct */
};
_Static_assert(sizeof(struct htl_tag) == 8, "tag layout");

#define HTL_STACK_DEPTH 128 /* frames that a stack is kept to at most */

#define HTL_STACK_CUT      0x01u /* outer frames are missing: no unwind information, or too many */
#define HTL_STACK_FALLBACK 0x02u /* only the immediate return address is known (or nothing) */

#define HTL_NO_MODULE UINT32_MAX /* address outside any module; `offset` is the address itself */

struct htl_frame {
    uint32_t module; /* htl_module.id or HTL_NO_MODULE */
    uint32_t flags;  /* 0 for now */
    uint64_t offset; /* return address minus load_bias: look up offset - 1 */
};
_Static_assert(sizeof(struct htl_frame) == 16, "frame layout");

struct htl_stack {
    uint32_t id;
    uint32_t flags;       /* HTL_STACK_* */
    uint32_t frame_count; /* innermost first; 0 for an allocation known by its tag only */
    uint32_t frame_size;  /* sizeof(struct htl_frame) of the writer */
    /* then: frame_count frames */
};
_Static_assert(sizeof(struct htl_stack) == 16, "stack layout");

#define HTL_SITE_EXPLICIT 0x01u /* the tag is a scope's, not found by a rule or by default */

struct htl_site {
    uint32_t id;
    uint32_t stack;  /* htl_stack.id */
    uint32_t tag;    /* htl_tag.id: the effective tag */
    uint16_t flags;  /* HTL_SITE_* */
    uint16_t region; /* htl_region.id whose promise every allocation here broke, 0 for none */
};
_Static_assert(sizeof(struct htl_site) == 16, "site layout");

/*
 * A region in which the program promised to allocate nothing, and how often it did: figures of all
 * sites of the region, listed or not. A file without the record had no such region, or no
 * allocation in one.
 */
struct htl_region {
    uint16_t id;                 /* not 0; of its own kind, no htl_tag.id */
    uint16_t name_length;        /* bytes of UTF-8, 1..127, follow this struct */
    uint32_t flags;              /* 0 for now */
    uint64_t allocations, bytes; /* monotonic, as htl_figures */
};
_Static_assert(sizeof(struct htl_region) == 24, "region layout");

/* ---- figures --------------------------------------------------------------------------------- */

/* Monotonic figures since the start of counting, in requested bytes and in blocks. */
struct htl_figures {
    uint64_t allocated_bytes, allocated_blocks;
    uint64_t freed_bytes, freed_blocks;
};

struct htl_tag_figures {
    uint32_t tag;
    uint32_t flags; /* 0 for now */
    struct htl_figures figures;
    uint64_t low_bytes;      /* lowest live bytes seen within this tick */
    uint64_t peak_bytes;     /* highest live bytes seen at any tick so far */
    uint64_t instantiations; /* HTL_UNKNOWN where not counted */
    uint64_t cycles;         /* HTL_UNKNOWN where not counted */
};
_Static_assert(sizeof(struct htl_tag_figures) == 72, "tag figures layout");

struct htl_site_figures {
    uint32_t site;
    uint32_t flags; /* 0 for now */
    struct htl_figures figures;
};
_Static_assert(sizeof(struct htl_site_figures) == 40, "site figures layout");

#define HTL_TICK_FINAL   0x01u /* taken at the end of the process: nothing was counted after it */
#define HTL_TICK_RESUMED 0x02u /* counting had been stopped before it: no trend spans the gap */

/*
 * One look at the counters. TICK lists the tags that changed since the previous tick and, of the
 * sites that changed, those that changed most; SNAPSHOT lists all. Figures are absolute, so that
 * a reader needs only the latest entry of each tag and site.
 */
struct htl_tick {
    uint64_t sequence;     /* 1, 2, 3, ... */
    uint64_t monotonic_ns; /* CLOCK_MONOTONIC */
    uint64_t realtime_ns;  /* CLOCK_REALTIME */
    uint32_t flags;        /* HTL_TICK_* */
    uint32_t reserved;
    uint64_t rss_bytes;             /* HTL_UNKNOWN where it could not be read */
    struct htl_figures total;       /* sum over all sites */
    struct htl_figures fallback;    /* the part of it known only by return address or tag */
    uint64_t foreign_frees;         /* pointers freed that were never seen */
    uint64_t foreign_bytes;         /* their usable bytes, where the allocator can tell */
    uint64_t suspected_overruns;    /* blocks whose end was overwritten by the program */
    uint64_t own_bytes;             /* heaptally's own memory */
    uint64_t dropped_ticks;         /* ticks that could not be taken or written */
    uint64_t truncated;             /* things that found a table full: detail lost, not count */
    uint32_t tag_count, tag_size;   /* entries and stride of the tag figures */
    uint32_t site_count, site_size; /* entries and stride of the site figures */
    uint64_t left_out_sites;        /* sites that changed and are not listed */
    uint64_t left_out_bytes;        /* allocated and freed bytes of those since the last tick */
    /* then: tag_count tag figures, site_count site figures */
};
_Static_assert(sizeof(struct htl_tick) == 184, "tick layout");

/* One point of a thinned past; `t` counts from start_monotonic_ns of the file header. */
struct htl_history_point {
    uint64_t t_ns;
    uint64_t low_bytes;  /* lowest live bytes of the span that the point stands for */
    uint64_t high_bytes; /* highest live bytes of that span (of RSS, for the process) */
    uint64_t allocated_bytes, allocated_blocks, freed_blocks;
    uint64_t instantiations, cycles;
};
_Static_assert(sizeof(struct htl_history_point) == 64, "history point layout");

#define HTL_HISTORY_PROCESS UINT32_MAX /* `subject` of the whole process; bytes are RSS */
#define HTL_HISTORY_SITE    0x01u      /* `subject` is a site, not a tag */

struct htl_history {
    uint32_t subject; /* htl_tag.id, htl_site.id or HTL_HISTORY_PROCESS */
    uint32_t flags;   /* HTL_HISTORY_* */
    uint32_t point_count, point_size;
    /* then: point_count points, oldest first */
};
_Static_assert(sizeof(struct htl_history) == 16, "history layout");

struct htl_alert {
    uint64_t monotonic_ns, realtime_ns;
    uint32_t tag;  /* htl_tag.id; of no_alloc htl_region.id; HTL_HISTORY_PROCESS for the process */
    uint16_t kind; /* enum heaptally_alert_kind of heaptally/alert_kinds.h */
    uint8_t state; /* 0 enter, 1 escalate, 2 clear */
    uint8_t severity; /* 0 info, 1 warning, 2 critical */
    double value_mb;  /* NaN where unknown */
    double threshold_mb;
    double rss_mb, growth_mb;
    uint32_t message_length; /* bytes of UTF-8 follow this struct */
    uint32_t reserved;
};
_Static_assert(sizeof(struct htl_alert) == 64, "alert layout");

enum htl_end_reason {
    HTL_END_EXIT = 1,    /* the process ended in good order */
    HTL_END_EXEC = 2,    /* the process image was replaced */
    HTL_END_STOPPED = 3, /* counting was stopped on request */
    HTL_END_DORMANT = 4, /* heaptally stepped aside: it failed inside, or was confined (seccomp) */
};

struct htl_end {
    uint64_t monotonic_ns, realtime_ns;
    uint32_t reason; /* enum htl_end_reason */
    uint32_t reserved;
};
_Static_assert(sizeof(struct htl_end) == 24, "end layout");

#endif
