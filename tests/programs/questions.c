/*
 * Asks heaptally one question after another while a timer strikes all the time, whose handler keeps
 * a block of 100 bytes in the scope "handler". Ends after a thousand blocks, and prints how many
 * there are. For an allocator that may be interrupted.
 *
 *   late   keeps ten blocks of 100 bytes in the scope "kept", and asks once, a tenth of a second
 *          later: for a snapshot. Prints the answer, and waits to be killed
 */
#include "program.h"

#include <signal.h>
#include <sys/time.h>

#define ENOUGH 1000

static volatile sig_atomic_t kept;

static void on_alarm(int number)
{
    int saved = errno;
    (void)number;
    HEAPTALLY_SCOPE("handler")
    {
        MUST((program_sink = malloc(100)) != NULL);
    }
    kept++;
    errno = saved;
}

/* Nothing is allocated from the moment on that the blocks are there. */
static void ask_late(void)
{
    char text[20];
    keep_blocks("kept", 10, 100);
    sleep_ms(100);
    int length = snprintf(text, sizeof text, "%d\n", heaptally_snapshot());
    MUST(write(1, text, (size_t)length) == length);
    raise(SIGKILL);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "late") == 0)
        ask_late();
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    char text[4000];
    MUST(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
    while (kept < ENOUGH) {
        heaptally_memory_report(text, sizeof text);
        heaptally_reset_baseline();
    }
    MUST(setitimer(ITIMER_REAL, &never, NULL) == 0);
    printf("%d\n", (int)kept);
    return 0;
}
