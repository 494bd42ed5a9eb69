#include "arch.h"

#include <string.h>

#include "raw_io.h"

bool ht_gathers;

/* The kernel knows of processors and microcode what a program cannot ask for. */
static bool gathers_unhindered(void)
{
    static const char *const file = "/sys/devices/system/cpu/vulnerabilities/gather_data_sampling";
    static const char unhindered[] = "Not affected";
    char text[64] = "";
    return ht_read_file(file, text, sizeof text) > 0 &&
           strncmp(text, unhindered, sizeof unhindered - 1) == 0;
}

void ht_arch_begin(void)
{
    __builtin_cpu_init();
    ht_gathers =
        __builtin_cpu_is("intel") && __builtin_cpu_supports("avx2") && gathers_unhindered();
}
