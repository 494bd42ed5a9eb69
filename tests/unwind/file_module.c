/* See file_module.h. libelf reads the headers here, so that nothing is shared with what is tested.
 */
#include "file_module.h"

#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <elfutils/libdwelf.h>

static uint8_t build_id[64];

/* A module without build-id is identified by the checksum of its table: the segment that holds the
 * table lies in the file as it would in memory. */
static void take_digest(Elf *elf, const GElf_Phdr *headers, size_t count, struct module_file *file)
{
    size_t size;
    const char *raw = elf_rawfile(elf, &size);
    for (size_t i = 0; i < count; i++)
        if (headers[i].p_type == PT_LOAD && file->eh_frame_hdr_vaddr >= headers[i].p_vaddr &&
            file->eh_frame_hdr_vaddr - headers[i].p_vaddr < headers[i].p_filesz)
            file->unwind_digest = module_bytes_digest(
                headers, (unsigned)count, (uint64_t)raw + headers[i].p_offset - headers[i].p_vaddr);
}

static void describe(Elf *elf, struct unwind_module *module)
{
    struct module_file *file = &module->file;
    const void *id;
    ssize_t length = dwelf_elf_gnu_build_id(elf, &id);
    if (length > 0 && (size_t)length <= sizeof build_id) {
        memcpy(build_id, id, (size_t)length);
        file->build_id = build_id;
        file->build_id_length = (uint32_t)length;
    }
    size_t count = 0;
    GElf_Phdr headers[64];
    elf_getphdrnum(elf, &count);
    if (count > sizeof headers / sizeof headers[0])
        count = sizeof headers / sizeof headers[0];
    module->start = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr *header = gelf_getphdr(elf, (int)i, &headers[i]);
        if (header->p_type == PT_LOAD && header->p_vaddr < module->start)
            module->start = header->p_vaddr;
        if (header->p_type == PT_LOAD && header->p_vaddr + header->p_memsz > module->end)
            module->end = header->p_vaddr + header->p_memsz;
        if (header->p_type != PT_GNU_EH_FRAME)
            continue;
        file->eh_frame_hdr_vaddr = header->p_vaddr;
        file->eh_frame_hdr_size = header->p_filesz;
    }
    if (length <= 0)
        take_digest(elf, headers, count, file);
}

int file_module(const char *path, struct unwind_module *module)
{
    memset(module, 0, sizeof *module);
    module->file.path = path;
    elf_version(EV_CURRENT);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    Elf *elf = descriptor < 0 ? NULL : elf_begin(descriptor, ELF_C_READ_MMAP, NULL);
    if (!elf || elf_kind(elf) != ELF_K_ELF) {
        fprintf(stderr, "%s: not a readable ELF file\n", path);
        return -1;
    }
    describe(elf, module);
    elf_end(elf);
    close(descriptor);
    return 0;
}
