/* See made_module.h. The file: ELF header, program headers, build-id note, .eh_frame_hdr,
 * .eh_frame; its one PT_LOAD begins at link-time address 0 and spans the text, which is not in the
 * file. */
#include "made_module.h"

#include <check.h>
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FILE = 65536, MAX_FUNCTIONS = 64, ID_LENGTH = 20 };

static uint8_t file[MAX_FILE];
static size_t length;
static uint8_t build_id[ID_LENGTH];
static Elf64_Phdr headers[3];

static void put(const void *bytes, size_t count)
{
    ck_assert_uint_le(length + count, sizeof file);
    memcpy(file + length, bytes, count);
    length += count;
}

static void put_number(uint64_t value, unsigned bytes)
{
    put(&value, bytes);
}

static void align_to(size_t alignment, uint8_t filler)
{
    while (length % alignment)
        put(&filler, 1);
}

static size_t put_note(uint8_t id)
{
    Elf64_Nhdr note = {.n_namesz = 4, .n_descsz = ID_LENGTH, .n_type = NT_GNU_BUILD_ID};
    size_t at = length;
    memset(build_id, id, sizeof build_id);
    put(&note, sizeof note);
    put("GNU", 4);
    put(build_id, sizeof build_id);
    return at;
}

/* Writes a length field for what is put until end_record. */
static size_t begin_record(void)
{
    put_number(0, 4);
    return length;
}

static void end_record(size_t start)
{
    align_to(4, 0 /* DW_CFA_nop */);
    uint32_t size = (uint32_t)(length - start);
    memcpy(file + start - 4, &size, sizeof size);
}

static size_t put_cie(const struct made_module *made)
{
    static const uint8_t usual[] = {0x0c, 7, 8, 0x90, 1};
    const char *augmentation = made->augmentation ? made->augmentation : "zR";
    size_t at = length, start = begin_record();
    put_number(0, 4); /* this is a CIE */
    put_number(1, 1); /* version */
    put(augmentation, strlen(augmentation) + 1);
    put_number(1, 1);    /* code alignment */
    put_number(0x78, 1); /* data alignment: -8 */
    put_number(made->return_column ? made->return_column : 16, 1);
    if (augmentation[0] == 'z') {
        static const uint8_t data[] = {0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b};
        size_t letters = 0;
        for (const char *letter = augmentation + 1; *letter; letter++)
            letters += *letter == 'R' || *letter == 'L' ? 1 : *letter == 'P' ? 5 : 0;
        put_number(letters, 1);
        put(data, letters);
    }
    if (made->cie_program.bytes)
        put(made->cie_program.bytes, made->cie_program.length);
    else
        put(usual, sizeof usual);
    end_record(start);
    return at;
}

static size_t put_fde(const struct made_module *made, const struct made_function *function,
                      size_t cie)
{
    int augmented = !made->augmentation || made->augmentation[0] == 'z';
    size_t at = length, start = begin_record();
    put_number(length - cie, 4);
    if (augmented) {
        put_number(function->start - length, 4);
        put_number(function->size, 4);
        put_number(0, 1);
    } else {
        put_number(function->start, 8);
        put_number(function->size, 8);
    }
    put(function->program.bytes, function->program.length);
    end_record(start);
    return at;
}

static void put_headers(size_t note, size_t table, size_t table_size)
{
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_DYN,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof header,
        .e_ehsize = sizeof header,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 3,
    };
    Elf64_Phdr filled[3] = {
        {.p_type = PT_LOAD, .p_filesz = length, .p_memsz = MADE_TEXT + MADE_TEXT_SIZE},
        {.p_type = PT_GNU_EH_FRAME,
         .p_offset = table,
         .p_vaddr = table,
         .p_filesz = table_size,
         .p_memsz = table_size},
        {.p_type = note ? PT_NOTE : PT_NULL, .p_offset = note, .p_filesz = 36, .p_align = 4},
    };
    memcpy(file, &header, sizeof header);
    memcpy(headers, filled, sizeof headers);
    memcpy(file + sizeof header, headers, sizeof headers);
}

static void describe(const char *path, const struct made_module *made, size_t table,
                     size_t table_size, struct unwind_module *out)
{
    *out = (struct unwind_module){
        .file = {.path = path,
                 .build_id = made->build_id ? build_id : NULL,
                 .build_id_length = made->build_id ? ID_LENGTH : 0,
                 .eh_frame_hdr_vaddr = table,
                 .eh_frame_hdr_size = table_size,
                 .unwind_digest =
                     made->build_id ? 0 : module_bytes_digest(headers, 3, (uint64_t)file)},
        .load_bias = MADE_BIAS,
        .start = MADE_BIAS,
        .end = MADE_BIAS + MADE_TEXT + MADE_TEXT_SIZE,
    };
}

size_t make_module(const char *path, const struct made_module *made, struct unwind_module *out)
{
    size_t note = 0, fde[MAX_FUNCTIONS];
    ck_assert_uint_le(made->count, MAX_FUNCTIONS);
    length = 0;
    memset(file, 0, sizeof file);
    length = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr);
    if (made->build_id)
        note = put_note(made->build_id);
    align_to(8, 0);
    size_t table = length, table_size = 12 + made->count * 8;
    length += table_size;
    align_to(8, 0);
    size_t frames = length;
    size_t cie = put_cie(made);
    for (unsigned i = 0; i < made->count; i++)
        fde[i] = put_fde(made, &made->functions[i], cie);
    put_number(0, 4);
    size_t end = length;
    length = table;
    put_number(0x3b031b01, 4); /* version 1, pcrel sdata4, udata4, datarel sdata4 */
    put_number(frames - length, 4);
    put_number(made->count, 4);
    for (unsigned i = 0; i < made->count; i++) {
        put_number(made->functions[i].start - table, 4);
        put_number(fde[i] - table, 4);
    }
    length = end;
    put_headers(note, table, table_size);
    describe(path, made, table, table_size, out);
    if (made->flip_at)
        file[made->flip_at] ^= made->flip;
    unlink(path);
    FILE *stream = fopen(path, "w");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(file, 1, length, stream), length);
    ck_assert_int_eq(fclose(stream), 0);
    return length;
}
