/*
 * drop_privileges libc|raw|often|groups UID [MS]: starts as root and goes on as UID, for MS
 * milliseconds (150). By libc all threads change; by the raw system call only the calling thread
 * does; often: by libc, back and forth all the time; groups: by libc, and into 300 groups.
 */
#include "program.h"

#include <grp.h>
#include <stdbool.h>
#include <sys/syscall.h>

static void change_often(uid_t uid, long ms)
{
    for (long i = 0; i < ms; i++) {
        MUST(setresuid(-1, uid, 0) == 0);
        program_sink = malloc(10); /* so that the monitor has its turn as either */
        free(program_sink);
        MUST(setresuid(-1, 0, 0) == 0);
        sleep_ms(1);
    }
}

static void join_groups(void)
{
    gid_t groups[300];
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        groups[i] = 1234500000u + (gid_t)i;
    MUST(setgroups(sizeof groups / sizeof *groups, groups) == 0);
}

int main(int argc, char **argv)
{
    MUST(argc >= 3);
    uid_t uid = (uid_t)atoi(argv[2]);
    long ms = argc > 3 ? atol(argv[3]) : 150;
    bool often = strcmp(argv[1], "often") == 0;
    keep_blocks("kept", 1000, 100);
    sleep_ms(150);
    if (often)
        change_often(uid, ms);
    else if (strcmp(argv[1], "groups") == 0)
        join_groups();
    if (strcmp(argv[1], "libc") == 0 || strcmp(argv[1], "groups") == 0)
        MUST(setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0);
    else if (!often)
        MUST(syscall(SYS_setresuid, uid, uid, uid) == 0);
    MUST(often || getuid() == uid);
    if (!often)
        sleep_ms(ms);
    keep_blocks("kept", 500, 100);
    sleep_ms(150);
    return 0;
}
