/* Writes to every byte that malloc_usable_size promises, for every size up to a few pages. */
#include "program.h"

#include <malloc.h>

int main(void)
{
    HEAPTALLY_SCOPE("whole")
    {
        for (size_t size = 0; size < 9000; size++) {
            unsigned char *block = malloc(size);
            MUST(block != NULL);
            size_t usable = malloc_usable_size(block);
            MUST(usable >= size);
            memset(block, 0xff, usable);
            MUST((block = realloc(block, size + 100)) != NULL);
            usable = malloc_usable_size(block);
            MUST(usable >= size + 100);
            for (size_t i = 0; i < size; i++)
                MUST(block[i] == 0xff);
            memset(block, 0xff, usable);
            if (size % 100 == 0)
                program_sink = block; /* 90 blocks stay */
            else
                free(block);
        }
    }
    return 0;
}
