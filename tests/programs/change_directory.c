/* Leaves its working directory while it runs, for one where nothing may be written. */
#include "program.h"

int main(void)
{
    keep_blocks("kept", 1000, 100);
    sleep_ms(150);
    MUST(chdir("/proc") == 0);
    keep_blocks("kept", 500, 100);
    sleep_ms(150);
    return 0;
}
