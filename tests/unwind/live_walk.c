/* See live_walk.h. */
#include "live_walk.h"

#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

enum { MAX_MODULES = 128, MAX_PATH = 512 };

static struct listed_module {
    struct unwind_module module;
    uint8_t build_id[64];
    char path[MAX_PATH];
} modules[MAX_MODULES];
static unsigned module_count;

__asm__(".text\n"
        ".globl capture_registers\n"
        ".type capture_registers, @function\n"
        "capture_registers:\n"
        "    .cfi_startproc\n"
        "    mov (%rsp), %rax\n"
        "    mov %rax, 0(%rdi)\n"
        "    lea 8(%rsp), %rax\n"
        "    mov %rax, 8(%rdi)\n"
        "    mov %rbp, 16(%rdi)\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size capture_registers, . - capture_registers\n");

static void take_build_id(struct listed_module *listed, const uint8_t *notes, size_t length)
{
    for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= length;) {
        const ElfW(Nhdr) *note = (const void *)(notes + at);
        size_t name = at + sizeof *note, body = name + ((note->n_namesz + 3u) & ~3u);
        if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz <= sizeof listed->build_id) {
            memcpy(listed->build_id, notes + body, note->n_descsz);
            listed->module.file.build_id = listed->build_id;
            listed->module.file.build_id_length = note->n_descsz;
        }
        at = body + ((note->n_descsz + 3u) & ~3u);
    }
}

static void take_path(struct listed_module *listed, const struct dl_phdr_info *info)
{
    if (info->dlpi_addr == getauxval(AT_SYSINFO_EHDR))
        return; /* the vDSO has none */
    if (info->dlpi_name[0])
        snprintf(listed->path, sizeof listed->path, "%s", info->dlpi_name);
    else if (readlink("/proc/self/exe", listed->path, sizeof listed->path - 1) < 0)
        abort();
    listed->module.file.path = listed->path;
}

static int list_one(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    if (module_count == MAX_MODULES)
        abort();
    struct listed_module *listed = &modules[module_count++];
    struct unwind_module *module = &listed->module;
    memset(listed, 0, sizeof *listed);
    take_path(listed, info);
    module->load_bias = info->dlpi_addr;
    module->start = UINT64_MAX;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uint64_t start = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD && start < module->start)
            module->start = start;
        if (header->p_type == PT_LOAD && start + header->p_memsz > module->end)
            module->end = start + header->p_memsz;
        if (header->p_type == PT_NOTE && header->p_align == 4)
            take_build_id(listed, (const uint8_t *)start, header->p_memsz);
        if (header->p_type == PT_GNU_EH_FRAME) {
            module->file.eh_frame_hdr_vaddr = header->p_vaddr;
            module->file.eh_frame_hdr_size = header->p_filesz;
            module->file.unwind_digest =
                module_bytes_digest(info->dlpi_phdr, info->dlpi_phnum, info->dlpi_addr);
        }
    }
    return 0;
}

void walk_list_modules(void)
{
    module_count = 0;
    dl_iterate_phdr(list_one, NULL);
}

const struct unwind_module *walk_module_of(uint64_t pc)
{
    for (unsigned i = 0; i < module_count; i++)
        if (pc - 1 >= modules[i].module.start && pc - 1 < modules[i].module.end)
            return &modules[i].module;
    return NULL;
}

static uint64_t word_at(uint64_t address)
{
    return *(const uint64_t *)address;
}

/* One step as unwind_rule.h draws it; returns 0 if the rule needs an RBP that isn't known. */
static int step(const struct unwind_rule *rule, struct registers *at, int *rbp_known)
{
    uint64_t cfa = at->sp + (uint64_t)(int64_t)rule->cfa_offset;
    int needs_rbp = rule->cfa_base != UNWIND_CFA_SP || rule->rbp_kind == UNWIND_RBP_AT_RBP;
    if (needs_rbp && !*rbp_known)
        return 0;
    if (rule->cfa_base == UNWIND_CFA_RBP)
        cfa = at->rbp + (uint64_t)(int64_t)rule->cfa_offset;
    if (rule->cfa_base == UNWIND_CFA_RBP_DEREF)
        cfa = word_at(at->rbp + (uint64_t)(int64_t)rule->deref_offset) +
              (uint64_t)(int64_t)rule->cfa_offset;
    if (cfa <= at->sp || cfa % 8)
        return 0;
    if (rule->rbp_kind == UNWIND_RBP_AT_CFA)
        at->rbp = word_at(cfa + (uint64_t)(int64_t)rule->rbp_offset);
    if (rule->rbp_kind == UNWIND_RBP_AT_RBP)
        at->rbp = word_at(at->rbp + (uint64_t)(int64_t)rule->rbp_offset);
    if (rule->rbp_kind != UNWIND_RBP_SAME)
        *rbp_known = rule->rbp_kind != UNWIND_RBP_UNKNOWN;
    at->pc = word_at(cfa - 8);
    at->sp = cfa;
    return 1;
}

void walk_stack(const struct registers *registers, struct walk *walk)
{
    struct registers at = *registers;
    int rbp_known = 1;
    memset(walk, 0, sizeof *walk);
    walk->kind = UNWIND_STEP;
    while (walk->count < WALK_MAX) {
        struct unwind_rule rule;
        walk->pc[walk->count++] = at.pc;
        if (unwind_rule_find(walk_module_of(at.pc), at.pc, &rule))
            rule.kind = UNWIND_NONE;
        rule = unwind_rule_unpack(unwind_rule_pack(&rule));
        walk->rules[rule.kind]++;
        walk->kind = rule.kind;
        if (rule.kind != UNWIND_STEP)
            return;
        walk->cfa[rule.cfa_base]++;
        if (!step(&rule, &at, &rbp_known)) {
            walk->kind = UNWIND_UNSUPPORTED;
            return;
        }
        if (at.pc == 0) {
            walk->kind = UNWIND_END;
            return;
        }
    }
}
