/* 50 blocks of 40 bytes leak: 2000 bytes, less than a page, so that resident memory stays as is. */
#include "program.h"

int main(void)
{
    keep_blocks("tiny", 50, 40);
    return 0;
}
