/*
 * flaw_checks MODE: a control loop that checks memory 10,000 times, above the threshold for most of
 * it, with a callback that misbehaves: "throw" throws an exception, "block" does not return before
 * the end, "allocate" takes and frees memory, "ask" asks heaptally.
 *
 * Prints what the loop saw: checks, checks that said "above", calls of the callback by the state of
 * the alert, and whether any of them was on the loop's thread or came out of a check.
 */
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <unistd.h>

#include "heaptally.h"

namespace
{
std::string mode;
pthread_t loop_thread;
std::atomic<int> entered, escalated, cleared, on_loop_thread, over;

void callback(const heaptally_alert *alert, void *)
{
    if (std::strcmp(alert->kind, "rss_growth") != 0)
        return;
    if (pthread_equal(pthread_self(), loop_thread))
        on_loop_thread++;
    const std::string state = alert->state;
    (state == "enter" ? entered : state == "escalate" ? escalated : cleared)++;
    if (mode == "throw")
        throw std::runtime_error("the callback failed");
    if (mode == "allocate")
        for (int i = 0; i < 1000; i++)
            delete new std::string(1000, 'x');
    if (mode == "ask") {
        heaptally_trend trend;
        heaptally_analyze_trend(nullptr, &trend);
        heaptally_memory_report(nullptr, 0);
        heaptally_snapshot();
    }
    while (mode == "block" && !over)
        usleep(1000);
}

/* So many checks, one a millisecond or so. */
void check(int count, int &checks, int &above)
{
    for (int i = 0; i < count; i++) {
        above += heaptally_check_memory(nullptr) == 1;
        checks++;
        if (i % 5 == 0)
            usleep(1000);
    }
}

char *take(size_t size)
{
    char *block = static_cast<char *>(std::malloc(size));
    std::memset(block, 1, size);
    __asm__ volatile("" : : "r"(block) : "memory"); /* it is resident, though nobody reads it */
    return block;
}
} // namespace

int main(int argc, char **argv)
{
    int checks = 0, above = 0, thrown = 0;
    mode = argc > 1 ? argv[1] : "";
    loop_thread = pthread_self();
    if (heaptally_set_alert_callback(callback, nullptr) != 0)
        return 3;
    usleep(200000); /* the baseline, and what is resident of heaptally's own */
    heaptally_reset_baseline();
    try {
        char *first = take(24 << 20);
        check(4000, checks, above);
        char *second = take(24 << 20);
        check(4000, checks, above);
        std::free(first);
        std::free(second);
        check(2000, checks, above);
    } catch (...) {
        thrown++;
    }
    usleep(300000);
    std::printf("{\"checks\": %d, \"above\": %d, \"enter\": %d, \"escalate\": %d, \"clear\": %d, "
                "\"on_loop_thread\": %d, \"thrown\": %d}\n",
                checks, above, entered.load(), escalated.load(), cleared.load(),
                on_loop_thread.load(), thrown);
    over = 1;
    return 0;
}
