/*
 * A loop at about 1 kHz that takes 1 MiB once and is flat before and after. The reference, whose
 * window is 100 samples whatever their time, makes a rate of 45,879 MB/hour of it.
 */
#include "program.h"

int main(void)
{
    HEAPTALLY_SCOPE("loop")
    {
        void *kept = NULL;
        for (int i = 0; i < 4500; i++) {
            if (i == 300)
                memset(kept = malloc(1 << 20), 1, 1 << 20);
            void *block = malloc(1000);
            program_sink = block;
            heaptally_cycle("loop");
            sleep_ms(1);
            free(block);
        }
        program_sink = kept;
    }
    return 0;
}
