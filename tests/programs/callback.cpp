// Grows 40 tags beyond their thresholds, one after another, with a callback that misbehaves as the
// first argument says: block, throw, allocate, call, or none of it. The main thread never waits for
// the callback; at the end it says how often that was called.
//
//   checks    asks 10,000 times whether memory is above the threshold while it is, and counts the
//             alerts on resident memory that come of it
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <unistd.h>

#include "heaptally.h"

static const char *mode = "";
static std::atomic<int> called, wrong, entered, escalated, cleared;
static char *volatile sink;

static void must(bool condition, const char *what)
{
    if (!condition) {
        std::fprintf(stderr, "callback: %s\n", what);
        _exit(3);
    }
}

// The monitor may be busy for longer than a call waits: then it is asked again.
template <typename Call> static int patiently(Call call)
{
    int result = call();
    for (int i = 0; i < 200 && result == -EAGAIN; i++) {
        usleep(10000);
        result = call();
    }
    return result;
}

static void call_everything()
{
    heaptally_trend trend;
    static heaptally_leaks leaks;
    heaptally_alert alert;
    char text[2000];
    must(heaptally_check_memory(&alert) >= 0, "check_memory");
    must(patiently([&] { return heaptally_analyze_trend(nullptr, &trend); }) == 0, "analyze_trend");
    must(patiently([&] { return heaptally_memory_report(text, sizeof text); }) > 0,
         "memory_report");
    must(patiently([&] { return heaptally_tracker_report(text, sizeof text); }) > 0,
         "tracker_report");
    must(patiently([&] { return heaptally_check_leak_threshold(0, &leaks); }) >= 0,
         "check_leak_threshold");
    must(patiently([&] { return heaptally_snapshot(); }) == 0, "snapshot");
    must(patiently([&] { return heaptally_reset_baseline(); }) == 0, "reset_baseline");
    must(heaptally_active() == 1, "active");
}

static void on_alert(const heaptally_alert *alert, void *user)
{
    called++;
    if (user != &called || alert->size != sizeof *alert || alert->message[0] == '\0')
        wrong++;
    if (std::strcmp(alert->kind, "rss_growth") == 0) {
        entered += std::strcmp(alert->state, "enter") == 0;
        escalated += std::strcmp(alert->state, "escalate") == 0;
        cleared += std::strcmp(alert->state, "clear") == 0;
    }
    if (std::strcmp(mode, "block") == 0)
        for (;;)
            pause();
    if (std::strcmp(mode, "throw") == 0)
        throw std::runtime_error("out of a callback");
    HEAPTALLY_SCOPE("of the callback")
    {
        if (std::strcmp(mode, "allocate") == 0)
            sink = new char[1000];
    }
    if (std::strcmp(mode, "call") == 0 && called == 1)
        call_everything();
    if (std::strcmp(mode, "call") == 0 && called == 2)
        must(heaptally_set_alert_callback(nullptr, nullptr) == 0, "to end it from within");
}

static void sleep_ms(int ms)
{
    usleep(static_cast<useconds_t>(ms) * 1000);
}

static void grow_tags()
{
    for (int i = 0; i < 40; i++) {
        HEAPTALLY_SCOPE(("tag" + std::to_string(i)).c_str())
        {
            sink = static_cast<char *>(std::malloc(4096));
        }
        sleep_ms(25);
    }
}

// Whether the log has an alert on the last tag: on a busy machine the monitor may be late.
static bool is_logged()
{
    const char *path = std::getenv("HEAPTALLY_ALERT_LOG");
    std::ifstream log(path ? path : "");
    const std::string text{std::istreambuf_iterator<char>(log), {}};
    return text.find("\"tag39\"") != std::string::npos;
}

static bool is_above()
{
    heaptally_alert alert;
    return heaptally_check_memory(&alert) == 1;
}

// Waits until growth is above the threshold, or is not.
static void await(bool above)
{
    for (int i = 0; i < 2000 && is_above() != above; i++)
        sleep_ms(5);
    must(is_above() == above, above ? "never above the threshold" : "never below it again");
}

static void check_often()
{
    const std::size_t size = 16 << 20; // threshold 10 MB: above, but not 1.5 times
    char *block = static_cast<char *>(std::malloc(size));
    std::memset(block, 1, size - (4 << 20));
    await(true);
    int yes = 0;
    for (int i = 0; i < 10000; i++)
        yes += is_above();
    std::memset(block, 1, size);
    for (int i = 0; i < 2000 && escalated == 0; i++)
        sleep_ms(5);
    std::free(block); // mapped by itself: resident memory falls
    for (int i = 0; i < 2000 && cleared == 0; i++)
        sleep_ms(5);
    std::printf("checks %d entered %d escalated %d cleared %d\n", yes, entered.load(),
                escalated.load(), cleared.load());
}

int main(int argc, char **argv)
{
    mode = argc > 1 ? argv[1] : "";
    alarm(120);
    must(heaptally_set_alert_callback(on_alert, &called) == 0, "set_alert_callback");
    if (std::strcmp(mode, "checks") == 0) {
        check_often();
    } else {
        grow_tags();
        const int expected = std::strcmp(mode, "call") == 0 ? 2 : 40;
        for (int i = 0; i < 2000 && called < expected && std::strcmp(mode, "block") != 0; i++)
            sleep_ms(10);
        for (int i = 0; i < 2000 && !is_logged(); i++)
            sleep_ms(10);
        sleep_ms(300);
    }
    std::printf("called %d wrong %d\n", called.load(), wrong.load());
    if (std::strcmp(mode, "block") == 0) // it is still running, and must not keep us from ending
        must(heaptally_set_alert_callback(nullptr, nullptr) == -16, "not busy");
    return 0;
}
