/*
 * just_allocate [SECONDS]: keeps 1000 blocks of 100 bytes, 500 more at the end, and says so. For
 * tests of what surrounds the program: limits, full disks, directories, privileges.
 */
#include "program.h"

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 0.2;
    keep_blocks("kept", 1000, 100);
    sleep_ms((long)(seconds * 1000));
    keep_blocks("kept", 500, 100);
    puts("done");
    return 0;
}
