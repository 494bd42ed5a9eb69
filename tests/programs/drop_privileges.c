/*
 * drop_privileges libc|raw UID: starts as root and goes on as UID. By libc all threads change; by
 * the raw system call only the calling thread does.
 */
#include "program.h"

#include <sys/syscall.h>

int main(int argc, char **argv)
{
    MUST(argc == 3);
    uid_t uid = (uid_t)atoi(argv[2]);
    keep_blocks("kept", 1000, 100);
    sleep_ms(150);
    if (strcmp(argv[1], "libc") == 0)
        MUST(setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0);
    else
        MUST(syscall(SYS_setresuid, uid, uid, uid) == 0);
    MUST(getuid() == uid);
    keep_blocks("kept", 500, 100);
    sleep_ms(150);
    return 0;
}
