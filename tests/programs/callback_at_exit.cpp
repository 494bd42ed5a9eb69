// What an alert callback uses is destroyed at the end of the process, and while that takes its time
// another alert is due. Says how often the callback began, and how often it used what was gone.
//
//   destructor   main returns after the first alert
//   running      main returns while the first call runs
//   quick        quick_exit, with a handler that destroys
//   itself       the callback ends the process
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#include "heaptally.h"

static const char *mode = "";
static std::atomic<int> called, after_end;
static char *volatile sink;

static void sleep_ms(int ms)
{
    usleep(static_cast<useconds_t>(ms) * 1000);
}

static void grow(const char *tag)
{
    HEAPTALLY_SCOPE(tag)
    {
        sink = static_cast<char *>(std::malloc(4096));
    }
}

// Static, and made before main sets the callback.
static struct Used {
    std::atomic<bool> alive{true};
    void destroy()
    {
        alive = false;
        grow("late");
        sleep_ms(400);
        std::printf("called %d after the end %d\n", called.load(), after_end.load());
        std::fflush(stdout);
    }
    ~Used()
    {
        destroy();
    }
} used;

static void on_alert(const heaptally_alert *, void *user)
{
    called++;
    if (std::strcmp(mode, "itself") == 0)
        std::exit(0);
    if (std::strcmp(mode, "running") == 0)
        sleep_ms(300);
    if (!static_cast<Used *>(user)->alive)
        after_end++;
}

int main(int argc, char **argv)
{
    mode = argc > 1 ? argv[1] : "";
    alarm(60);
    std::at_quick_exit([] { used.destroy(); });
    if (heaptally_set_alert_callback(on_alert, &used) != 0)
        return 3;
    sleep_ms(50);
    grow("early");
    for (int i = 0; i < 2000 && called == 0; i++)
        sleep_ms(5);
    if (std::strcmp(mode, "itself") == 0)
        pause();
    if (std::strcmp(mode, "quick") == 0)
        std::quick_exit(0);
    return 0;
}
