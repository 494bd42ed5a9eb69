/*
 * Throws before and after the monitor can have loaded its unwinder, and prints whose
 * _Unwind_RaiseException the program has, and whether that unwinder is mapped.
 */
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <memory>
#include <stdexcept>
#include <unistd.h>

static int caught;

static void thrower(int depth)
{
    std::unique_ptr<char[]> block(new char[64]);
    if (depth > 0)
        thrower(depth - 1);
    else
        throw std::runtime_error("wanted");
}

int main()
{
    for (int i = 0; i < 40; i++) {
        try {
            thrower(i);
        } catch (const std::runtime_error &) {
            caught++;
        }
        usleep(20000);
    }
    Dl_info info = {};
    void *raise = dlsym(RTLD_DEFAULT, "_Unwind_RaiseException");
    if (!raise || !dladdr(raise, &info))
        return 3;
    const char *mapped = "no";
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "libunwind"))
            mapped = "yes";
    std::printf("%d %s %s\n", caught, info.dli_fname, mapped);
    return 0;
}
