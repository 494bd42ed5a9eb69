/* Stops counting and starts it again from within, and says what heaptally_active answered. */
#include "program.h"

int main(void)
{
    MUST(heaptally_active() == 1);
    keep_blocks("before", 10, 1000);
    MUST(heaptally_stop() == 0 && heaptally_active() == 0);
    keep_blocks("between", 10, 1000);
    MUST(heaptally_stop() == 0 && heaptally_start() == 0 && heaptally_active() == 1);
    keep_blocks("after", 10, 1000);
    MUST(heaptally_start() == 0 && heaptally_snapshot() == 0);
    puts("done");
    return 0;
}
