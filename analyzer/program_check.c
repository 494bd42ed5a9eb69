/*
 * A script is followed to the program that will really be executed: its #! interpreter, and through
 * `env` to what env looks up. What is then read from the ELF file decides.
 */
#include "program_check.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "text.h"

enum { DEEPEST_SCRIPT = 5, LONGEST_FIRST_LINE = 4096 };

/* ---- finding --------------------------------------------------------------------------------- */

/* 0, 126 or 127; `*why` is set for 126. */
static int executable_status(const char *path, const char **why)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        *why = "cannot be looked at; may you read its directory?";
        return errno == ENOENT || errno == ENOTDIR ? 127 : 126;
    }
    if (S_ISDIR(status.st_mode))
        *why = "is a directory; name a program in it";
    else if (!S_ISREG(status.st_mode))
        *why = "is not a regular file; name a program";
    else if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
        *why = "is not executable; is 'chmod +x' missing?";
    else
        return 0;
    return 126;
}

char *ht_program_find(const char *name, int *status, const char **why)
{
    if (strchr(name, '/')) {
        *status = executable_status(name, why);
        if (*status == 127)
            *why = "is not found; is the path right?";
        return *status ? NULL : ht_format("%s", name);
    }
    const char *path = getenv("PATH");
    int worst = 127;
    const char *worst_why = "is not found in PATH; name its full path";
    if (!path)
        path = "/bin:/usr/bin";
    for (const char *at = path; *name; at++) {
        size_t length = strcspn(at, ":");
        char *candidate =
            length ? ht_format("%.*s/%s", (int)length, at, name) : ht_format("%s", name);
        const char *reason;
        *status = executable_status(candidate, &reason);
        if (*status == 0)
            return candidate;
        if (*status == 126 && worst == 127) {
            worst = 126;
            worst_why = reason;
        }
        free(candidate);
        at += length;
        if (!*at)
            break;
    }
    *status = worst;
    *why = worst_why;
    return NULL;
}

/* ---- scripts --------------------------------------------------------------------------------- */

/*
 * What `env ARGUMENTS` would run: the first word that is neither an option nor an assignment. NULL
 * where that cannot be told. Changes `arguments`; the result points into it.
 */
static char *env_program(char *arguments)
{
    for (char *word, *rest = arguments; (word = strtok_r(rest, " \t", &rest));) {
        if (strcmp(word, "-u") == 0 || strcmp(word, "-C") == 0)
            strtok_r(rest, " \t", &rest); /* its value */
        else if (word[0] != '-' && !strchr(word, '='))
            return word;
        else if (strncmp(word, "-S", 2) == 0 && word[2])
            return word + 2;
    }
    return NULL;
}

/* The interpreter that a script names, as a path; NULL if the file is no script. A new string. */
static char *interpreter_of(const char *path)
{
    char line[LONGEST_FIRST_LINE + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t length = fd < 0 ? -1 : pread(fd, line, LONGEST_FIRST_LINE, 0);
    if (fd >= 0)
        close(fd);
    if (length < 2 || memcmp(line, "#!", 2) != 0)
        return NULL;
    line[length] = '\0';
    line[strcspn(line, "\n")] = '\0';
    char *rest = line + 2, *interpreter = strtok_r(rest, " \t", &rest);
    if (!interpreter)
        return NULL;
    if (strcmp(ht_base_name(interpreter), "env") == 0) {
        int status;
        const char *why;
        char *program = env_program(rest), *found;
        if (program && (found = ht_program_find(program, &status, &why)))
            return found;
    }
    return ht_format("%s", interpreter);
}

/* ---- ELF files ------------------------------------------------------------------------------- */

/* The dynamic loader that the file names; NULL where it names none. Lives as long as `elf`. */
static const char *interpreter_in(Elf *elf)
{
    size_t count = 0;
    elf_getphdrnum(elf, &count);
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr segment;
        if (!gelf_getphdr(elf, (int)i, &segment) || segment.p_type != PT_INTERP)
            continue;
        Elf_Data *data =
            elf_getdata_rawchunk(elf, (int64_t)segment.p_offset, segment.p_filesz, ELF_T_BYTE);
        bool ends = data && data->d_size > 0 && !((char *)data->d_buf)[data->d_size - 1];
        return ends ? data->d_buf : "";
    }
    return NULL;
}

/* Whether a path's last component begins like this. */
static bool is_named(const char *path, const char *beginning)
{
    const char *slash = strrchr(path, '/');
    return strncmp(slash ? slash + 1 : path, beginning, strlen(beginning)) == 0;
}

/* Whether a symbol table of the file defines a function of this name. */
static bool table_defines(Elf *elf, Elf_Scn *section, const GElf_Shdr *header, const char *function)
{
    Elf_Data *data = elf_getdata(section, NULL);
    size_t count = data && header->sh_entsize ? data->d_size / header->sh_entsize : 0;
    for (size_t i = 0; i < count; i++) {
        GElf_Sym symbol;
        if (!gelf_getsym(data, (int)i, &symbol) || symbol.st_shndx == SHN_UNDEF ||
            GELF_ST_TYPE(symbol.st_info) != STT_FUNC)
            continue;
        const char *name = elf_strptr(elf, header->sh_link, symbol.st_name);
        if (name && strcmp(name, function) == 0)
            return true;
    }
    return false;
}

static bool defines(Elf *elf, const char *function)
{
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
        GElf_Shdr header;
        if (gelf_getshdr(section, &header) &&
            (header.sh_type == SHT_SYMTAB || header.sh_type == SHT_DYNSYM) &&
            table_defines(elf, section, &header, function))
            return true;
    }
    return false;
}

/* Whether a library that the file is linked with is the run time of a sanitizer that stands in
 * front of malloc itself. */
static bool is_sanitizer(const char *library)
{
    static const char *const runtimes[] = {
        "libasan.so",       "libhwasan.so",       "liblsan.so",      "libtsan.so",
        "libclang_rt.asan", "libclang_rt.hwasan", "libclang_rt.tsan"};
    for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++)
        if (strncmp(library, runtimes[i], strlen(runtimes[i])) == 0)
            return true;
    return false;
}

static bool needs_sanitizer(Elf *elf)
{
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
        GElf_Shdr header;
        if (!gelf_getshdr(section, &header) || header.sh_type != SHT_DYNAMIC || !header.sh_entsize)
            continue;
        Elf_Data *data = elf_getdata(section, NULL);
        size_t count = data ? data->d_size / header.sh_entsize : 0;
        for (size_t i = 0; i < count; i++) {
            GElf_Dyn entry;
            const char *name = NULL;
            if (gelf_getdyn(data, (int)i, &entry) && entry.d_tag == DT_NEEDED)
                name = elf_strptr(elf, header.sh_link, entry.d_un.d_val);
            if (name && is_sanitizer(name))
                return true;
        }
    }
    return false;
}

struct elf_file {
    int fd;
    Elf *elf;
    GElf_Ehdr header;
};

static bool open_elf(const char *path, struct elf_file *file)
{
    elf_version(EV_CURRENT);
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    file->elf = file->fd < 0 ? NULL : elf_begin(file->fd, ELF_C_READ, NULL);
    if (file->elf && elf_kind(file->elf) == ELF_K_ELF && gelf_getehdr(file->elf, &file->header))
        return true;
    elf_end(file->elf);
    if (file->fd >= 0)
        close(file->fd);
    return false;
}

static void close_elf(struct elf_file *file)
{
    elf_end(file->elf);
    close(file->fd);
}

static bool is_same_machine(const GElf_Ehdr *a, const GElf_Ehdr *b)
{
    return a->e_machine == b->e_machine && a->e_ident[EI_CLASS] == b->e_ident[EI_CLASS] &&
           a->e_ident[EI_DATA] == b->e_ident[EI_DATA];
}

/* ---- judging --------------------------------------------------------------------------------- */

/* Rights that make the dynamic loader ignore LD_PRELOAD; NULL where there are none. */
static const char *secure_reason(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return NULL;
    if (status.st_mode & S_ISUID)
        return "is set-uid";
    if ((status.st_mode & S_ISGID) && (status.st_mode & S_IXGRP))
        return "is set-gid";
    if (getxattr(path, "security.capability", NULL, 0) > 0)
        return "has file capabilities";
    return NULL;
}

static enum ht_program_fate check_elf(struct elf_file *program, const char **what,
                                      const char **mend)
{
    struct elf_file ours;
    bool foreign = false;
    if (open_elf("/proc/self/exe", &ours)) {
        foreign = !is_same_machine(&program->header, &ours.header);
        close_elf(&ours);
    }
    if (foreign) {
        *what = "is built for another architecture than heaptally";
        *mend = "use a heaptally that was built for it";
        return HT_PROGRAM_REFUSED;
    }
    const char *interpreter = interpreter_in(program->elf);
    if (!interpreter) {
        *what = "is statically linked: nothing can be preloaded into it";
        *mend = "link it dynamically";
        return HT_PROGRAM_REFUSED;
    }
    if (is_named(interpreter, "ld-musl")) {
        *what = "is built for musl: a library of glibc cannot be preloaded into it";
        *mend = "build it for glibc";
        return HT_PROGRAM_REFUSED;
    }
    if (needs_sanitizer(program->elf) || defines(program->elf, "__tsan_init")) {
        *what = "is built with a sanitizer, which wants malloc for itself";
        *mend = "build it without -fsanitize=address, leak or thread";
        return HT_PROGRAM_REFUSED;
    }
    if (defines(program->elf, "malloc")) {
        *what = "has an allocator linked in: what that gives out is not seen";
        *mend = "link the allocator as a shared library";
        return HT_PROGRAM_WARN;
    }
    return HT_PROGRAM_FINE;
}

static enum ht_program_fate check_file(const char *path, const char **what, const char **mend)
{
    struct elf_file program;
    if ((*what = secure_reason(path))) {
        *mend = "the loader ignores LD_PRELOAD there, run a plain copy of it";
        return HT_PROGRAM_REFUSED;
    }
    if (!open_elf(path, &program))
        return HT_PROGRAM_FINE; /* unreadable, or a script without #!: the shell will run it */
    enum ht_program_fate fate = check_elf(&program, what, mend);
    close_elf(&program);
    return fate;
}

enum ht_program_fate ht_program_check(const char *path, char **why)
{
    const char *what = NULL, *mend = NULL;
    char *file = ht_format("%s", path), *next;
    for (int depth = 0; depth < DEEPEST_SCRIPT && (next = interpreter_of(file)); depth++) {
        free(file);
        file = next;
    }
    enum ht_program_fate fate = check_file(file, &what, &mend);
    *why = NULL;
    if (fate != HT_PROGRAM_FINE && strcmp(file, path) == 0)
        *why = ht_format("%s; %s", what, mend);
    else if (fate != HT_PROGRAM_FINE)
        *why = ht_format("is run by %s, which %s; %s", file, what, mend);
    free(file);
    return fate;
}
