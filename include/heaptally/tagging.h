/*
 * Which tag a stack belongs to where no scope was open: by rule, else by default. The preload asks
 * while the program runs, the analyzer when an old file is tagged afresh; both find the same.
 *
 * A rule is NAME=PATTERN. A pattern is a glob on names of functions (as in the symbol table, and
 * demangled, with parameters and without), "lib:GLOB" on a module's file name or soname, or
 * "exe:GLOB" on the program's. Frames are asked innermost first; within a frame the first rule that
 * matches wins. A rule that counts instantiations (--construct) is asked in the same way, but of
 * the innermost frame only.
 *
 * The default tag is the innermost module that is neither runtime nor skipped; else the innermost
 * that is skipped; else "[runtime]"; "[anon]" where code outside any module comes first.
 *
 * Tags are numbers here, 0 for none. Nothing allocates but the demangler that is handed in.
 */
#ifndef HEAPTALLY_TAGGING_H
#define HEAPTALLY_TAGGING_H

#include <fnmatch.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "heaptally/options.h"
#include "heaptally/snapshot_format.h"

#define HT_RULE_PATTERN 512 /* bytes of a pattern, with its NUL */
#define HT_MAX_RULES    512
#define HT_TAG_RUNTIME  "[runtime]"
#define HT_TAG_ANON     "[anon]"

/* ---- modules --------------------------------------------------------------------------------- */

/* Never blamed: they allocate on behalf of their caller. Globs on the soname or file name. */
static const char *const ht_runtime_modules[] = {
    "libc.so*",
    "ld-linux*",
    "libm.so*",
    "libpthread.so*",
    "libdl.so*",
    "librt.so*",
    "libstdc++.so*",
    "libgcc_s.so*",
    "libc++.so*",
    "libc++abi.so*",
    "libheaptally.so",
    "libjemalloc.so*",
    "libtcmalloc*",
    "libmimalloc*",
    "libunwind*.so*",
    "linux-vdso*",
    "libresolv.so*",
    "libnss_*",
    "libanl.so*",
    "libutil.so*",
    "libatomic.so*",
    "libgomp.so*",
    "libasan.so*",
    "libtsan.so*",
    "libubsan.so*",
    "libomp.so*",
    "libgfortran.so*",
    "libquadmath.so*",
    NULL,
};

/* Blamed only where nothing else is left: middleware and interpreters work for somebody. */
static const char *const ht_skipped_modules[] = {
    "libpython*",
    "python[0-9]*",
    "libperl.so*",
    "perl",
    "libruby*",
    "ruby*",
    "liblua*",
    "lua*",
    "node",
    "libnode.so*",
    "libjvm.so*",
    "libglib-2.0.so*",
    "libgobject-2.0*",
    "libgio-2.0.so*",
    "libgmodule-2.0*",
    "libQt[56]Core*",
    "librcl.so*",
    "librclcpp*",
    "librcutils*",
    "librmw*",
    "librosidl*",
    "libfastrtps*",
    "libfastcdr*",
    "libddsc.so*",
    "libcyclonedds*",
    "libzmq.so*",
    "libboost_*",
    "libprotobuf*",
    "libgrpc*",
    "libssl.so*",
    "libcrypto.so*",
    "libz.so*",
    "libxml2.so*",
    "libdbus-1.so*",
    "libsystemd.so*",
    "libuv.so*",
    "libevent*",
    "libjansson.so*",
    "libjson-c*",
    "libyaml*",
    "libOpenCL*",
    "libblas.so*",
    "liblapack.so*",
    "libopenblas*",
    NULL,
};

/* Whether a module is meant by a glob. `soname` is "" where it has none. */
static inline bool ht_glob_means_module(const char *glob, const char *base, const char *soname)
{
    return fnmatch(glob, base, 0) == 0 || (soname[0] && fnmatch(glob, soname, 0) == 0);
}

static inline bool ht_any_glob_means_module(const char *const *globs, const char *base,
                                            const char *soname)
{
    while (*globs && !ht_glob_means_module(*globs, base, soname))
        globs++;
    return *globs;
}

/* HTL_MODULE_RUNTIME, HTL_MODULE_SKIPPED or 0, by the lists above. */
static inline uint32_t ht_module_kind(const char *base, const char *soname)
{
    return ht_any_glob_means_module(ht_runtime_modules, base, soname)   ? HTL_MODULE_RUNTIME
           : ht_any_glob_means_module(ht_skipped_modules, base, soname) ? HTL_MODULE_SKIPPED
                                                                        : 0;
}

/* How much of a soname, else of a file name, is the module's tag: "libplan.so.3" is "libplan". */
static inline size_t ht_module_tag_length(const char *name)
{
    const char *end = strstr(name, ".so");
    return end && end > name && (end[3] == '.' || end[3] == '\0') ? (size_t)(end - name)
                                                                  : strlen(name);
}

/* ---- rules ----------------------------------------------------------------------------------- */

enum ht_rule_kind { HT_RULE_FUNCTION, HT_RULE_LIBRARY, HT_RULE_PROGRAM };

struct ht_rule {
    enum ht_rule_kind kind;
    bool construct; /* counts instantiations; does not tag */
    uint32_t tag;
    char pattern[HT_RULE_PATTERN];
};

typedef char *ht_demangler(const char *mangled, char *buffer, size_t *length, int *status);

/* What rules look at: a frame's module and function, and the program. */
struct ht_rule_frame {
    const char *base, *soname;                 /* of the module; base is NULL outside any */
    const char *program_base, *program_soname; /* base is NULL where it is not known */
    const char *function;                      /* as in the symbol table; "" where unknown */
    ht_demangler *demangle;                    /* NULL: mangled names stay as they are */
};

/* Takes an item NAME=PATTERN; `*name` is the length of NAME. False where it is none, or too long.
 * The rule's tag is the caller's to set. */
static inline bool ht_rule_parse(const char *item, size_t length, bool construct, size_t *name,
                                 struct ht_rule *rule)
{
    if (!ht_option_split(item, length, name) || length - *name - 1 >= HT_RULE_PATTERN)
        return false;
    const char *pattern = item + *name + 1;
    size_t pattern_length = length - *name - 1;
    memset(rule, 0, sizeof *rule);
    rule->construct = construct;
    if (pattern_length > 4 && strncmp(pattern, "lib:", 4) == 0)
        rule->kind = HT_RULE_LIBRARY;
    else if (pattern_length > 4 && strncmp(pattern, "exe:", 4) == 0)
        rule->kind = HT_RULE_PROGRAM;
    size_t prefix = rule->kind == HT_RULE_FUNCTION ? 0 : 4;
    memcpy(rule->pattern, pattern + prefix, pattern_length - prefix);
    return true;
}

/*
 * Takes the next rule off the text of a rule file: moves `*cursor` behind its line and gives the
 * line without blanks around it; NULL at the end. Empty lines and lines that begin with '#' are
 * none.
 */
static inline const char *ht_rule_next_line(const char **cursor, size_t *length)
{
    while (**cursor) {
        const char *line = *cursor + strspn(*cursor, " \t"), *end = line + strcspn(line, "\r\n");
        *cursor = end + strcspn(end, "\n");
        *cursor += **cursor == '\n';
        while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        *length = (size_t)(end - line);
        if (end > line && *line != '#')
            return line;
    }
    return NULL;
}

/* Whether a glob matches a function as in the symbol table, demangled, or without parameters. */
static inline bool ht_glob_means_function(const char *glob, const char *name,
                                          ht_demangler *demangle)
{
    if (!name[0])
        return false;
    if (fnmatch(glob, name, 0) == 0)
        return true;
    if (strncmp(name, "_Z", 2) != 0)
        return false;
    int status = -1;
    char *full = demangle ? demangle(name, NULL, NULL, &status) : NULL;
    bool found = full && fnmatch(glob, full, 0) == 0;
    if (full && !found) {
        char *parameters = strchr(full, '(');
        if (parameters > full) {
            *parameters = '\0';
            found = fnmatch(glob, full, 0) == 0;
        }
    }
    free(full);
    return found;
}

static inline bool ht_rule_matches(const struct ht_rule *rule, const struct ht_rule_frame *frame)
{
    switch (rule->kind) {
    case HT_RULE_FUNCTION:
        return ht_glob_means_function(rule->pattern, frame->function, frame->demangle);
    case HT_RULE_PROGRAM:
        return frame->program_base &&
               ht_glob_means_module(rule->pattern, frame->program_base, frame->program_soname);
    default:
        return frame->base && ht_glob_means_module(rule->pattern, frame->base, frame->soname);
    }
}

/* The tag of the first rule of one sort that matches a frame, or 0. */
static inline uint32_t ht_rules_first(const struct ht_rule *rules, unsigned count, bool construct,
                                      const struct ht_rule_frame *frame)
{
    for (unsigned i = 0; i < count; i++)
        if (rules[i].construct == construct && ht_rule_matches(&rules[i], frame))
            return rules[i].tag;
    return 0;
}

/* ---- stacks ---------------------------------------------------------------------------------- */

/* What is found so far on the way outwards; begins as {0}. */
struct ht_tag_walk {
    uint32_t by_default, skipped;
};

/*
 * One frame outwards: `rule` is the tag by rule or 0, `default_tag` that of its module, or that of
 * "[anon]" outside any; `flags` are HTL_MODULE_*. The stack's tag where a rule decides; else 0, and
 * the walk goes on.
 */
static inline uint32_t ht_tag_walk_step(struct ht_tag_walk *walk, uint32_t rule, uint32_t flags,
                                        uint32_t default_tag)
{
    if (rule || walk->by_default || (flags & HTL_MODULE_RUNTIME))
        return rule;
    if (!(flags & HTL_MODULE_SKIPPED))
        walk->by_default = default_tag;
    else if (!walk->skipped)
        walk->skipped = default_tag;
    return 0;
}

/* The tag of a stack at whose outermost frame no rule had decided. */
static inline uint32_t ht_tag_walk_end(const struct ht_tag_walk *walk, uint32_t runtime_tag)
{
    return walk->by_default ? walk->by_default : walk->skipped ? walk->skipped : runtime_tag;
}

#endif
